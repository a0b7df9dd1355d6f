/* Full convolutions on NHWC rows: runs of contiguous values under the kernel, widened and multiplied as in nw_matrix.h.
 *
 * A run is one kernel row (kernel_w x channels values), or one tap where columns are dilated. Runs are padded to a multiple
 * of 4 depths. Small kernels of few channels are "flat" instead, in one chunk: first of each run as many values as make
 * groups of four, then what is left of all runs without gaps. What lies outside of the image stands for the input's zero
 * point. in and out may not overlap; any alignment. */
#ifndef NW_CONV_H
#define NW_CONV_H
#include "nw_tiles.h"
#include "nw_widen.h"

#define NW_CONV_ROWS 16   /* largest height of a kernel */
#define NW_FLAT_REST 48 /* what is left of all runs of a flat window, at most */

typedef struct {
  nw_matrix matrix;
  int16_t height, width, channels; /* of the input */
  int16_t out_height, out_width;
  int16_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int16_t run, padded_run, runs_in_row; /* values of a run, depths it takes, runs of a kernel row (1, or kernel_w) */
  int8_t flat;
  const int8_t *padding; /* zero points: `channels` of them, or NW_TILE if that is less */
} nw_conv;

/* Where the values of one tap lie from its channel `at` on: in the image, or zero points. */
NW_INLINE const int8_t *nw_conv_tap(const nw_conv *c, const nw_source *from, int32_t x, int32_t row, int32_t tap,
                                    int32_t at) {
  int32_t column = x * c->stride_w - c->pad_left + tap * c->dilation_w;
  const int8_t *line = from->rows[row];
  return line && column >= 0 && column < c->width ? line + column * c->channels + at : c->padding;
}

/* The kernel's window at column x, run after run. */
NW_INLINE void nw_conv_gather(const nw_conv *c, const nw_source *from, int32_t x, int8_t *to) {
  for (int32_t row = 0; row < c->kernel_h; row++)
    for (int32_t tap = 0; tap < c->kernel_w; tap++) {
      const int8_t *values = nw_conv_tap(c, from, x, row, tap, 0);
      for (int32_t i = 0; i < c->channels; i++) *to++ = values[i];
    }
}

/* A flat window. inside: none of it is padding. */
NW_SHARED void nw_conv_fill_flat(const nw_conv *c, const nw_source *from, int16_t *tile, int8_t *spare, int32_t x,
                                 int32_t pixels, int32_t inside) {
  int8_t *const rest = spare, *const window = rest + 3 * NW_FLAT_REST;
  const int32_t run = c->run, runs = c->kernel_h * c->runs_in_row, head = run & ~3, left = run & 3;
  const int8_t *pointers[3] = {rest, rest + NW_FLAT_REST, rest + 2 * NW_FLAT_REST};
  int32_t step = c->stride_w * c->channels, offset = x * step - c->pad_left * c->channels;
  if (!inside) {
    step = run * runs;
    for (int32_t p = 0; p < pixels; p++) nw_conv_gather(c, from, x + p, window + p * step);
  }
  for (int32_t r = 0; r < runs; r++) {
    const int8_t *a = inside ? from->rows[r] + offset : window + r * run;
    const int8_t *b = pixels > 1 ? a + step : a, *d = a + (pixels - 1) * step;
    if (head) {
      const int8_t *at[3] = {a, b, d};
      nw_widen(tile, r * head, at, pixels, head);
    }
    for (int32_t i = head, to = r * left; i < run; i++, to++) {
      rest[to] = a[i];
      rest[to + NW_FLAT_REST] = b[i];
      rest[to + 2 * NW_FLAT_REST] = d[i];
    }
  }
  if (left == 0) return;
  const int32_t groups = (runs * left + 3) >> 2;
  for (int32_t to = runs * left; to < 4 * groups; to++) rest[to] = rest[to + NW_FLAT_REST] = rest[to + 2 * NW_FLAT_REST] = 0;
  nw_widen(tile, runs * head, pointers, pixels, 4 * groups);
}

/* A piece of a run that reaches beyond the image: `count` depths from its value `at` on, to depth `depth` of the tile. */
NW_SHARED void nw_conv_border(const nw_conv *c, const nw_source *from, int16_t *tile, int32_t depth, int32_t x,
                              int32_t pixels, int32_t run, int32_t at, int32_t count) {
  int32_t row = run / c->runs_in_row, tap = run % c->runs_in_row;
  if (c->runs_in_row == 1) {
    tap = at / c->channels;
    at %= c->channels;
  }
  for (int32_t taken; count > 0; count -= taken, depth += taken, at = 0, tap++) {
    const int8_t *pointers[3] = {0, 0, 0};
    for (int32_t p = 0; p < pixels; p++) pointers[p] = nw_conv_tap(c, from, x + p, row, tap, at);
    taken = c->channels - at < count ? c->channels - at : count;
    nw_widen(tile, depth, pointers, pixels, taken);
  }
}

/* The same where taps do not begin at multiples of 4 depths: value by value, `count` depths from k on. */
NW_SHARED void nw_conv_bytes(const nw_conv *c, const nw_source *from, int16_t *tile, int32_t depth, int32_t x,
                             int32_t pixels, int32_t k, int32_t count) {
  for (int32_t i = 0; i < count; i++) {
    int32_t run = (k + i) / c->padded_run, at = (k + i) % c->padded_run;
    int32_t row = run / c->runs_in_row, tap = run % c->runs_in_row;
    if (c->runs_in_row == 1) tap = at / c->channels;
    for (int32_t p = 0; p < pixels; p++)
      tile[nw_tile_at(pixels, p, depth + i)] =
          (int16_t)(at < c->run && row < c->kernel_h ? *nw_conv_tap(c, from, x + p, row, tap, at % c->channels) : 0);
  }
}

NW_SHARED void nw_conv_fill(const nw_source *from, nw_tile *working, int32_t x, int32_t pixels, int32_t k,
                            int32_t count) {
  int16_t *tile = working->in.values;
  const nw_conv *c = (const nw_conv *)from->layer;
  int32_t column = x * c->stride_w - c->pad_left;
  int32_t last = column + (pixels - 1) * c->stride_w + (c->kernel_w - 1) * c->dilation_w;
  int32_t inside = column >= 0 && last < c->width;
  if (c->flat) {
    for (int32_t i = 0; i < c->kernel_h; i++) inside = inside && from->rows[i];
    nw_conv_fill_flat(c, from, tile, (int8_t *)working->sums, x, pixels, inside);
    return;
  }
  int32_t step = c->stride_w * c->channels, offset = column * c->channels;
  int32_t run = k / c->padded_run, at = k - run * c->padded_run;
  for (int32_t done = 0, taken; done < count; done += taken, run++, at = 0) {
    taken = c->padded_run - at < count - done ? c->padded_run - at : count - done;
    int32_t row = run, tap = 0;
    if (c->runs_in_row > 1) {
      row = run / c->runs_in_row;
      tap = run - row * c->runs_in_row;
    }
    if (inside && from->rows[row]) {
      const int8_t *a = from->rows[row] + offset + tap * c->dilation_w * c->channels + at;
      const int8_t *pointers[3] = {a, pixels > 1 ? a + step : a, a + (pixels - 1) * step};
      nw_widen(tile, done, pointers, pixels, c->run - at < taken ? c->run - at : taken);
    } else if (c->channels & 3) {
      nw_conv_bytes(c, from, tile, done, x, pixels, k + done, taken);
    } else {
      nw_conv_border(c, from, tile, done, x, pixels, run, at, taken);
    }
  }
}

/* One output row from the rows under the kernel, NULL for a row of padding. Steps: see nw_target. */
NW_SHARED void nw_conv_row(const nw_conv *c, const int8_t *const *rows, int8_t *out, int32_t pixel_step,
                           int32_t channel_step) {
  nw_source source = {nw_conv_fill, c, 0, rows, 0};
  nw_target to = {out, pixel_step, channel_step};
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
