/* Interpolation of an int8 image in fixed point of 10 bits (reference_ops::ResizeBilinearInteger).
 *
 * rows, columns: for each output row or column (lower, upper, weight of the upper of 1024), three int16 each; a weight may
 * lie outside 0 to 1024 where both pixels are the same. out: (out_height, out_width, channels), apart from the input. */
#ifndef NW_RESIZE_H
#define NW_RESIZE_H
#include "nw_requant.h"

NW_SHARED void nw_resize(const int8_t *in, int32_t width, int32_t channels, int8_t *out, int32_t out_height,
                         int32_t out_width, const int16_t *rows, const int16_t *columns) {
  for (int32_t y = 0; y < out_height; y++, rows += 3) {
    const int8_t *upper = in + rows[0] * width * channels, *lower = in + rows[1] * width * channels;
    const int16_t *column = columns;
    for (int32_t x = 0; x < out_width; x++, column += 3) {
      const int32_t left = column[0] * channels, right = column[1] * channels;
      const int32_t down = rows[2], along = column[2], up = 1024 - down, back = 1024 - along;
      const int32_t w00 = up * back, w01 = up * along, w10 = down * back, w11 = down * along;
      for (int32_t c = 0; c < channels; c++) {
        const int32_t sum = upper[left + c] * w00 + upper[right + c] * w01 + lower[left + c] * w10 + lower[right + c] * w11;
        *out++ = (int8_t)((sum + (sum < 0 ? -1 : 0) + (1 << 19)) >> 20);
      }
    }
  }
}
#endif
