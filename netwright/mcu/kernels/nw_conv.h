/* Full convolutions on NHWC rows: runs of contiguous values under the kernel, widened and multiplied as in nw_matrix.h.
 *
 * A run is one kernel row (kernel_w x channels values), or one tap where columns are dilated; runs are padded to a
 * multiple of 4 depths unless the whole kernel fits a tile (then they follow each other without gaps). What lies outside
 * the image stands for the input's zero point. in and out may not overlap. */
#ifndef NW_CONV_H
#define NW_CONV_H
#include "nw_matrix.h"

#define NW_CONV_ROWS 16 /* largest height of a kernel */

typedef struct {
  nw_matrix matrix;
  int16_t width, channels;       /* of the input */
  int16_t out_width;
  int16_t kernel_h, kernel_w;
  int16_t stride_w, dilation_w, pad_left;
  int16_t height, out_height, stride_h, dilation_h, pad_top;
  int16_t run, padded_run, runs_in_row; /* values of a run, depths it takes, runs of a kernel row (1, or kernel_w) */
} nw_conv;

/* Value number k of the kernel's window at column x: zero point outside of the image. */
NW_INLINE int8_t nw_conv_value(const nw_conv *c, const int8_t *const *rows, int32_t x, int32_t k) {
  int32_t run = k / c->padded_run, at = k % c->padded_run;
  if (run >= c->kernel_h * c->runs_in_row || at >= c->run) return 0;
  const int8_t *row = rows[run / c->runs_in_row];
  int32_t tap = c->runs_in_row == 1 ? at / c->channels : run % c->runs_in_row;
  int32_t column = x * c->stride_w - c->pad_left + tap * c->dilation_w;
  if (!row || column < 0 || column >= c->width) return (int8_t)c->matrix.input_zero_point;
  return row[column * c->channels + at % c->channels];
}

/* One output row from the rows under the kernel, NULL for a row of padding. */
NW_SHARED void nw_conv_row(const nw_conv *c, const int8_t *const *rows, int8_t *out, int32_t pixel_step,
                           int32_t channel_step) {
  const nw_matrix *m = &c->matrix;
  nw_tile tile;
  int8_t first[NW_TILE], second[NW_TILE];
  int32_t sums[2 * NW_BLOCK];
  for (int32_t x = 0; x < c->out_width; x += 2, out += 2 * pixel_step) {
    int32_t both = x + 1 < c->out_width ? 2 : 1;
    nw_target to = {out, pixel_step, channel_step};
    const int32_t *stream = m->stream;
    int32_t block = m->chunk < m->depth ? NW_BLOCK : m->outputs;
    for (int32_t o = 0; o < m->outputs; o += block) {
      int32_t channels = m->outputs - o < block ? m->outputs - o : block;
      for (int32_t k = 0; k < m->depth; k += m->chunk) {
        int32_t count = m->depth - k < m->chunk ? m->depth - k : m->chunk;
        for (int32_t i = 0; i < count; i++) {
          first[i] = nw_conv_value(c, rows, x, k + i);
          second[i] = nw_conv_value(c, rows, x + both - 1, k + i);
        }
        nw_widen(tile.pair, 0, first, second, count);
        stream = nw_chunk(m, stream, tile.pair, count, o, channels, sums, k == 0, k + m->chunk >= m->depth, both, to);
      }
    }
  }
}

/* The whole tensor, NHWC. */
NW_SHARED void nw_conv_all(const nw_conv *c, const int8_t *in, int8_t *out) {
  const int8_t *rows[NW_CONV_ROWS];
  for (int32_t y = 0; y < c->out_height; y++) {
    for (int32_t i = 0; i < c->kernel_h; i++) {
      int32_t row = y * c->stride_h - c->pad_top + i * c->dilation_h;
      rows[i] = row < 0 || row >= c->height ? (const int8_t *)0 : in + row * c->width * c->channels;
    }
    nw_conv_row(c, rows, out, c->matrix.outputs, 1);
    out += c->out_width * c->matrix.outputs;
  }
}
#endif
