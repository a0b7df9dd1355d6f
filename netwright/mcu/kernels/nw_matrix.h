/* One to three pixels times all output channels: the inner product that pointwise, dense and full convolutions share.
 *
 * Inputs are widened once per tile of pixels (int16, at most 512 bytes: a chunk of the depth), then every pair of output
 * channels (a, b) runs over them. A weight word holds a pair's weights at two depths, k and k + 2, as halves 256 a + b:
 * SMLAD with the word itself gives 256 A + B, with its SXTB16 gives B, so that one unpacking serves four products;
 * A = (first - second) / 256 is exact while |A| < 2^23, which the packer (mcu/lower/pack.py) proves from the weights.
 *
 * Tile of P pixels: for each group of four depths, P words of depths (k, k + 2), then P words of (k + 1, k + 3).
 * Stream, in 32-bit words: for each block of channels, each chunk of the depth, each pair of channels:
 *   first chunk only: two start values; then words (k, k + 2), (k + 1, k + 3) of each group of four depths;
 *   last chunk only: multiplier of a, of b, shifts (byte 0: a, byte 1: b, above them 2 x zero point + 1); these behind the
 *   last pair of the block where results are rounded as NW_EXACT or NW_ONCE. */
#ifndef NW_MATRIX_H
#define NW_MATRIX_H
#include "nw_requant.h"

#define NW_TILE 256 /* widened values of a tile: 512 bytes */
#define NW_SUMS 128 /* sums that are kept between chunks: 512 bytes */

/* How sums are rounded. */
#define NW_EXACT 0  /* nw_requantize; shifts are to the left */
#define NW_SIGNED 1 /* right shifts of 1 to 22, proven to fit nw_high; stored less one */
#define NW_RELU 2   /* the same where the zero point is the least result: the sign of what is rounded does not matter;
                     * a's shifts, up to 16, stored 7 higher still */
#define NW_ONCE 3   /* nw_requantize_once; shifts are to the left */

typedef struct {
  const int32_t *stream;
  int16_t outputs;  /* channels */
  int16_t depth;    /* a multiple of 4, padded with zero weights */
  int16_t chunk;    /* depths of a chunk, a multiple of 8 */
  int16_t block;    /* channels of a block, even */
  int16_t low, high, zero_point;
  int16_t input_zero_point;
  int8_t pixels;    /* of a full tile, 1 to 3; pixels x chunk <= NW_TILE, pixels x block <= NW_SUMS */
  int8_t pairs;     /* 1: weights as 256 a + b, and the start value of a is 256 a's + b's; 0: plain bytes and values */
  int8_t rounding;
} nw_matrix;

/* Where results go: element (pixel, channel) at out[pixel x pixel_step + channel x channel_step]. */
typedef struct {
  int8_t *out;
  int32_t pixel_step, channel_step;
} nw_target;

/* Working memory: the widened inputs, by words too, and the sums that wait for their next chunk. */
typedef struct {
  union {
    int32_t words[NW_TILE / 2];
    int16_t values[NW_TILE];
  } in;
  int32_t sums[NW_SUMS];
} nw_tile;

/* Where pixels come from: fill widens `count` depths from depth k on of `pixels` pixels from pixel x on into a tile, whose
 * sums it may use while k is 0. */
typedef struct nw_source {
  void (*fill)(const struct nw_source *source, nw_tile *tile, int32_t x, int32_t pixels, int32_t k, int32_t count);
  const void *layer;
  const int8_t *in;
  const int8_t *const *rows;
  int32_t depth;
} nw_source;

NW_INLINE int32_t nw_int8_at(int32_t word, int32_t byte) {
  return (int32_t)(int8_t)(uint8_t)(((uint32_t)word >> (8 * byte)) & 255u);
}

NW_INLINE int8_t nw_matrix_result(const nw_matrix *m, int32_t sum, int32_t multiplier, int32_t shifts, int32_t second) {
  int32_t shift = nw_int8_at(shifts, second);
  if (m->rounding == NW_ONCE) return nw_requantize_once(sum, multiplier, shift, m->zero_point, m->low, m->high);
  if (m->rounding != NW_EXACT) shift = -1 - shift;
  if (m->rounding == NW_RELU && !second) shift += 7;
  return nw_requantize(sum, multiplier, shift, m->zero_point, m->low, m->high);
}

/* Whether the multipliers and shifts of a block follow its weights, rather than each pair its own. */
NW_INLINE int32_t nw_params_behind(const nw_matrix *m) { return m->rounding == NW_EXACT || m->rounding == NW_ONCE; }

/* How many pixels the next tile takes, of `left`: no single pixel is left over where that can be avoided. */
NW_INLINE int32_t nw_tile_pixels(const nw_matrix *m, int32_t left) {
  if (m->pixels == 3) return left == 4 || left == 2 ? 2 : left < 3 ? 1 : 3;
  return left < m->pixels ? left : m->pixels;
}

/* Where the value of one pixel at one depth lies in a tile. */
NW_INLINE int32_t nw_tile_at(int32_t pixels, int32_t pixel, int32_t depth) {
  return (depth >> 2) * 4 * pixels + ((depth & 1) * pixels + pixel) * 2 + ((depth >> 1) & 1);
}

/* Results of a block from its sums; params: three words a pair. raw: sums of a are 256 A + B. */
NW_SHARED const int32_t *nw_put_sums(const nw_matrix *m, const int32_t *params, const int32_t *sums, int32_t channel,
                                     int32_t channels, int32_t pixels, int32_t raw, nw_target to) {
  for (int32_t c = 0; c < channels; c += 2, params += 3, sums += 2 * pixels) {
    for (int32_t p = 0; p < pixels; p++) {
      int8_t *at = to.out + p * to.pixel_step + (channel + c) * to.channel_step;
      int32_t a = sums[p], b = sums[pixels + p];
      if (raw) a = (int32_t)((uint32_t)a - (uint32_t)b) / 256;
      at[0] = nw_matrix_result(m, a, params[0], params[2], 0);
      if (channel + c + 1 < m->outputs) at[to.channel_step] = nw_matrix_result(m, b, params[1], params[2], 1);
    }
  }
  return params;
}

/* One chunk of one block of channels, from channel `channel` on: returns where the stream goes on. sums[c x pixels + p] */
NW_SHARED const int32_t *nw_chunk_plain(const nw_matrix *m, const int32_t *stream, const int16_t *tile, int32_t depth,
                                        int32_t channel, int32_t channels, int32_t *sums, int32_t first, int32_t last,
                                        int32_t pixels, nw_target to) {
  int32_t behind = last && nw_params_behind(m);
  for (int32_t c = 0; c < channels; c += 2) {
    int32_t *a = first && last && !behind ? sums : sums + c * pixels, *b = a + pixels;
    for (int32_t p = 0; first && p < pixels; p++) {
      b[p] = stream[1];
      a[p] = m->pairs ? (int32_t)((uint32_t)stream[0] - (uint32_t)stream[1]) / 256 : stream[0];
    }
    if (first) stream += 2;
#if NW_DSP
    const int32_t plain = m->pairs ? 0 : depth; /* deep sums that 24 bits may not hold: weights unpacked one by one */
    for (int32_t p = 0; plain && p < pixels; p++) {
      const int16_t *two = tile + 2 * p;
      int32_t sum_a = a[p], sum_b = b[p];
      for (int32_t k = 0; k < plain; k += 2, two += 2 * pixels) {
        const int32_t x = nw_load4((const int8_t *)two), word = stream[k >> 1];
        sum_a = nw_mac2(x, nw_odd(word), sum_a);
        sum_b = nw_mac2(x, nw_even(word), sum_b);
      }
      a[p] = sum_a;
      b[p] = sum_b;
    }
#else
    const int32_t plain = 0;
#endif
    for (int32_t k = plain; k < depth; k++) {
      int32_t word = stream[(k >> 2) * 2 + (k & 1)];
      int32_t weight_b = nw_int8_at(word, k & 2), weight_a = nw_int8_at(word, (k & 2) + 1);
      if (m->pairs) weight_a += weight_b < 0; /* the high byte of 256 a + b lacks one where b is negative */
      for (int32_t p = 0; p < pixels; p++) {
        int32_t x = tile[nw_tile_at(pixels, p, k)];
        a[p] += weight_a * x;
        b[p] += weight_b * x;
      }
    }
    stream += depth / 2;
    if (last && !behind) stream = nw_put_sums(m, stream, a, channel + c, 2, pixels, 0, to);
  }
  return behind ? nw_put_sums(m, stream, sums, channel, channels, pixels, 0, to) : stream;
}
#endif
