/* Elementwise product of int8 tensors (reference_integer_ops::Mul).
 *
 * a, b, out: `count` values each; b advances by `step` (0: one value for all). out may be a, b, or neither; it may not
 * overlap them otherwise. */
#ifndef NW_MUL_H
#define NW_MUL_H
#include "nw_scale.h"

typedef struct {
  int32_t zero_a, zero_b, zero_out, factor;
  int8_t shift, low, high;
} nw_mul_constants;

NW_SHARED void nw_mul(const int8_t *a, const int8_t *b, int32_t step, int8_t *out, int32_t count,
                      const nw_mul_constants *c) {
  int32_t i = 0;
#if NW_DSP
  if (c->shift < 0 && c->shift >= -20) { /* four at a time, as nw_scale */
    const uint32_t less_a = (uint32_t)-c->zero_a & 0xffffu, less_b = (uint32_t)-c->zero_b & 0xffffu;
    const uint32_t pair_a = less_a | less_a << 16, pair_b = less_b | less_b << 16;
    const int32_t factor = c->factor, right = -c->shift;
    const int32_t half = (int32_t)((1u << (right - 1)) + ((uint32_t)c->zero_out << right));
    for (; i + 4 <= count; i += 4) {
      const int32_t word_a = nw_load4(a + i);
      const int32_t word_b = step ? nw_load4(b + i) : (int32_t)((uint8_t)*b * 0x01010101u);
      int32_t even_a, even_b, odd_a, odd_b, r0, r1, r2, r3;
      __asm__("sxtab16 %0, %1, %2" : "=r"(even_a) : "r"(pair_a), "r"(word_a));
      __asm__("sxtab16 %0, %1, %2" : "=r"(even_b) : "r"(pair_b), "r"(word_b));
      __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(odd_a) : "r"(pair_a), "r"(word_a));
      __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(odd_b) : "r"(pair_b), "r"(word_b));
#define NW_MUL_LANE(result, multiply, x, y)                                                                 \
  {                                                                                                         \
    int32_t product;                                                                                        \
    __asm__(multiply " %0, %1, %2" : "=r"(product) : "r"(x), "r"(y));                                       \
    result = (nw_high((int32_t)((uint32_t)product << 1), factor, half) + (product >> 31)) >> right;         \
    __asm__("ssat %0, #8, %0" : "+r"(result));                                                              \
  }
      NW_MUL_LANE(r0, "smulbb", even_a, even_b)
      NW_MUL_LANE(r1, "smulbb", odd_a, odd_b)
      NW_MUL_LANE(r2, "smultt", even_a, even_b)
      NW_MUL_LANE(r3, "smultt", odd_a, odd_b)
#undef NW_MUL_LANE
      __asm__("bfi %0, %1, #8, #24" : "+r"(r2) : "r"(r3));
      __asm__("bfi %0, %1, #8, #24" : "+r"(r0) : "r"(r1));
      __asm__("pkhbt %0, %0, %1, lsl #16" : "+r"(r0) : "r"(r2));
      __builtin_memcpy(out + i, &r0, 4);
    }
    if (c->low > -128 || c->high < 127) nw_clamp_all(out, i, c->low, c->high);
  }
#endif
  for (; i < count; i++) {
    const int32_t product = (a[i] - c->zero_a) * (b[i * step] - c->zero_b);
    out[i] = nw_clamp(nw_scale(product, c->factor, c->shift, c->zero_out), c->low, c->high);
  }
}
#endif
