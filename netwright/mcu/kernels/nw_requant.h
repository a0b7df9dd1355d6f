/* int32 accumulators to int8, with TensorFlow Lite's double rounding.
 *
 * The exact path is gemmlowp's fixed point (SaturatingRoundingDoublingHighMul, RoundingDivideByPOT; Jacob et al. 2018,
 * arXiv:1712.05877, appendix B). On cores with the DSP extension one SMMLAR does the product, its rounding and the sum
 * with the rounding constant of the division that follows; this holds where the shift is at least one to the right and
 * twice the accumulator fits 32 bits, which the packer proves from the weights. Right shifts of negative numbers are
 * arithmetic on every compiler this is built with. */
#ifndef NW_REQUANT_H
#define NW_REQUANT_H
#include <stdint.h>

/* The fast paths are assembly in GNU's form, which needs an optimizing compiler to keep registers free for it. */
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__) && defined(__OPTIMIZE__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NW_DSP 1
#else
#define NW_DSP 0
#endif

#if defined(__GNUC__)
#define NW_INLINE static inline __attribute__((always_inline))
#define NW_SHARED static __attribute__((noinline, unused))
#else
#define NW_INLINE static inline
#define NW_SHARED static
#endif

NW_INLINE int8_t nw_clamp(int32_t value, int32_t low, int32_t high) {
  if (value < low) value = low;
  if (value > high) value = high;
  return (int8_t)value;
}

NW_INLINE int32_t nw_clamp_wide(int32_t value) { return value < -1024 ? -1024 : value > 1024 ? 1024 : value; }

/* (acc << left) x multiplier / 2^31 rounded half up, then / 2^right rounded half away from zero. 32-bit overflow of
 * acc << left wraps, as the reference's does on two's complement; multiplier is never the least integer. */
NW_INLINE int32_t nw_multiply(int32_t acc, int32_t multiplier, int32_t shift) {
  int32_t left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
  int32_t scaled = (int32_t)((uint32_t)acc << left);
  int64_t product = (int64_t)scaled * (int64_t)multiplier;
  int32_t high = (int32_t)((product + ((int64_t)1 << 30)) >> 31);
  if (right == 0) return high;
  int64_t half = (int64_t)1 << (right - 1);
  return (int32_t)(((int64_t)high + half - (high < 0 ? 1 : 0)) >> right);
}

/* clamp(nw_multiply(...) + zero_point, low, high) */
NW_INLINE int8_t nw_requantize(int32_t acc, int32_t multiplier, int32_t shift, int32_t zero_point, int32_t low,
                               int32_t high) {
  int32_t value = nw_multiply(acc, multiplier, shift); /* zero_point is within 8 bits: clamped first, nothing overflows */
  return nw_clamp(nw_clamp_wide(value) + zero_point, low, high);
}

/* The same with one rounding, ties away from zero: as fully connected layers are (int64 throughout). shift >= -31. */
NW_INLINE int8_t nw_requantize_once(int32_t acc, int32_t multiplier, int32_t shift, int32_t zero_point, int32_t low,
                                    int32_t high) {
  int32_t total = 31 - shift;
  int64_t product = (int64_t)acc * (int64_t)multiplier;
  if (total > 0) product += ((int64_t)1 << (total - 1)) - (product < 0 ? 1 : 0);
  product = (product >> total) + zero_point;
  return (int8_t)(product < low ? low : product > high ? high : product);
}

#if NW_DSP
#define NW_I(text) text "\n\t" /* one instruction of a longer piece */

NW_INLINE int32_t nw_load4(const int8_t *p) { /* four values; any alignment */
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return word;
}
NW_INLINE void nw_store4(int8_t *p, int32_t word) { __builtin_memcpy(p, &word, 4); }
NW_INLINE int32_t nw_even(int32_t word) { /* bytes 0 and 2, widened to 16 bits */
  int32_t pair;
  __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
  return pair;
}
NW_INLINE int32_t nw_odd(int32_t word) { /* bytes 1 and 3 */
  int32_t pair;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
  return pair;
}
NW_INLINE int32_t nw_mac2(int32_t x, int32_t w, int32_t acc) { /* acc + x.low w.low + x.high w.high, wrapping */
  int32_t sum;
  __asm__("smlad %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(w), "r"(acc));
  return sum;
}
NW_INLINE int32_t nw_high(int32_t a, int32_t b, int32_t c) { /* c + (a b + 2^31) / 2^32, floor */
  int32_t sum;
  __asm__("smmlar %0, %1, %2, %3" : "=r"(sum) : "r"(a), "r"(b), "r"(c));
  return sum;
}
NW_INLINE int32_t nw_half_to_int8(int32_t value) { /* value / 2, floor, saturated to int8 */
  int32_t result;
  __asm__("ssat %0, #8, %1, asr #1" : "=r"(result) : "r"(value));
  return result;
}
#endif
#endif
