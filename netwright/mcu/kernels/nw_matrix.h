/* Two pixels times all output channels: the inner product that pointwise, dense and full convolutions share.
 *
 * Inputs are widened once per pair of pixels into `tile` (int16, at most NW_TILE values of the depth), then every pair of
 * channels (a, b) runs over it. A weight word holds the channels' weights at two depths, k and k+2, as halves
 * 256 a + b: SMLAD with the word itself gives 256 A + B, with its SXTB16 gives B, so that one unpacking serves four
 * products; A = (first - second) / 256 is exact while |A| < 2^23, which the packer proves from the weights.
 *
 * tile: groups of four depths; per group (pixel 0: k, k+2) (pixel 1: k, k+2) (pixel 0: k+1, k+3) (pixel 1: k+1, k+3).
 * stream, in 32-bit words: for each block of channels, each chunk of the depth, each pair of channels:
 *   first chunk only: two start values; words (k, k+2), (k+1, k+3) of each group of four depths;
 *   last chunk only: multiplier a, multiplier b, shifts: byte 0 of a, byte 1 of b; above them 2 x zero point + 1.
 *     NW_FAST: shifts are to the right, less one, and the start value of a is 256 a's + b's; else as in nw_multiply. */
#ifndef NW_MATRIX_H
#define NW_MATRIX_H
#include "nw_requant.h"

#define NW_TILE 128  /* depths of a chunk: 512 bytes for two pixels */
#define NW_BLOCK 64  /* channels of a block where the depth takes several chunks: 512 bytes of sums for two pixels */

#define NW_EXACT 0 /* plain bytes, any shift */
#define NW_FAST 1  /* weights as 256 a + b; right shifts of at least one, proven to fit nw_high */
#define NW_ONCE 2  /* plain bytes, one rounding */

typedef struct {
  const int32_t *stream;
  int16_t outputs; /* channels */
  int16_t depth;   /* a multiple of 8, padded with zero weights */
  int16_t chunk;   /* depths a chunk, a multiple of 8, <= NW_TILE */
  int16_t low, high, zero_point;
  int16_t input_zero_point;
  int8_t kind; /* how weights lie and sums are rounded: NW_FAST, NW_EXACT or NW_ONCE */
} nw_matrix;

typedef struct {
  int16_t pair[2 * NW_TILE];
} nw_tile __attribute__((aligned(4)));

/* Where results go: element (pixel, channel) at out[pixel x pixel_step + channel x channel_step]. */
typedef struct {
  int8_t *out;
  int32_t pixel_step, channel_step;
} nw_target;

NW_INLINE int32_t nw_int8_at(int32_t word, int32_t byte) {
  return (int32_t)(int8_t)(uint8_t)(((uint32_t)word >> (8 * byte)) & 255u);
}

NW_INLINE int8_t nw_matrix_result(const nw_matrix *m, int32_t sum, int32_t multiplier, int32_t shift) {
  if (m->kind == NW_ONCE) return nw_requantize_once(sum, multiplier, shift, m->zero_point, m->low, m->high);
  return nw_requantize(sum, multiplier, m->kind == NW_FAST ? -1 - shift : shift, m->zero_point, m->low, m->high);
}

/* One chunk for one block of channels: returns where the stream goes on. `sums`: 4 values a pair of channels. */
NW_INLINE const int32_t *nw_chunk(const nw_matrix *m, const int32_t *stream, const int16_t *tile, int32_t depth,
                                  int32_t channel, int32_t channels, int32_t *sums, int32_t first, int32_t last,
                                  int32_t pixels, nw_target to) {
  for (int32_t c = 0; c < channels; c += 2) {
    int32_t a[2], b[2];
    if (first) {
      a[0] = a[1] = *stream++;
      b[0] = b[1] = *stream++;
      if (m->kind == NW_FAST) a[0] = a[1] = (int32_t)((uint32_t)a[0] - (uint32_t)b[0]) / 256;
    } else {
      for (int32_t p = 0; p < 2; p++) { a[p] = sums[2 * c + p]; b[p] = sums[2 * c + 2 + p]; }
    }
    for (int32_t k = 0; k < depth; k += 2, stream++) { /* word k/2 of the chunk: depths at tile[2k + 2p], +1 */
      int32_t b0 = nw_int8_at(*stream, 0), b1 = nw_int8_at(*stream, 2);
      int32_t a0 = nw_int8_at(*stream, 1), a1 = nw_int8_at(*stream, 3);
      if (m->kind == NW_FAST) { /* undo 256 a + b: the high byte lacks one where b is negative */
        a0 += b0 < 0;
        a1 += b1 < 0;
      }
      for (int32_t p = 0; p < 2; p++) {
        int32_t x0 = tile[2 * k + 2 * p], x1 = tile[2 * k + 2 * p + 1];
        a[p] += a0 * x0 + a1 * x1;
        b[p] += b0 * x0 + b1 * x1;
      }
    }
    if (!last) {
      for (int32_t p = 0; p < 2; p++) { sums[2 * c + p] = a[p]; sums[2 * c + 2 + p] = b[p]; }
      continue;
    }
    int32_t multiplier_a = *stream++, multiplier_b = *stream++, shifts = *stream++;
    for (int32_t p = 0; p < pixels; p++) {
      int8_t *at = to.out + p * to.pixel_step + (channel + c) * to.channel_step;
      at[0] = nw_matrix_result(m, a[p], multiplier_a, nw_int8_at(shifts, 0));
      if (channel + c + 1 < m->outputs) at[to.channel_step] = nw_matrix_result(m, b[p], multiplier_b, nw_int8_at(shifts, 1));
    }
  }
  return stream;
}

/* Widens `count` values of both pixels into the tile from depth `at` (a multiple of 4) on, the last group with zeros. */
NW_INLINE void nw_widen(int16_t *tile, int32_t at, const int8_t *first, const int8_t *second, int32_t count) {
  static const int8_t place[4] = {0, 4, 1, 5};
  tile += 2 * at;
  int32_t k = 0;
  for (; k < count; k++) {
    int16_t *group = tile + 2 * (k & ~3) + place[k & 3];
    group[0] = first[k];
    group[2] = second[k];
  }
  for (; k & 3; k++) {
    int16_t *group = tile + 2 * (k & ~3) + place[k & 3];
    group[0] = group[2] = 0;
  }
}
#endif
