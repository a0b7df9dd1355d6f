/* Sums and products to int8 with the reference's double rounding, in few instructions.
 *
 * nw_scale: (value x factor / 2^31, halves up) / 2^-shift, halves away from zero, + zero, where 0 <= factor and
 * |value| < 2^30. On cores with the DSP extension one SMMLAR makes product, rounding and the sum with the rounding constant of
 * the division, for shifts of -20 to -1; where the product's sign differs from the value's, it is 0 and the quotient as well.
 * nw_clamp_all: values in place. */
#ifndef NW_SCALE_H
#define NW_SCALE_H
#include "nw_requant.h"

NW_INLINE int32_t nw_scale(int32_t value, int32_t factor, int32_t shift, int32_t zero) {
#if NW_DSP
  if (shift < 0 && shift >= -20) {
    const int32_t half = (int32_t)((1u << (-shift - 1)) + ((uint32_t)zero << -shift));
    return (nw_high((int32_t)((uint32_t)value << 1), factor, half) + (value >> 31)) >> -shift;
  }
#endif
  return nw_multiply(value, factor, shift) + zero;
}

NW_SHARED void nw_clamp_all(int8_t *values, int32_t count, int32_t low, int32_t high) {
  for (int32_t i = 0; i < count; i++) values[i] = nw_clamp(values[i], low, high);
}
#endif
