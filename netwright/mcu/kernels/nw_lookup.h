/* A function of one int8 value: out[i] = table[(uint8_t)in[i]], so the table begins with the result for 0 and holds those
 * for -128 to -1 behind the one for 127. out may be in. */
#ifndef NW_LOOKUP_H
#define NW_LOOKUP_H
#include "nw_requant.h"

NW_SHARED void nw_lookup(const int8_t *in, int8_t *out, int32_t count, const int8_t *table) {
  int32_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const int8_t r0 = table[(uint8_t)in[i]], r1 = table[(uint8_t)in[i + 1]];
    const int8_t r2 = table[(uint8_t)in[i + 2]], r3 = table[(uint8_t)in[i + 3]];
    out[i] = r0;
    out[i + 1] = r1;
    out[i + 2] = r2;
    out[i + 3] = r3;
  }
  for (; i < count; i++) out[i] = table[(uint8_t)in[i]];
}
#endif
