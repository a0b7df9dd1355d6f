/* Square of the difference of int8 tensors (squared_difference.cc of the reference kernels).
 *
 * Each term is (stored - zero) << 7, times its factor, at most a half; so the square stays below 2^30. a, b, out: `count`
 * values each; b advances by `step` (0: one value for all). out may be a, b, or neither; it may not overlap them otherwise. */
#ifndef NW_SQUARED_DIFFERENCE_H
#define NW_SQUARED_DIFFERENCE_H
#include "nw_scale.h"

typedef struct {
  int32_t zero_a, zero_b, zero_out;
  int32_t factor_a, factor_b, factor_out;
  int8_t shift_a, shift_b, shift_out;
  int8_t low, high;
} nw_squared_difference_constants;

NW_SHARED void nw_squared_difference(const int8_t *a, const int8_t *b, int32_t step, int8_t *out, int32_t count,
                                     const nw_squared_difference_constants *c) {
  for (int32_t i = 0; i < count; i++, b += step) {
    const int32_t apart = nw_scale((a[i] - c->zero_a) * 128, c->factor_a, c->shift_a, 0) -
                          nw_scale((*b - c->zero_b) * 128, c->factor_b, c->shift_b, 0);
    out[i] = nw_clamp(nw_scale(apart * apart, c->factor_out, c->shift_out, c->zero_out), c->low, c->high);
  }
}
#endif
