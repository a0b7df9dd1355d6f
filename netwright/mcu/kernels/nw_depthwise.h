/* Depthwise convolutions, channel by channel, on padded lines of one channel (int8, contiguous).
 *
 * Output channels of one input channel follow each other (channel multiplier). A line holds pad_left zero points, the row,
 * and zero points behind it: `line` bytes may be read, of which those beyond the kernel's last column do not matter. */
#ifndef NW_DEPTHWISE_H
#define NW_DEPTHWISE_H
#include "nw_depthwise_dsp.h"
#include "nw_requant.h"

#define NW_DEPTHWISE_ROWS 16 /* largest height of a kernel */

typedef struct {
  const int8_t *weights;  /* per output channel, kernel_h x kernel_w; three more bytes may be read */
  const int32_t *params;  /* per output channel: bias (doubled where `kernel` is not 0), multiplier */
  const int8_t *shifts;   /* per output channel: as nw_multiply's; where `kernel` is not 0, to the right, less one */
  int16_t inputs, multiplier; /* channels of the input; output channels of each */
  int16_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
  int16_t height, width, out_height, out_width, pad_top, pad_left;
  int16_t line, lines; /* bytes of a padded line; lines in the scratch */
  int16_t low, high, zero_point, input_zero_point;
  int8_t kernel; /* the fast path's: 3 (3x3), 5 (up to 5 columns), 7 (up to 7), else 0; stride_w 1 or 2, dilation_w 1 */
  int8_t relu;   /* 1: the zero point is the least result */
} nw_depthwise;

/* One output row of one output channel. lines: kernel_h padded lines, NULL for one of padding. */
NW_SHARED void nw_depthwise_plain(const nw_depthwise *d, int32_t channel, const int8_t *const *lines, int8_t *out,
                                  int32_t step) {
  const int8_t *weights = d->weights + channel * d->kernel_h * d->kernel_w;
  int32_t bias = d->params[2 * channel], multiplier = d->params[2 * channel + 1], shift = d->shifts[channel];
  if (d->kernel) {
    bias /= 2;
    shift = -1 - shift;
  }
  for (int32_t x = 0; x < d->out_width; x++, out += step) {
    int32_t sum = bias;
    for (int32_t i = 0; i < d->kernel_h; i++)
      for (int32_t j = 0; j < d->kernel_w; j++) {
        int32_t value = lines[i] ? lines[i][x * d->stride_w + j * d->dilation_w] : d->input_zero_point;
        sum += value * weights[i * d->kernel_w + j];
      }
    *out = nw_requantize(sum, multiplier, shift, d->zero_point, d->low, d->high);
  }
}

#if NW_DSP
typedef struct {
  nw_strip strip;
  const int8_t *lines[3];
  int32_t table[5 * NW_DEPTHWISE_ROWS];
} nw_filter;

NW_INLINE int32_t nw_twice(int32_t pair) {
  int32_t sum;
  __asm__("sadd16 %0, %1, %1" : "=r"(sum) : "r"(pair));
  return sum;
}
NW_INLINE int32_t nw_pair(int32_t low, int32_t high) { /* the lower halves of both */
  int32_t pair;
  __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(low), "r"(high));
  return pair;
}

/* Prepares a channel's weights and parameters; lines that are NULL are taken out of the sum. */
NW_SHARED void nw_filter_set(const nw_depthwise *d, int32_t channel, const int8_t *const *lines, nw_filter *f) {
  const int8_t *weights = d->weights + channel * d->kernel_h * d->kernel_w;
  nw_strip *l = &f->strip;
  l->bias = d->params[2 * channel];
  l->multiplier = d->params[2 * channel + 1];
  l->shift = d->shifts[channel];
  l->constant = (int32_t)((uint32_t)(2 * d->zero_point + 1) << l->shift);
  if (d->kernel == 3) {
    int32_t middle[3];
    for (int32_t i = 0; i < 3; i++) {
      int32_t taps = nw_load4(weights + 3 * i);
      l->weights[i] = nw_twice(nw_even(taps));
      middle[i] = nw_twice(nw_odd(taps));
    }
    l->middle[0] = nw_pair(middle[0], middle[1]);
    l->middle[1] = middle[2];
  } else {
    int32_t *row = f->table, kept = d->kernel == 7 ? 4 : 3;
    for (int32_t i = 0; i < d->kernel_h; i++, row += kept + 1, weights += d->kernel_w) {
      int32_t first = nw_load4(weights), second = 0;
      if (d->kernel_w > 4)
        second = (int32_t)((uint32_t)nw_load4(weights + d->kernel_w - 4) >> (8 * (8 - d->kernel_w)));
      else
        first = (int32_t)((uint32_t)first & (0xFFFFFFFFu >> (8 * (4 - d->kernel_w))));
      row[0] = nw_twice(nw_even(first));
      row[1] = nw_twice(nw_odd(first));
      row[2] = nw_twice(nw_even(second));
      if (kept == 4) row[3] = nw_twice(nw_odd(second));
      row[kept - 1] = nw_pair(row[kept - 1], i + 1 == d->kernel_h);
    }
  }
  for (int32_t i = 0; lines && i < d->kernel_h; i++) {
    if (lines[i]) continue;
    weights = d->weights + (channel * d->kernel_h + i) * d->kernel_w;
    for (int32_t j = 0; j < d->kernel_w; j++) l->bias += 2 * weights[j] * d->input_zero_point;
    if (d->kernel == 3) {
      l->weights[i] = 0;
      l->middle[i >> 1] = i == 0 ? l->middle[0] & ~0xFFFF : i == 1 ? l->middle[0] & 0xFFFF : 0;
    } else {
      int32_t kept = d->kernel == 7 ? 4 : 3, *row = f->table + i * (kept + 1);
      for (int32_t j = 0; j < kept; j++) row[j] = 0;
      row[kept - 1] = (int32_t)((uint32_t)(i + 1 == d->kernel_h) << 16);
    }
  }
}

/* What does not change from channel to channel. lines: of channel 0, some may be NULL. next_line, next_out: from output
 * row to output row. */
NW_SHARED void nw_filter_begin(const nw_depthwise *d, nw_filter *f, const int8_t *const *lines, int32_t next_line,
                               int32_t next_out) {
  nw_strip *l = &f->strip;
  const int8_t *at[NW_DEPTHWISE_ROWS], *any = 0; /* for lines of padding, whose weights are zero */
  int32_t pairs = d->out_width & ~1;
  for (int32_t i = 0; i < d->kernel_h; i++) any = lines[i] ? lines[i] : any;
  for (int32_t i = 0; i < d->kernel_h; i++) at[i] = lines[i] ? lines[i] : any;
  l->step = d->inputs * d->multiplier;
  l->next_line = next_line;
  l->next_out = next_out;
  l->taken = d->out_width;
  l->table = f->table;
  f->lines[0] = at[0];
  if (d->kernel == 3) {
    f->lines[1] = at[1];
    f->lines[2] = at[2];
    l->taken = pairs * d->stride_w;
    l->next_line -= l->taken;
    l->next_out -= pairs * l->step;
    return;
  }
  int32_t kept = d->kernel == 7 ? 5 : 4;
  for (int32_t i = 0; i < d->kernel_h; i++) f->table[i * kept + kept - 1] = (int32_t)(at[i] - at[i > 0 ? i - 1 : 0]);
}

/* Some output rows of the channel that `f` was set for, from `offset` bytes behind the lines that it began with. */
NW_INLINE void nw_filter_run(const nw_depthwise *d, nw_filter *f, int32_t offset, int8_t *out, int32_t rows) {
  nw_strip *l = &f->strip;
  l->rows = rows;
  if (d->kernel == 3) {
    for (int32_t i = 0; i < 3; i++) l->lines[i] = f->lines[i] + offset;
    l->out = out;
    l->start = l->bias;
    l->left = d->out_width & 1;
    if (d->stride_w == 1) {
      if (d->relu) nw_depthwise_3x3_1(l);
      else nw_depthwise_3x3_1_signed(l);
    } else {
      if (d->relu) nw_depthwise_3x3_2(l);
      else nw_depthwise_3x3_2_signed(l);
    }
    return;
  }
  l->row = l->line = f->lines[0] + offset;
  l->row_out = l->row_at = out;
  l->left = d->out_width;
  if (d->kernel == 7) {
    if (d->stride_w == 1) nw_depthwise_7_1(l);
    else nw_depthwise_7_2(l);
  } else {
    if (d->stride_w == 1) nw_depthwise_5_1(l);
    else nw_depthwise_5_2(l);
  }
}
#endif

/* `rows` rows of one channel, every `step`-th of row_bytes bytes, to lines without their padding. */
NW_SHARED void nw_depthwise_gather(int8_t *line, const int8_t *from, int32_t width, int32_t step, int32_t rows,
                                   int32_t line_bytes, int32_t row_bytes) {
#if NW_DSP
  int32_t first, value, left;
  __asm__ volatile(
      "1:\n\t"
      NW_I("movs %[left], %[whole]")
      NW_I("beq 3f")
      "2:\n\t"
      NW_I("ldrb %[first], [%[from]]")
      NW_I("ldrb %[value], [%[from], %[step]]")
      NW_I("strb %[value], [%[line], #1]")
      NW_I("ldrb %[value], [%[from], %[step], lsl #1]")
      NW_I("strb %[value], [%[line], #2]")
      NW_I("ldrb %[value], [%[from], %[thrice]]")
      NW_I("strb %[value], [%[line], #3]")
      NW_I("strb %[first], [%[line]], #4")
      NW_I("add %[from], %[from], %[step], lsl #2")
      NW_I("subs %[left], %[left], #4")
      NW_I("bne 2b")
      "3:\n\t"
      NW_I("movs %[left], %[rest]")
      NW_I("beq 5f")
      "4:\n\t"
      NW_I("ldrb %[first], [%[from]]")
      NW_I("add %[from], %[from], %[step]")
      NW_I("strb %[first], [%[line]], #1")
      NW_I("subs %[left], %[left], #1")
      NW_I("bne 4b")
      "5:\n\t"
      NW_I("add %[from], %[from], %[row]")
      NW_I("add %[line], %[line], %[gap]")
      NW_I("subs %[rows], %[rows], #1")
      NW_I("bne 1b")
      : [line] "+r"(line), [from] "+r"(from), [rows] "+r"(rows), [first] "=&r"(first), [value] "=&r"(value), [left] "=&r"(left)
      : [whole] "r"(width & ~3), [rest] "r"(width & 3), [step] "r"(step), [thrice] "r"(3 * step),
        [row] "r"(row_bytes - width * step), [gap] "r"(line_bytes - width)
      : "cc", "memory");
#else
  for (; rows > 0; rows--, line += line_bytes, from += row_bytes)
    for (int32_t x = 0; x < width; x++) line[x] = from[x * step];
#endif
}

NW_INLINE void nw_depthwise_zero(const nw_depthwise *d, int8_t *line, int32_t lines) {
  for (; lines > 0; lines--, line += d->line)
    for (int32_t x = 0; x < d->width; x++) line[x] = (int8_t)d->input_zero_point;
}

/* Lines `next` and on of channel c's padded image: returns how many, of the `room` there is. keeps: lines of padding still
 * hold zero points. */
NW_INLINE int32_t nw_depthwise_fill(const nw_depthwise *d, int32_t c, const int8_t *in, int8_t *line, int32_t next,
                                    int32_t room, int32_t keeps) {
  int32_t above = d->pad_top - next, inside = d->height, below;
  line += d->pad_left;
  if (above < 0) {
    inside += above;
    above = 0;
  }
  if (above > room) above = room;
  if (inside < 0) inside = 0;
  if (inside > room - above) inside = room - above;
  below = room - above - inside;
  if (!keeps) {
    nw_depthwise_zero(d, line, above);
    nw_depthwise_zero(d, line + (above + inside) * d->line, below);
  }
  if (inside > 0) {
    int32_t bytes = d->width * d->inputs;
    nw_depthwise_gather(line + above * d->line, in + (next + above - d->pad_top) * bytes + c, d->width, d->inputs, inside,
                        d->line, bytes);
  }
  return room;
}

/* What output rows are computed from. */
typedef struct {
  const int8_t *in;     /* the NHWC tensor, and */
  int8_t *scratch;      /* room for `lines` lines; or both NULL, and */
  const int8_t *const *lines; /* padded lines of channel 0 for one output row, some may be NULL, */
  int32_t channel_stride;     /* from one channel's line to the next's */
  int32_t out_row_stride;
} nw_depthwise_job;

NW_INLINE void nw_depthwise_rows(const nw_depthwise *d, int32_t c, const int8_t *scratch, int8_t *out, int32_t rows,
                                 int32_t out_row_stride) {
  for (int32_t y = 0; y < rows; y++) {
    const int8_t *lines[NW_DEPTHWISE_ROWS];
    for (int32_t i = 0; i < d->kernel_h; i++) lines[i] = scratch + (y * d->stride_h + i * d->dilation_h) * d->line;
    for (int32_t m = 0; m < d->multiplier; m++)
      nw_depthwise_plain(d, c * d->multiplier + m, lines, out + y * out_row_stride + m, d->inputs * d->multiplier);
  }
}

NW_SHARED void nw_depthwise_run(const nw_depthwise *d, const nw_depthwise_job *job, int8_t *out) {
  int8_t *const scratch = job->scratch; /* asked whether it is NULL: compilers that know it is then see what cannot happen */
  const int32_t span = (d->kernel_h - 1) * d->dilation_h + 1, height = scratch ? d->out_height : 1;
  const int32_t total = (d->out_height - 1) * d->stride_h + span; /* lines that the output needs, with those of padding */
#if NW_DSP
  nw_filter filter;
  int32_t fast = 0; /* not where all lines are padding */
  if (d->kernel) {
    const int8_t *lines[NW_DEPTHWISE_ROWS];
    for (int32_t i = 0; i < d->kernel_h; i++) {
      lines[i] = scratch ? scratch + i * d->dilation_h * d->line : job->lines[i];
      fast |= lines[i] != (const int8_t *)0;
    }
    nw_filter_begin(d, &filter, lines, d->stride_h * d->line, job->out_row_stride);
  }
#endif
  for (int32_t c = 0; c < d->inputs; c++) {
    int32_t next = 0, kept = 0; /* line of the padded image that is read next; lines in the scratch */
    for (int32_t y = 0, rows = 1; y < height; y += rows) {
      if (scratch) {
        int32_t room = d->lines - kept < total - next ? d->lines - kept : total - next;
        next += nw_depthwise_fill(d, c, job->in, scratch + kept * d->line, next, room, d->lines == total);
        kept += room;
        rows = (kept - span) / d->stride_h + 1;
        if (rows > height - y) rows = height - y;
      }
      int8_t *to = out + y * job->out_row_stride + c * d->multiplier;
#if NW_DSP
      if (fast) {
        for (int32_t m = 0; m < d->multiplier; m++) {
          if (y == 0 || d->multiplier > 1) nw_filter_set(d, c * d->multiplier + m, job->lines, &filter);
          nw_filter_run(d, &filter, c * job->channel_stride, to + m, rows);
        }
      } else
#endif
      if (scratch) {
        nw_depthwise_rows(d, c, scratch, to, rows, job->out_row_stride);
      } else {
        const int8_t *lines[NW_DEPTHWISE_ROWS];
        for (int32_t i = 0; i < d->kernel_h; i++)
          lines[i] = job->lines[i] ? job->lines[i] + c * job->channel_stride : (const int8_t *)0;
        for (int32_t m = 0; m < d->multiplier; m++)
          nw_depthwise_plain(d, c * d->multiplier + m, lines, to + m, d->inputs * d->multiplier);
      }
      if (y + rows < height) { /* the lines that the next rows need too move to the front */
        int32_t used = rows * d->stride_h;
        if (used > kept) {
          next += used - kept;
          used = kept;
        }
        for (int32_t i = used * d->line; i < kept * d->line; i += 4) {
#if NW_DSP
          nw_store4(scratch + i - used * d->line, nw_load4(scratch + i));
#else
          for (int32_t j = i; j < i + 4; j++) scratch[j - used * d->line] = scratch[j];
#endif
        }
        kept -= used;
      }
    }
  }
}

/* One NHWC output row. lines[i]: the padded line of channel 0 of kernel row i, channel c's channel_stride x c further;
 * NULL for a row of padding. */
NW_SHARED void nw_depthwise_row(const nw_depthwise *d, const int8_t *const *lines, int32_t channel_stride, int8_t *out) {
  nw_depthwise_job job = {0, 0, lines, channel_stride, 0};
  nw_depthwise_run(d, &job, out);
}

/* The whole tensor, NHWC; output row y begins at y x out_row_stride. scratch: `lines` lines, at least those under the
 * kernel. With a channel multiplier of 1, out may be in, for every stride and every out_row_stride <= the input's row
 * bytes, as long as kernel_h > pad_top: row y of a channel is written after rows up to y at least were read. */
NW_SHARED void nw_depthwise_all(const nw_depthwise *d, const int8_t *in, int8_t *out, int8_t *scratch,
                                int32_t out_row_stride) {
  nw_depthwise_job job = {in, scratch, 0, 0, out_row_stride};
  for (int32_t i = 0; i < d->lines * d->line; i++) scratch[i] = (int8_t)d->input_zero_point;
  nw_depthwise_run(d, &job, out);
}
#endif
