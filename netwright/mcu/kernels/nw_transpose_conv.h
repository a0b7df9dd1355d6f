/* Transposed convolution of an int8 image (reference_integer_ops::TransposeConv), output by output.
 *
 * Output (y, x) sums weights[ky][kx] x (input - zero_in) over the taps whose y + top - ky and x + left - kx are multiples of
 * the strides and lie in the input. weights: (out_channels, kernel_h, kernel_w, channels). out lies apart from the input. */
#ifndef NW_TRANSPOSE_CONV_H
#define NW_TRANSPOSE_CONV_H
#include "nw_requant.h"

typedef struct {
  int32_t height, width, channels, out_height, out_width, out_channels;
  int32_t kernel_h, kernel_w, stride_h, stride_w, top, left;
  int32_t zero_in, zero_out;
  int8_t low, high;
} nw_transpose_conv_constants;

NW_INLINE int32_t nw_dot_from(const int8_t *x, const int8_t *w, int32_t count, int32_t zero) {
  int32_t sum = 0, i = 0;
#if NW_DSP
  const uint32_t less = (uint32_t)(-zero) & 0xffffu, pair = less | less << 16;
  for (; i + 4 <= count; i += 4) {
    const int32_t four = nw_load4(x + i), weights = nw_load4(w + i);
    int32_t even, odd;
    __asm__("sxtab16 %0, %1, %2" : "=r"(even) : "r"(pair), "r"(four));
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(odd) : "r"(pair), "r"(four));
    sum = nw_mac2(even, nw_even(weights), sum);
    sum = nw_mac2(odd, nw_odd(weights), sum);
  }
#endif
  for (; i < count; i++) sum += (x[i] - zero) * w[i];
  return sum;
}

NW_SHARED void nw_transpose_conv(const int8_t *in, int8_t *out, const nw_transpose_conv_constants *c,
                                 const int8_t *weights, const int32_t *bias, const int32_t *factors,
                                 const int8_t *shifts) {
  const int32_t kernel = c->kernel_h * c->kernel_w * c->channels;
  for (int32_t y = 0; y < c->out_height; y++)
    for (int32_t x = 0; x < c->out_width; x++)
      for (int32_t o = 0; o < c->out_channels; o++) {
        int32_t sum = bias[o];
        for (int32_t ky = 0; ky < c->kernel_h; ky++) {
          const int32_t row = y + c->top - ky;
          if (row < 0 || row % c->stride_h != 0 || row / c->stride_h >= c->height) continue;
          for (int32_t kx = 0; kx < c->kernel_w; kx++) {
            const int32_t column = x + c->left - kx;
            if (column < 0 || column % c->stride_w != 0 || column / c->stride_w >= c->width) continue;
            sum += nw_dot_from(in + (row / c->stride_h * c->width + column / c->stride_w) * c->channels,
                               weights + o * kernel + (ky * c->kernel_w + kx) * c->channels, c->channels, c->zero_in);
          }
        }
        *out++ = nw_requantize(sum, factors[o], shifts[o], c->zero_out, c->low, c->high);
      }
}
#endif
