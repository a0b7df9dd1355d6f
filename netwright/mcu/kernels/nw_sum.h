/* Sums of columns of int8 rows, and the division that averages take.
 *
 * nw_sum4 adds `rows` rows, `stride` bytes apart, of four adjacent columns to sums[0..3]. */
#ifndef NW_SUM_H
#define NW_SUM_H
#include "nw_requant.h"

NW_INLINE void nw_sum4(const int8_t *in, int32_t rows, int32_t stride, int32_t *sums) {
#if NW_DSP
  while (rows > 0) { /* 255 values of int8 fit 16 bits */
    int32_t some = rows < 255 ? rows : 255, even = 0, odd = 0;
    rows -= some;
    for (; some > 0; some--, in += stride) {
      int32_t word = nw_load4(in);
      __asm__("sxtab16 %0, %0, %1" : "+r"(even) : "r"(word));
      __asm__("sxtab16 %0, %0, %1, ror #8" : "+r"(odd) : "r"(word));
    }
    sums[0] += (int16_t)even;
    sums[1] += (int16_t)odd;
    sums[2] += even >> 16;
    sums[3] += odd >> 16;
  }
#else
  for (; rows > 0; rows--, in += stride)
    for (int32_t i = 0; i < 4; i++) sums[i] += in[i];
#endif
}

/* sum / count to the nearest, halves away from zero; count > 0 */
NW_INLINE int32_t nw_divide(int32_t sum, int32_t count) {
  return sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
}
#endif
