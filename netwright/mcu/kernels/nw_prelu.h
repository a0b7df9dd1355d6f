/* x where x >= 0, else x times a slope (reference_ops::BroadcastPrelu4DSlow).
 *
 * in, slope, out: `count` values each; slope advances by `step` (0: one for all). out may be in. */
#ifndef NW_PRELU_H
#define NW_PRELU_H
#include "nw_scale.h"

typedef struct {
  int32_t zero_in, zero_slope, zero_out, factor_above, factor_below;
  int8_t shift_above, shift_below;
} nw_prelu_constants;

NW_SHARED void nw_prelu(const int8_t *in, const int8_t *slope, int32_t step, int8_t *out, int32_t count,
                        const nw_prelu_constants *c) {
  for (int32_t i = 0; i < count; i++) {
    const int32_t x = in[i] - c->zero_in;
    const int32_t scaled = x >= 0 ? nw_scale(x, c->factor_above, c->shift_above, c->zero_out)
                                  : nw_scale(x * (*slope - c->zero_slope), c->factor_below, c->shift_below, c->zero_out);
    out[i] = nw_clamp(scaled, -128, 127);
    slope += step;
  }
}
#endif
