/* Average and largest value under a window of an int8 image (reference_integer_ops::AveragePool, MaxPool).
 *
 * One output row from `rows` input rows, `row_stride` bytes apart, each of `width` pixels of `channels` values: columns x of
 * the output see the pixels from x stride - left on, `kernel` of them, as far as they lie in the row. The average counts only
 * what it sees. out: out_width x channels values; it may not overlap the input. nw_pool does all rows of an image. */
#ifndef NW_POOL_H
#define NW_POOL_H
#include "nw_sum.h"

typedef struct {
  int32_t height, width, channels, out_height, out_width;
  int32_t kernel_h, kernel_w, stride_h, stride_w, top, left;
  int8_t low, high;
} nw_pool_constants;

NW_INLINE void nw_pool_average(const int8_t *in, int32_t rows, int32_t row_stride, int32_t columns, int32_t channels,
                               int8_t *out, const nw_pool_constants *c) {
  const int32_t count = rows * columns;
  int32_t channel = 0;
  for (; channel < (channels & ~3); channel += 4) {
    int32_t sums[4] = {0, 0, 0, 0};
    for (int32_t y = 0; y < rows; y++) nw_sum4(in + y * row_stride + channel, columns, channels, sums);
    for (int32_t i = 0; i < 4; i++) out[channel + i] = nw_clamp(nw_divide(sums[i], count), c->low, c->high);
  }
  for (; channel < channels; channel++) {
    int32_t sum = 0;
    for (int32_t y = 0; y < rows; y++)
      for (int32_t x = 0; x < columns; x++) sum += in[y * row_stride + x * channels + channel];
    out[channel] = nw_clamp(nw_divide(sum, count), c->low, c->high);
  }
}

NW_INLINE void nw_pool_max(const int8_t *in, int32_t rows, int32_t row_stride, int32_t columns, int32_t channels,
                           int8_t *out, const nw_pool_constants *c) {
  int32_t channel = 0;
#if NW_DSP
  const uint32_t low = (uint8_t)c->low * 0x01010101u, high = (uint8_t)c->high * 0x01010101u;
  for (; channel < (channels & ~3); channel += 4) {
    uint32_t best = low, unused;
    for (int32_t y = 0; y < rows; y++) {
      const int8_t *from = in + y * row_stride + channel;
      for (int32_t x = 0; x < columns; x++, from += channels)
        __asm__("ssub8 %1, %2, %0\n\tsel %0, %2, %0" : "+r"(best), "=&r"(unused) : "r"(nw_load4(from)));
    }
    __asm__("ssub8 %1, %0, %2\n\tsel %0, %2, %0" : "+r"(best), "=&r"(unused) : "r"(high));
    __builtin_memcpy(out + channel, &best, 4);
  }
#endif
  for (; channel < channels; channel++) {
    int8_t best = c->low;
    for (int32_t y = 0; y < rows; y++)
      for (int32_t x = 0; x < columns; x++) {
        int8_t value = in[y * row_stride + x * channels + channel];
        if (value > best) best = value;
      }
    out[channel] = best < c->high ? best : c->high;
  }
}

NW_INLINE void nw_pool_row(int average, const int8_t *in, int32_t rows, int32_t row_stride, int8_t *out,
                           const nw_pool_constants *c) {
  for (int32_t x = 0; x < c->out_width; x++, out += c->channels) {
    int32_t first = x * c->stride_w - c->left, last = first + c->kernel_w;
    if (first < 0) first = 0;
    if (last > c->width) last = c->width;
    if (average)
      nw_pool_average(in + first * c->channels, rows, row_stride, last - first, c->channels, out, c);
    else
      nw_pool_max(in + first * c->channels, rows, row_stride, last - first, c->channels, out, c);
  }
}

NW_INLINE void nw_pool(int average, const int8_t *in, int8_t *out, const nw_pool_constants *c) {
  const int32_t row = c->width * c->channels;
  for (int32_t y = 0; y < c->out_height; y++, out += c->out_width * c->channels) {
    int32_t first = y * c->stride_h - c->top, last = first + c->kernel_h;
    if (first < 0) first = 0;
    if (last > c->height) last = c->height;
    nw_pool_row(average, in + first * row, last - first, row, out, c);
  }
}

NW_SHARED void nw_average_pool_row(const int8_t *in, int32_t rows, int32_t row_stride, int8_t *out,
                                   const nw_pool_constants *c) {
  nw_pool_row(1, in, rows, row_stride, out, c);
}

NW_SHARED void nw_max_pool_row(const int8_t *in, int32_t rows, int32_t row_stride, int8_t *out,
                               const nw_pool_constants *c) {
  nw_pool_row(0, in, rows, row_stride, out, c);
}

NW_SHARED void nw_average_pool(const int8_t *in, int8_t *out, const nw_pool_constants *c) { nw_pool(1, in, out, c); }

NW_SHARED void nw_max_pool(const int8_t *in, int8_t *out, const nw_pool_constants *c) { nw_pool(0, in, out, c); }
#endif
