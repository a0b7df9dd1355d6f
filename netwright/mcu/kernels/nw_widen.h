/* int8 values of up to three pixels into a tile: see nw_matrix.h for where they lie. */
#ifndef NW_WIDEN_H
#define NW_WIDEN_H
#include "nw_matrix.h"

/* Widens `count` values of each pixel into a tile from its depth `at`, a multiple of 4, on; fills the last group with zeros. */
NW_INLINE void nw_widen_plain(int16_t *tile, int32_t at, const int8_t *const *from, int32_t pixels, int32_t count) {
  for (int32_t p = 0; p < pixels; p++)
    for (int32_t k = 0; k < ((count + 3) & ~3); k++)
      tile[nw_tile_at(pixels, p, at + k)] = (int16_t)(k < count ? from[p][k] : 0);
}

#if NW_DSP
/* The same for `groups` >= 1 whole groups of four depths, to `tile` itself. */
NW_SHARED void nw_widen_3(int16_t *tile, const int8_t *a, const int8_t *b, const int8_t *c, int32_t groups) {
  const int8_t *end = a + 4 * groups;
  __asm__ volatile(
      "1:\n\t"
      "ldr r8, [%1], #4\n\tldr r9, [%2], #4\n\tldr r10, [%3], #4\n\t"
      "sxtb16 r4, r8\n\tsxtb16 r5, r9\n\tsxtb16 r6, r10\n\t"
      "sxtb16 r8, r8, ror #8\n\tsxtb16 r9, r9, ror #8\n\tsxtb16 r10, r10, ror #8\n\t"
      "stm %0!, {r4, r5, r6, r8, r9, r10}\n\tcmp %1, %4\n\tbne 1b"
      : "+r"(tile), "+r"(a), "+r"(b), "+r"(c)
      : "r"(end)
      : "r4", "r5", "r6", "r8", "r9", "r10", "cc", "memory");
}

NW_SHARED void nw_widen_2(int16_t *tile, const int8_t *a, const int8_t *b, int32_t groups) {
  const int8_t *end = a + 4 * groups;
  __asm__ volatile(
      "1:\n\t"
      "ldr r6, [%1], #4\n\tldr r8, [%2], #4\n\t"
      "sxtb16 r4, r6\n\tsxtb16 r5, r8\n\tsxtb16 r6, r6, ror #8\n\tsxtb16 r8, r8, ror #8\n\t"
      "stm %0!, {r4, r5, r6, r8}\n\tcmp %1, %3\n\tbne 1b"
      : "+r"(tile), "+r"(a), "+r"(b)
      : "r"(end)
      : "r4", "r5", "r6", "r8", "cc", "memory");
}

NW_SHARED void nw_widen_1(int16_t *tile, const int8_t *a, int32_t groups) {
  const int8_t *end = a + 4 * groups;
  __asm__ volatile(
      "1:\n\t"
      "ldr r5, [%1], #4\n\tsxtb16 r4, r5\n\tsxtb16 r5, r5, ror #8\n\tstm %0!, {r4, r5}\n\tcmp %1, %2\n\tbne 1b"
      : "+r"(tile), "+r"(a)
      : "r"(end)
      : "r4", "r5", "cc", "memory");
}
#endif

NW_INLINE void nw_widen(int16_t *tile, int32_t at, const int8_t *const *from, int32_t pixels, int32_t count) {
#if NW_DSP
  if (count >= 4) {
    int16_t *to = tile + at * pixels;
    if (pixels == 3) nw_widen_3(to, from[0], from[1], from[2], count >> 2);
    else if (pixels == 2) nw_widen_2(to, from[0], from[1], count >> 2);
    else nw_widen_1(to, from[0], count >> 2);
  }
  int32_t done = count & ~3;
  if (done < count) {
    const int8_t *rest[3] = {from[0] + done, from[pixels > 1] + done, from[pixels - 1] + done};
    nw_widen_plain(tile, at + done, rest, pixels, count - done);
  }
#else
  nw_widen_plain(tile, at, from, pixels, count);
#endif
}
#endif
