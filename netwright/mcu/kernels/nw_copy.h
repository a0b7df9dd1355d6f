/* Blocks of int8 values moved with strides: padding, slices, transposes, concatenation.
 *
 * nw_copy walks four dimensions, outermost first; strides are in elements and may be negative. out may not overlap in. */
#ifndef NW_COPY_H
#define NW_COPY_H
#include "nw_requant.h"

typedef struct {
  int32_t size[4], from[4], to[4];
} nw_copy_constants;

NW_INLINE void nw_move(const int8_t *in, int8_t *out, int32_t count) {
  int32_t i = 0;
  for (; i + 4 <= count; i += 4) {
    uint32_t word;
    __builtin_memcpy(&word, in + i, 4);
    __builtin_memcpy(out + i, &word, 4);
  }
  for (; i < count; i++) out[i] = in[i];
}

NW_SHARED void nw_fill(int8_t *out, int32_t count, int8_t value) {
  const uint32_t word = (uint8_t)value * 0x01010101u;
  int32_t i = 0;
  for (; i + 4 <= count; i += 4) __builtin_memcpy(out + i, &word, 4);
  for (; i < count; i++) out[i] = value;
}

NW_SHARED void nw_copy(const int8_t *in, int8_t *out, const nw_copy_constants *c) {
  const int32_t run = c->size[3], from = c->from[3], to = c->to[3];
  for (int32_t i = 0; i < c->size[0]; i++)
    for (int32_t j = 0; j < c->size[1]; j++)
      for (int32_t k = 0; k < c->size[2]; k++) {
        const int8_t *read = in + i * c->from[0] + j * c->from[1] + k * c->from[2];
        int8_t *write = out + i * c->to[0] + j * c->to[1] + k * c->to[2];
        if (from == 1 && to == 1)
          nw_move(read, write, run);
        else
          for (int32_t l = 0; l < run; l++) write[l * to] = read[l * from];
      }
}
#endif
