/* Rings of rows, for layers that run row by row: row y of a value lies in slot y modulo the number of slots. */
#ifndef NW_ROWS_H
#define NW_ROWS_H
#include "nw_requant.h"

NW_INLINE int32_t nw_smaller(int32_t a, int32_t b) { return a < b ? a : b; }
NW_INLINE int32_t nw_larger(int32_t a, int32_t b) { return a > b ? a : b; }

/* rows[i]: where row first + i x step of a value of `height` rows lies, NULL outside of it. */
NW_SHARED void nw_rows(const int8_t **rows, int32_t count, int32_t first, int32_t step, int32_t height,
                       const int8_t *base, int32_t slots, int32_t slot_bytes) {
  for (int32_t i = 0; i < count; i++, first += step)
    rows[i] = first < 0 || first >= height ? (const int8_t *)0 : base + first % slots * slot_bytes;
}

/* A row of `pixels` x `channels` values, one channel after the other: out[c x stride + x] = in[x x channels + c]. */
NW_SHARED void nw_planar_row(const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, int32_t stride) {
  for (int32_t c = 0; c < channels; c++, out += stride) {
    const int8_t *from = in + c;
    for (int32_t x = 0; x < pixels; x++, from += channels) out[x] = *from;
  }
}
#endif
