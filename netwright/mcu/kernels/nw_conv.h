/* Full convolutions on NHWC rows: runs of contiguous values under the kernel, widened and multiplied as in nw_matrix.h.
 *
 * A run is one kernel row (kernel_w x channels values), or one tap where columns are dilated. Runs are padded to a multiple
 * of 4 depths, unless the whole kernel fits one chunk: then they follow each other without gaps ("flat"). What lies
 * outside of the image stands for the input's zero point. in and out may not overlap; any alignment. */
#ifndef NW_CONV_H
#define NW_CONV_H
#include "nw_tiles.h"
#include "nw_widen.h"

#define NW_CONV_ROWS 16 /* largest height of a kernel */

typedef struct {
  nw_matrix matrix;
  int16_t height, width, channels; /* of the input */
  int16_t out_height, out_width;
  int16_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int16_t run, padded_run, runs_in_row; /* values of a run, depths it takes, runs of a kernel row (1, or kernel_w) */
  int8_t flat;
} nw_conv;

/* Where the values of one tap lie: in the image, or zero points. */
NW_INLINE const int8_t *nw_conv_tap(const nw_conv *c, const nw_source *from, int32_t x, int32_t row, int32_t tap) {
  int32_t column = x * c->stride_w - c->pad_left + tap * c->dilation_w;
  const int8_t *line = from->rows[row];
  return line && column >= 0 && column < c->width ? line + column * c->channels : from->padding;
}

/* The kernel's window at column x, without gaps. inside: no column of it is padding. */
NW_INLINE void nw_conv_gather(const nw_conv *c, const nw_source *from, int32_t x, int32_t inside, int8_t *to) {
  for (int32_t row = 0; row < c->kernel_h; row++) {
    int32_t together = inside && from->rows[row] && c->runs_in_row == 1;
    int32_t length = together ? c->run : c->channels;
    for (int32_t tap = 0; tap < (together ? 1 : c->kernel_w); tap++) {
      const int8_t *values = nw_conv_tap(c, from, x, row, tap);
      int32_t i = 0;
#if NW_DSP
      for (; i < (length & ~3); i += 4) nw_store4(to + i, nw_load4(values + i));
#endif
      for (; i < length; i++) to[i] = values[i];
      to += length;
    }
  }
}

/* One piece of a run: `count` depths from its value `at` on, to depth `depth` of the tile. */
NW_INLINE void nw_conv_piece(const nw_conv *c, const nw_source *from, int16_t *tile, int32_t depth, int32_t x,
                             int32_t pixels, int32_t inside, int32_t run, int32_t at, int32_t count) {
  int32_t row = run / c->runs_in_row, tap = run % c->runs_in_row;
  if (inside && from->rows[row]) {
    const int8_t *first = nw_conv_tap(c, from, x, row, tap) + at;
    int32_t step = c->stride_w * c->channels;
    const int8_t *pointers[3] = {first, first + (pixels > 1 ? step : 0), first + (pixels - 1) * step};
    nw_widen(tile, depth, pointers, pixels, c->run - at < count ? c->run - at : count);
    return;
  }
  if (c->runs_in_row == 1) {
    tap = at / c->channels;
    at %= c->channels;
  }
  for (int32_t taken; count > 0 && tap < c->kernel_w; count -= taken, depth += taken, at = 0, tap++) {
    const int8_t *pointers[3] = {0, 0, 0};
    for (int32_t p = 0; p < pixels; p++) pointers[p] = nw_conv_tap(c, from, x + p, row, tap) + at;
    taken = c->channels - at < count ? c->channels - at : count;
    nw_widen(tile, depth, pointers, pixels, taken);
  }
}

/* Runs whose taps do not begin at multiples of 4 depths: value by value. */
NW_INLINE void nw_conv_bytes(const nw_conv *c, const nw_source *from, int16_t *tile, int32_t x, int32_t pixels, int32_t k,
                             int32_t count) {
  for (int32_t i = 0; i < count; i++) {
    int32_t run = (k + i) / c->padded_run, at = (k + i) % c->padded_run;
    int32_t row = run / c->runs_in_row, tap = run % c->runs_in_row;
    if (c->runs_in_row == 1) tap = at / c->channels;
    for (int32_t p = 0; p < pixels; p++)
      tile[nw_tile_at(pixels, p, i)] =
          (int16_t)(at < c->run && row < c->kernel_h ? nw_conv_tap(c, from, x + p, row, tap)[at % c->channels] : 0);
  }
}

NW_SHARED void nw_conv_fill(const nw_source *from, int16_t *tile, int32_t x, int32_t pixels, int32_t k, int32_t count) {
  const nw_conv *c = (const nw_conv *)from->layer;
  int32_t column = x * c->stride_w - c->pad_left;
  int32_t last = column + (pixels - 1) * c->stride_w + (c->kernel_w - 1) * c->dilation_w;
  int32_t inside = column >= 0 && last < c->width;
  if (c->flat) { /* one chunk holds all of the window */
    int8_t window[NW_TILE];
    const int8_t *pointers[3] = {window, window, window};
    for (int32_t p = 0; p < pixels; p++) {
      int8_t *to = window + p * c->matrix.depth;
      pointers[p] = to;
      nw_conv_gather(c, from, x + p, inside, to);
    }
    nw_widen(tile, 0, pointers, pixels, c->kernel_h * c->kernel_w * c->channels);
    return;
  }
  if (c->channels & 3) {
    nw_conv_bytes(c, from, tile, x, pixels, k, count);
    return;
  }
  int32_t run = k / c->padded_run, at = k % c->padded_run;
  for (int32_t done = 0, taken; done < count; done += taken, run++, at = 0) {
    taken = c->padded_run - at < count - done ? c->padded_run - at : count - done;
    nw_conv_piece(c, from, tile, done, x, pixels, inside, run, at, taken);
  }
}

/* One output row from the rows under the kernel, NULL for a row of padding. Steps: see nw_target. */
NW_SHARED void nw_conv_row(const nw_conv *c, const int8_t *const *rows, int8_t *out, int32_t pixel_step,
                           int32_t channel_step) {
  int8_t padding[NW_TILE];
  nw_source source = {nw_conv_fill, c, 0, rows, padding, 0};
  nw_target to = {out, pixel_step, channel_step};
  for (int32_t i = 0; i < (c->channels < NW_TILE ? c->channels : NW_TILE); i++)
    padding[i] = (int8_t)c->matrix.input_zero_point;
  nw_tiles(&c->matrix, &source, c->out_width, to);
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
