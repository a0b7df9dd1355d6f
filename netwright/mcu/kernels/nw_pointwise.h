/* 1x1 convolutions and fully connected layers: every pixel's vector times the weights.
 *
 * in: `pixels` x `depth` values, dense, any alignment. out: element (pixel, channel) at pixel x pixel_step +
 * channel x channel_step: NHWC rows with steps (channels, 1), planar rows with (1, row bytes). in and out may not overlap. */
#ifndef NW_POINTWISE_H
#define NW_POINTWISE_H
#include "nw_tiles.h"
#include "nw_widen.h"

NW_SHARED void nw_pointwise_fill(const nw_source *source, nw_tile *tile, int32_t x, int32_t pixels, int32_t k,
                                 int32_t count) {
  int32_t depth = source->depth, real = depth - k < count ? depth - k : count;
  const int8_t *first = source->in + x * depth + k;
  const int8_t *from[3] = {first, first + (pixels > 1 ? depth : 0), first + (pixels - 1) * depth};
  nw_widen(tile->in.values, 0, from, pixels, real);
}

NW_SHARED void nw_pointwise(const nw_matrix *m, const int8_t *in, int8_t *out, int32_t pixels, int32_t depth,
                            int32_t pixel_step, int32_t channel_step) {
  nw_source source = {nw_pointwise_fill, 0, in, 0, depth};
  nw_target to = {out, pixel_step, channel_step};
  nw_tiles(m, &source, pixels, to);
}
#endif
