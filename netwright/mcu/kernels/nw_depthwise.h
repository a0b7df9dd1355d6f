/* Depthwise convolutions, channel by channel, on padded lines of one channel (int8, contiguous).
 *
 * Output channels of one input channel follow each other (channel multiplier). A line holds pad_left zero points, the
 * row, zero points up to `line` bytes in all; kernels may read all `line` bytes. */
#ifndef NW_DEPTHWISE_H
#define NW_DEPTHWISE_H
#include "nw_requant.h"

#define NW_DEPTHWISE_ROWS 16 /* largest height of a kernel */

typedef struct {
  const int8_t *weights;  /* per output channel, kernel_h x kernel_w */
  const int32_t *params;  /* per output channel: bias, multiplier, shift */
  int16_t inputs, multiplier; /* channels of the input; output channels of each */
  int16_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
  int16_t height, width, out_height, out_width, pad_top, pad_left;
  int16_t line; /* bytes of a padded line */
  int16_t low, high, zero_point, input_zero_point;
} nw_depthwise;

/* One output row of one output channel. lines: kernel_h padded lines, NULL for one of padding. */
NW_INLINE void nw_depthwise_line(const nw_depthwise *d, int32_t channel, const int8_t *const *lines, int8_t *out,
                                 int32_t step) {
  const int8_t *weights = d->weights + channel * d->kernel_h * d->kernel_w;
  const int32_t *params = d->params + 3 * channel;
  for (int32_t x = 0; x < d->out_width; x++, out += step) {
    int32_t sum = params[0];
    for (int32_t i = 0; i < d->kernel_h; i++)
      for (int32_t j = 0; j < d->kernel_w; j++) {
        int32_t value = lines[i] ? lines[i][x * d->stride_w + j * d->dilation_w] : d->input_zero_point;
        sum += value * weights[i * d->kernel_w + j];
      }
    *out = nw_requantize(sum, params[1], params[2], d->zero_point, d->low, d->high);
  }
}

/* One NHWC output row. lines[i]: the padded line of channel 0 of kernel row i, channel c's channel_stride x c further. */
NW_SHARED void nw_depthwise_row(const nw_depthwise *d, const int8_t *const *lines, int32_t channel_stride, int8_t *out) {
  const int8_t *at[NW_DEPTHWISE_ROWS];
  for (int32_t c = 0; c < d->inputs; c++) {
    for (int32_t i = 0; i < d->kernel_h; i++) at[i] = lines[i] ? lines[i] + c * channel_stride : (const int8_t *)0;
    for (int32_t m = 0; m < d->multiplier; m++)
      nw_depthwise_line(d, c * d->multiplier + m, at, out + c * d->multiplier + m, d->inputs * d->multiplier);
  }
}

/* The whole tensor, NHWC; output row y begins at y x out_row_stride. scratch: ((kernel_h - 1) dilation_h + 1) lines.
 * With a channel multiplier of 1, out may be in, for every stride and every out_row_stride <= the input's row bytes, as
 * long as kernel_h > pad_top: row y of a channel is written after rows up to y at least were read into the lines. */
NW_SHARED void nw_depthwise_all(const nw_depthwise *d, const int8_t *in, int8_t *out, int8_t *scratch,
                                int32_t out_row_stride) {
  const int8_t *lines[NW_DEPTHWISE_ROWS];
  int32_t ring = (d->kernel_h - 1) * d->dilation_h + 1, outputs = d->inputs * d->multiplier;
  for (int32_t i = 0; i < ring * d->line; i++) scratch[i] = (int8_t)d->input_zero_point;
  for (int32_t c = 0; c < d->inputs; c++) {
    int32_t next = 0; /* the row that is gathered next */
    for (int32_t y = 0; y < d->out_height; y++) {
      int32_t top = y * d->stride_h - d->pad_top;
      for (; next < top + ring && next < d->height; next++) {
        const int8_t *from = in + next * d->width * d->inputs + c;
        int8_t *line = scratch + (next % ring) * d->line + d->pad_left;
        for (int32_t x = 0; x < d->width; x++) line[x] = from[x * d->inputs];
      }
      for (int32_t i = 0; i < d->kernel_h; i++) {
        int32_t row = top + i * d->dilation_h;
        lines[i] = row < 0 || row >= d->height ? (const int8_t *)0 : scratch + (row % ring) * d->line;
      }
      for (int32_t m = 0; m < d->multiplier; m++)
        nw_depthwise_line(d, c * d->multiplier + m, lines, out + y * out_row_stride + c * d->multiplier + m, outputs);
    }
  }
}
#endif
