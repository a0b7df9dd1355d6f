/* Elementwise product of int8 tensors (reference_integer_ops::Mul).
 *
 * a, b, out: `count` values each; b advances by `step` (0: one value for all). out may be a, b, or neither; it may not
 * overlap them otherwise. */
#ifndef NW_MUL_H
#define NW_MUL_H
#include "nw_requant.h"

typedef struct {
  int32_t zero_a, zero_b, zero_out, factor;
  int8_t shift, low, high;
} nw_mul_constants;

NW_SHARED void nw_mul(const int8_t *a, const int8_t *b, int32_t step, int8_t *out, int32_t count,
                      const nw_mul_constants *c) {
  for (int32_t i = 0; i < count; i++) {
    const int32_t product = (a[i] - c->zero_a) * (*b - c->zero_b);
    out[i] = nw_requantize(product, c->factor, c->shift, c->zero_out, c->low, c->high);
    b += step;
  }
}
#endif
