/* Fully connected layers whose results no 32-bit multiplier gives exactly: sums times real numbers, as the reference computes them.
 *
 * out[row][o] = clamp(round(sum x scale) + zero_point), in double precision, ties away from zero; |sum x scale| < 2^31. For
 * layers with very small scales and large sums; plain loops, since such layers are small. in and out do not overlap. */
#ifndef NW_DENSE_REAL_H
#define NW_DENSE_REAL_H
#include "nw_requant.h"

typedef struct {
  const int8_t *weights; /* [outputs][depth] */
  const int32_t *bias;
  const double *scales;
  int32_t depth, outputs, zero_point, low, high;
} nw_dense_real;

NW_SHARED void nw_dense_real_all(const nw_dense_real *d, const int8_t *in, int8_t *out, int32_t rows) {
  for (int32_t row = 0; row < rows; row++, in += d->depth) {
    for (int32_t o = 0; o < d->outputs; o++) {
      int32_t sum = d->bias[o];
      for (int32_t k = 0; k < d->depth; k++) sum += in[k] * d->weights[o * d->depth + k];
      const volatile double product = (double)sum * d->scales[o]; /* volatile: never fused with what follows */
      int32_t value = (int32_t)product;
      const double rest = product - (double)value;
      if (rest >= 0.5) value++;
      if (rest <= -0.5) value--;
      *out++ = nw_clamp(nw_clamp_wide(value) + d->zero_point, d->low, d->high);
    }
  }
}
#endif
