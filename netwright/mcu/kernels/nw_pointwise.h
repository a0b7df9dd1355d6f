/* 1x1 convolutions and fully connected layers: every pixel's vector times the weights.
 *
 * in: `pixels` x `depth` values, dense, any alignment. out: element (pixel, channel) at pixel x pixel_step +
 * channel x channel_step: NHWC rows with steps (channels, 1), planar rows with (1, row bytes). in and out may not overlap.
 * Stack: at most 512 bytes of widened inputs and 512 of sums, the latter only where the depth is above NW_TILE. */
#ifndef NW_POINTWISE_H
#define NW_POINTWISE_H
#include "nw_matrix.h"

NW_SHARED void nw_pointwise(const nw_matrix *m, const int8_t *in, int8_t *out, int32_t pixels, int32_t depth,
                            int32_t pixel_step, int32_t channel_step) {
  nw_tile tile;
  int32_t sums[2 * NW_BLOCK];
  for (int32_t p = 0; p < pixels; p += 2, in += 2 * depth, out += 2 * pixel_step) {
    int32_t both = p + 1 < pixels ? 2 : 1;
    nw_target to = {out, pixel_step, channel_step};
    const int32_t *stream = m->stream;
    int32_t block = m->chunk < m->depth ? NW_BLOCK : m->outputs;
    for (int32_t c = 0; c < m->outputs; c += block) {
      int32_t channels = m->outputs - c < block ? m->outputs - c : block;
      for (int32_t k = 0; k < m->depth; k += m->chunk) {
        int32_t padded = m->depth - k < m->chunk ? m->depth - k : m->chunk;
        int32_t real = depth - k < padded ? depth - k : padded;
        nw_widen(tile.pair, 0, in + k, in + (both - 1) * depth + k, real);
        for (int32_t i = (real + 3) & ~3; i < padded; i += 4)
          for (int32_t j = 0; j < 8; j++) tile.pair[2 * i + j] = 0;
        stream = nw_chunk(m, stream, tile.pair, padded, c, channels, sums, k == 0, k + m->chunk >= m->depth, both, to);
      }
    }
  }
}
#endif
