/* Elementwise sum or difference of int8 tensors.
 *
 * a, b, out: `count` values each. out may be a, b, or neither; it may not overlap them otherwise.
 *
 * nw_add_linear: clamp(floor((a x A + b x B + C) / 2^28)), where A = a_high x 2^15 + a_low with 0 <= a_low < 2^15, B and C
 * likewise. The compiler of the network has found such numbers and checked that they give what the reference's arithmetic
 * gives for all 65,536 pairs of values; it takes nw_add where there are none.
 *
 * nw_add: the reference's arithmetic (reference_integer_ops::Add, reference_ops::Sub). Each term is (stored - zero) << left,
 * times its factor; their sum times the output's. b advances by `step` (0: one value for all). */
#ifndef NW_ADD_H
#define NW_ADD_H
#include "nw_scale.h"

typedef struct {
  int16_t a_high, b_high, a_low, b_low;
  int32_t high, low; /* of C */
  int8_t least, most;
} nw_add_linear_constants;

typedef struct {
  int32_t zero_a, zero_b, zero_out;
  int32_t factor_a, factor_b, factor_out;
  int8_t shift_a, shift_b, shift_out, left;
  int8_t low, high, sign;
} nw_add_constants;

NW_SHARED void nw_add_linear(const int8_t *a, const int8_t *b, int8_t *out, int32_t count,
                             const nw_add_linear_constants *c) {
  int32_t i = 0;
#if NW_DSP
  int32_t highs, lows, high = c->high, low = c->low;
  __builtin_memcpy(&highs, &c->a_high, 4);
  __builtin_memcpy(&lows, &c->a_low, 4);
  for (; i + 4 <= count; i += 4) {
    const int32_t word_a = nw_load4(a + i), word_b = nw_load4(b + i);
    const int32_t even_a = nw_even(word_a), even_b = nw_even(word_b), odd_a = nw_odd(word_a), odd_b = nw_odd(word_b);
    int32_t r0, r1, r2, r3;
#define NW_ADD_LANE(result, pack, first, second, shift)                                        \
  __asm__(pack " %0, %1, %2, " shift " #16" : "=r"(result) : "r"(first), "r"(second));         \
  result = nw_mac2(result, highs, high) + (nw_mac2(result, lows, low) >> 15);                  \
  __asm__("ssat %0, #8, %1, asr #13" : "=r"(result) : "r"(result));
    NW_ADD_LANE(r0, "pkhbt", even_a, even_b, "lsl")
    NW_ADD_LANE(r1, "pkhbt", odd_a, odd_b, "lsl")
    NW_ADD_LANE(r2, "pkhtb", even_b, even_a, "asr")
    NW_ADD_LANE(r3, "pkhtb", odd_b, odd_a, "asr")
#undef NW_ADD_LANE
    __asm__("bfi %0, %1, #8, #24" : "+r"(r2) : "r"(r3));
    __asm__("bfi %0, %1, #8, #24" : "+r"(r0) : "r"(r1));
    __asm__("pkhbt %0, %0, %1, lsl #16" : "+r"(r0) : "r"(r2));
    __builtin_memcpy(out + i, &r0, 4);
  }
  if (c->least > -128 || c->most < 127) nw_clamp_all(out, i, c->least, c->most);
#endif
  for (; i < count; i++) {
    const int32_t less = (a[i] * c->a_low + b[i] * c->b_low + c->low) >> 15;
    out[i] = nw_clamp((a[i] * c->a_high + b[i] * c->b_high + c->high + less) >> 13, c->least, c->most);
  }
}

NW_SHARED void nw_add(const int8_t *a, const int8_t *b, int32_t step, int8_t *out, int32_t count,
                      const nw_add_constants *c) {
  for (int32_t i = 0; i < count; i++, b += step) {
    int32_t first = nw_scale((int32_t)((uint32_t)(a[i] - c->zero_a) << c->left), c->factor_a, c->shift_a, 0);
    int32_t second = nw_scale((int32_t)((uint32_t)(*b - c->zero_b) << c->left), c->factor_b, c->shift_b, 0);
    int32_t sum = c->sign < 0 ? first - second : first + second;
    out[i] = nw_clamp(nw_scale(sum, c->factor_out, c->shift_out, c->zero_out), c->low, c->high);
  }
}
#endif
