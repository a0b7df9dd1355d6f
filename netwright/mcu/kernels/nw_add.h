/* Elementwise sum or difference of int8 tensors (reference_integer_ops::Add, reference_ops::Sub).
 *
 * a, b, out: `count` values each; b advances by `step` (0: one value for all). out may be a, b, or neither; it may not
 * overlap them otherwise. Each term is (stored - zero) << left, times its multiplier; their sum times the output's.
 *
 * nw_add_half needs more: sign +1, step 1, left 20, a's factor exactly 1/2 (its scale is the larger one, as one always is),
 * b's the same or with a shift of -31 to -1, shift_out from -20 to -1, and factors of at least 2^30. Then no product leaves 32 bits, and a rounding division by a power of
 * two may take its sign from what went into the product: where the two differ, the quotient is 0 both ways. */
#ifndef NW_ADD_H
#define NW_ADD_H
#include "nw_requant.h"

typedef struct {
  int32_t zero_a, zero_b, zero_out;
  int32_t factor_a, factor_b, factor_out;
  int8_t shift_a, shift_b, shift_out, left;
  int8_t low, high, sign;
} nw_add_constants;

NW_INLINE int8_t nw_add_one(int32_t a, int32_t b, const nw_add_constants *c) {
  int32_t first = nw_multiply((int32_t)((uint32_t)(a - c->zero_a) << c->left), c->factor_a, c->shift_a);
  int32_t second = nw_multiply((int32_t)((uint32_t)(b - c->zero_b) << c->left), c->factor_b, c->shift_b);
  int32_t sum = c->sign < 0 ? first - second : first + second;
  return nw_requantize(sum, c->factor_out, c->shift_out, c->zero_out, c->low, c->high);
}

NW_SHARED void nw_add(const int8_t *a, const int8_t *b, int32_t step, int8_t *out, int32_t count,
                      const nw_add_constants *c) {
  for (int32_t i = 0; i < count; i++) {
    out[i] = nw_add_one(a[i], *b, c);
    b += step;
  }
}

NW_SHARED void nw_add_half(const int8_t *a, const int8_t *b, int8_t *out, int32_t count, const nw_add_constants *c) {
  int32_t i = 0;
#if NW_DSP
  const int32_t zero_a = -c->zero_a, zero_b = -c->zero_b, factor_b = c->factor_b, factor_out = c->factor_out;
  const int32_t left_b = c->shift_b == 0 ? 22 : 21, right_b = c->shift_b == 0 ? 1 : -c->shift_b, right_out = -c->shift_out;
  const int32_t half_b = (int32_t)(1u << (right_b - 1));
  const int32_t half_out = (int32_t)((1u << (right_out - 1)) + ((uint32_t)c->zero_out << right_out));
  const uint32_t low = (uint8_t)c->low * 0x01010101u, high = (uint8_t)c->high * 0x01010101u;
#define NW_ADD_LANE(result, rotation)                                                                         \
  {                                                                                                           \
    int32_t x, y, product;                                                                                    \
    __asm__("sxtab %0, %1, %2, ror #" rotation : "=r"(x) : "r"(zero_a), "r"(word_a));                         \
    __asm__("sxtab %0, %1, %2, ror #" rotation : "=r"(y) : "r"(zero_b), "r"(word_b));                         \
    product = nw_high((int32_t)((uint32_t)y << left_b), factor_b, half_b) + (y >> 31);                            \
    x = (int32_t)((uint32_t)x << 19) + (product >> right_b);                                                  \
    product = nw_high((int32_t)((uint32_t)x << 1), factor_out, half_out) + (x >> 31);                         \
    __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(product >> right_out));                                    \
  }
  for (; i + 4 <= count; i += 4) {
    const int32_t word_a = nw_load4(a + i), word_b = nw_load4(b + i);
    int32_t r0, r1, r2, r3;
    uint32_t packed, unused;
    NW_ADD_LANE(r0, "0")
    NW_ADD_LANE(r1, "8")
    NW_ADD_LANE(r2, "16")
    NW_ADD_LANE(r3, "24")
    __asm__("bfi %0, %1, #8, #24" : "+r"(r2) : "r"(r3));
    __asm__("bfi %0, %1, #8, #24" : "+r"(r0) : "r"(r1));
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(packed) : "r"(r0), "r"(r2));
    __asm__("ssub8 %1, %0, %2\n\tsel %0, %0, %2\n\tssub8 %1, %0, %3\n\tsel %0, %3, %0"
            : "+r"(packed), "=&r"(unused)
            : "r"(low), "r"(high));
    __builtin_memcpy(out + i, &packed, 4);
  }
#undef NW_ADD_LANE
#endif
  for (; i < count; i++) out[i] = nw_add_one(a[i], b[i], c);
}
#endif
