/* From the pixels of a photograph to the int8 input of a network, as it was prepared in training.
 *
 * The constants are macros of net_preprocess.c, which includes this once. First the centre square is brought to
 * NET_IMAGE_DECODED_SIZE with the filter and the fixed-point arithmetic of Pillow's resize (along one axis, rounded to bytes,
 * then along the other), then, where the network is of another size, to NW_SIZE by NW_AGAIN_TAPS bilinear weights a pixel that
 * were computed beforehand. Doubles are used for weights only: one row and one column of them an image. */
#ifndef NW_PREPROCESS_H
#define NW_PREPROCESS_H
#include <stdint.h>

#define NW_SUPPORT (NET_IMAGE_BICUBIC ? 2 : 1)
#define NW_TAPS (2 * NW_SUPPORT * NET_IMAGE_REDUCTION + 1)
#define NW_BITS 22
#define NW_LARGEST_SIDE 16384

typedef struct {
  int32_t first, count;
  int32_t weights[NW_TAPS];
} nw_span;

typedef struct {
  const uint8_t *pixels;
  int32_t rgb565, width, down_first;
} nw_photograph;

static double nw_filter(double x) {
  if (x < 0.0) x = -x;
#if NET_IMAGE_BICUBIC
  if (x < 1.0) return ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5;
  return 0.0;
#else
  return x < 1.0 ? 1.0 - x : 0.0;
#endif
}

/* What output pixel `at` sees of `inputs` pixels, of which the part of `length` from `start` becomes
 * NET_IMAGE_DECODED_SIZE pixels. */
static void nw_see(nw_span *span, double start, double length, int32_t inputs, int32_t at) {
  const double scale = length / NET_IMAGE_DECODED_SIZE, wide = scale < 1.0 ? 1.0 : scale, narrow = 1.0 / wide;
  const double support = NW_SUPPORT * wide, centre = start + (at + 0.5) * scale;
  int32_t first = (int32_t)(centre - support + 0.5), end = (int32_t)(centre + support + 0.5);
  double sum = 0.0;
  if (first < 0) first = 0;
  if (end > inputs) end = inputs;
  if (end > first + NW_TAPS) end = first + NW_TAPS;
  for (int32_t x = first; x < end; x++) sum += nw_filter((x - centre + 0.5) * narrow);
  for (int32_t x = first; x < end; x++) {
    const double weight = nw_filter((x - centre + 0.5) * narrow) / sum * (1 << NW_BITS);
    span->weights[x - first] = (int32_t)(weight < 0.0 ? weight - 0.5 : weight + 0.5);
  }
  span->first = first;
  span->count = end - first;
}

static int32_t nw_value(const nw_photograph *from, int32_t y, int32_t x, int32_t channel) {
  const int32_t place = y * from->width + x;
  if (from->rgb565) {
    const int32_t pixel = from->pixels[2 * place] | from->pixels[2 * place + 1] << 8;
    const int32_t six = pixel >> 5 & 63, five = channel == 0 ? pixel >> 11 & 31 : pixel & 31;
    return channel == 1 ? six << 2 | six >> 4 : five << 3 | five >> 2;
  }
  return from->pixels[3 * place + channel];
}

static int32_t nw_byte(int32_t sum) {
  const int32_t value = sum >> NW_BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

static int32_t nw_resized(const nw_photograph *from, const nw_span *rows, const nw_span *columns, int32_t channel) {
  const nw_span *const outer = from->down_first ? columns : rows, *const inner = from->down_first ? rows : columns;
  int32_t sum = 1 << (NW_BITS - 1);
  for (int32_t i = 0; i < outer->count; i++) {
    int32_t along = 1 << (NW_BITS - 1);
    for (int32_t k = 0; k < inner->count; k++) {
      const int32_t y = from->down_first ? k : i, x = from->down_first ? i : k;
      along += inner->weights[k] * nw_value(from, rows->first + y, columns->first + x, channel);
    }
    sum += outer->weights[i] * nw_byte(along);
  }
  return nw_byte(sum);
}

/* One pixel of the resized image, its channels in the network's order. */
static void nw_pixel(const nw_photograph *from, const nw_span *rows, const nw_span *columns, uint8_t *out) {
  int32_t rgb[3];
  for (int32_t channel = 0; channel < 3; channel++) rgb[channel] = nw_resized(from, rows, columns, channel);
#if NET_IMAGE_CHANNELS == 1
  out[0] = (uint8_t)((19595 * rgb[0] + 38470 * rgb[1] + 7471 * rgb[2] + 32768) >> 16);
#else
  for (int32_t channel = 0; channel < 3; channel++) out[channel] = (uint8_t)rgb[NET_IMAGE_BGR ? 2 - channel : channel];
#endif
}

static int nw_preprocess(const nw_photograph *from, int32_t height, int8_t *input) {
  static nw_span columns[NET_IMAGE_DECODED_SIZE];
  static nw_span rows;
  static uint8_t row[NET_IMAGE_DECODED_SIZE * NET_IMAGE_CHANNELS];
  const int32_t width = from->width, least = height < width ? height : width;
  const double side = least * NET_IMAGE_CROP, left = (width - side) / 2, top = (height - side) / 2;
  if (!from->pixels || least < 1 || height > NW_LARGEST_SIDE || width > NW_LARGEST_SIDE) return -1;
  if (side > (double)NET_IMAGE_REDUCTION * NET_IMAGE_DECODED_SIZE) return -1;
  for (int32_t x = 0; x < NET_IMAGE_DECODED_SIZE; x++) nw_see(&columns[x], left, side, width, x);
#if NW_AGAIN_TAPS == 0
  for (int32_t y = 0; y < NET_IMAGE_HEIGHT; y++) {
    nw_see(&rows, top, side, height, y + NW_TOP);
    for (int32_t x = 0; x < NET_IMAGE_WIDTH; x++) {
      nw_pixel(from, &rows, &columns[x + NW_LEFT], row);
      for (int32_t c = 0; c < NET_IMAGE_CHANNELS; c++) *input++ = net_image_table[c][row[c]];
    }
  }
#else
  static uint16_t kept[NW_AGAIN_TAPS][NET_IMAGE_WIDTH * NET_IMAGE_CHANNELS]; /* rows, with 7 bits of a fraction */
  int32_t done = net_again_first[NW_TOP];
  for (int32_t y = 0; y < NET_IMAGE_HEIGHT; y++) {
    const int32_t first = net_again_first[y + NW_TOP];
    for (; done < first + NW_AGAIN_TAPS && done < NET_IMAGE_DECODED_SIZE; done++) {
      if (done < first) continue;
      nw_see(&rows, top, side, height, done);
      for (int32_t x = 0; x < NET_IMAGE_DECODED_SIZE; x++)
        nw_pixel(from, &rows, &columns[x], row + x * NET_IMAGE_CHANNELS);
      for (int32_t at = 0; at < NET_IMAGE_WIDTH * NET_IMAGE_CHANNELS; at++) {
        const int32_t x = at / NET_IMAGE_CHANNELS + NW_LEFT, channel = at % NET_IMAGE_CHANNELS;
        int32_t sum = 128;
        for (int32_t k = 0; k < NW_AGAIN_TAPS && net_again_first[x] + k < NET_IMAGE_DECODED_SIZE; k++)
          sum += net_again_weights[x][k] * row[(net_again_first[x] + k) * NET_IMAGE_CHANNELS + channel];
        kept[done % NW_AGAIN_TAPS][at] = (uint16_t)(sum >> 8);
      }
    }
    for (int32_t at = 0; at < NET_IMAGE_WIDTH * NET_IMAGE_CHANNELS; at++) {
      int32_t sum = 1 << 21;
      for (int32_t k = 0; k < NW_AGAIN_TAPS && first + k < NET_IMAGE_DECODED_SIZE; k++)
        sum += net_again_weights[y + NW_TOP][k] * kept[(first + k) % NW_AGAIN_TAPS][at];
      *input++ = net_image_table[at % NET_IMAGE_CHANNELS][sum >> 22];
    }
  }
#endif
  return 0;
}
#endif
