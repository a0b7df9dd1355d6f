/* Softmax of rows of `width` int8 values, out = 256 p - 128 (reference_ops::Softmax in gemmlowp's fixed point).
 *
 * A difference to the largest value counts if it is at least diff_min; times factor and << left it is a number with 5 integer
 * bits. exp is a Taylor expansion on [-1/4, 0) times powers; 1/(1 + x) three Newton steps from 48/17 - 32/17 x.
 * out may be in: a row's values are read before theirs are written. */
#ifndef NW_SOFTMAX_H
#define NW_SOFTMAX_H
#include "nw_requant.h"

NW_INLINE int32_t nw_q31(int32_t a, int32_t b) { return nw_multiply(a, b, 0); } /* one of them never is the least integer */

NW_INLINE int32_t nw_divide_by_power(int32_t value, int32_t exponent) { /* halves away from zero */
  if (exponent == 0) return value;
  return (int32_t)(((int64_t)value + ((int64_t)1 << (exponent - 1)) - (value < 0 ? 1 : 0)) >> exponent);
}

/* exp(a) with 31 fractional bits, of a <= 0 with 26 */
NW_SHARED int32_t nw_exp_q5(int32_t a) {
  static const int32_t powers[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
  if (a == 0) return 0x7fffffff;
  const int32_t quarter = (int32_t)1 << 24;
  const int32_t low = (int32_t)((uint32_t)a & (uint32_t)(quarter - 1)) - quarter;
  const int32_t x = low * 32 + (1 << 28);
  const int32_t x2 = nw_q31(x, x), x3 = nw_q31(x2, x), x4 = nw_q31(x2, x2);
  const int32_t tail = nw_divide_by_power(nw_q31(nw_divide_by_power(x4, 2) + x3, 715827883) + x2, 1);
  int32_t result = 1895147668 + nw_q31(x + tail, 1895147668);
  const uint32_t rest = (uint32_t)low - (uint32_t)a;
  for (int32_t bit = 0; bit < 7; bit++)
    if ((rest >> (24 + bit)) & 1u) result = nw_q31(result, powers[bit]);
  return result;
}

/* 1 / (1 + a) with 31 fractional bits, of 0 <= a < 1 with 31 */
NW_SHARED int32_t nw_reciprocal(int32_t a) {
  const int32_t half = (int32_t)(((int64_t)a + 0x7fffffff + 1) >> 1);
  int32_t x = 1515870810 + nw_q31(half, -1010580540);
  for (int32_t step = 0; step < 3; step++) {
    const int32_t missing = ((int32_t)1 << 29) - nw_q31(half, x);
    x += nw_q31(x, missing) * 4;
  }
  return x >= (int32_t)1 << 30 ? 0x7fffffff : x * 2;
}

NW_SHARED void nw_softmax(const int8_t *in, int8_t *out, int32_t rows, int32_t width, int32_t factor, int32_t left,
                          int32_t diff_min) {
  for (; rows > 0; rows--, in += width, out += width) {
    int32_t largest = -128, sum = 0;
    for (int32_t i = 0; i < width; i++)
      if (in[i] > largest) largest = in[i];
    for (int32_t i = 0; i < width; i++) {
      const int32_t difference = in[i] - largest;
      if (difference >= diff_min) sum += nw_divide_by_power(nw_exp_q5(nw_multiply(difference, factor, left)), 12);
    }
    int32_t headroom = 0;
    while (((uint32_t)sum << headroom & 0x80000000u) == 0u) headroom++;
    const int32_t scale = nw_reciprocal((int32_t)(((uint32_t)sum << headroom) - 0x80000000u));
    for (int32_t i = 0; i < width; i++) {
      const int32_t difference = in[i] - largest;
      int32_t value = -128;
      if (difference >= diff_min) {
        const int32_t power = nw_exp_q5(nw_multiply(difference, factor, left));
        value = nw_divide_by_power(nw_q31(scale, power), 12 - headroom + 23) - 128;
      }
      out[i] = nw_clamp(value, -128, 127);
    }
  }
}
#endif
