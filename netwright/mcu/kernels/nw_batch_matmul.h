/* Product of two int8 matrices that are computed (reference_ops::BatchMatMul).
 *
 * out (rows, columns) = sum over depth of (a - zero_a) x (b - zero_b), requantized. Strides are in elements: a's from row to
 * row and along the depth, b's along the depth and from column to column. out lies apart from both. */
#ifndef NW_BATCH_MATMUL_H
#define NW_BATCH_MATMUL_H
#include "nw_requant.h"

typedef struct {
  int32_t rows, columns, depth, a_row, a_step, b_step, b_column;
  int32_t zero_a, zero_b, zero_out, factor;
  int8_t shift;
} nw_batch_matmul_constants;

NW_SHARED void nw_batch_matmul(const int8_t *a, const int8_t *b, int8_t *out, const nw_batch_matmul_constants *c) {
  for (int32_t row = 0; row < c->rows; row++)
    for (int32_t column = 0; column < c->columns; column++) {
      const int8_t *x = a + row * c->a_row, *y = b + column * c->b_column;
      int32_t sum = 0;
      for (int32_t k = 0; k < c->depth; k++, x += c->a_step, y += c->b_step) sum += (*x - c->zero_a) * (*y - c->zero_b);
      *out++ = nw_requantize(sum, c->factor, c->shift, c->zero_out, -128, 127);
    }
}
#endif
