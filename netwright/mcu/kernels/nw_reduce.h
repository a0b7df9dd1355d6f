/* Largest value over some dimensions of an int8 tensor; with flip -1, which turns the order of all values around, the smallest.
 *
 * The tensor is (outer, across, middle, down, inner), reduced over `across` and `down`, either of which may be 1: out is
 * (outer, middle, inner), apart from the input. */
#ifndef NW_REDUCE_H
#define NW_REDUCE_H
#include "nw_requant.h"

typedef struct {
  int32_t outer, across, middle, down, inner;
  int8_t flip;
} nw_reduce_constants;

NW_SHARED void nw_reduce_max(const int8_t *in, int8_t *out, const nw_reduce_constants *c) {
  const int32_t plane = c->down * c->inner, step = c->middle * plane;
  for (int32_t o = 0; o < c->outer; o++)
    for (int32_t m = 0; m < c->middle; m++, out += c->inner) {
      const int8_t *from = in + o * c->across * step + m * plane;
      for (int32_t i = 0; i < c->inner; i++) out[i] = from[i];
      for (int32_t a = 0; a < c->across; a++)
        for (int32_t k = 0; k < plane; k += c->inner)
          for (int32_t i = 0; i < c->inner; i++) {
            const int8_t value = from[a * step + k + i];
            if ((value ^ c->flip) > (out[i] ^ c->flip)) out[i] = value;
          }
    }
}
#endif
