/* Mean over some dimensions of an int8 tensor (reference_ops::QuantizedMeanOrSum).
 *
 * The tensor is (outer, across, middle, down, inner); the means are taken over `across` and `down`, either of which may be 1:
 * out is (outer, middle, inner). The factor holds the division by across x down; |sum - zero x count| stays below 2^30.
 * out may be the input where outer and middle are 1: columns are read before they are written. */
#ifndef NW_MEAN_H
#define NW_MEAN_H
#include "nw_scale.h"
#include "nw_sum.h"

typedef struct {
  int32_t outer, across, middle, down, inner;
  int32_t factor, offset; /* offset: zero_in x across x down */
  int8_t shift, zero_out;
} nw_mean_constants;

NW_SHARED void nw_mean(const int8_t *in, int8_t *out, const nw_mean_constants *c) {
  const int32_t plane = c->down * c->inner, step = c->middle * plane;
  for (int32_t o = 0; o < c->outer; o++)
    for (int32_t m = 0; m < c->middle; m++) {
      const int8_t *from = in + o * c->across * step + m * plane;
      for (int32_t i = 0; i < c->inner;) {
        int32_t sums[4] = {0, 0, 0, 0};
        const int32_t some = i + 4 <= c->inner ? 4 : 1;
        for (int32_t a = 0; a < c->across; a++) {
          if (some == 4)
            nw_sum4(from + a * step + i, c->down, c->inner, sums);
          else
            for (int32_t d = 0; d < c->down; d++) sums[0] += from[a * step + d * c->inner + i];
        }
        for (int32_t k = 0; k < some; k++)
          *out++ = nw_clamp(nw_scale(sums[k] - c->offset, c->factor, c->shift, c->zero_out), -128, 127);
        i += some;
      }
    }
}
#endif
