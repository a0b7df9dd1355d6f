/* The larger or the smaller of two int8 values, clamped.
 *
 * a, b, out: `count` values each; b advances by `step` (0: one value for all). out may be a, b, or neither; it may not
 * overlap them otherwise. */
#ifndef NW_EXTREME_H
#define NW_EXTREME_H
#include "nw_requant.h"

NW_SHARED void nw_elementwise_max(const int8_t *a, const int8_t *b, int32_t step, int8_t *out, int32_t count, int32_t low,
                                  int32_t high) {
  for (int32_t i = 0; i < count; i++, b += step) out[i] = nw_clamp(a[i] > *b ? a[i] : *b, low, high);
}

NW_SHARED void nw_elementwise_min(const int8_t *a, const int8_t *b, int32_t step, int8_t *out, int32_t count, int32_t low,
                                  int32_t high) {
  for (int32_t i = 0; i < count; i++, b += step) out[i] = nw_clamp(a[i] < *b ? a[i] : *b, low, high);
}
#endif
