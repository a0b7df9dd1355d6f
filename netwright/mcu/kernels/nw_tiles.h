/* All tiles of a row of pixels: fills each, chunk by chunk, and multiplies it with all output channels. */
#ifndef NW_TILES_H
#define NW_TILES_H
#include "nw_matrix.h"
#include "nw_matrix_dsp.h"

NW_SHARED void nw_tiles(const nw_matrix *m, const nw_source *source, int32_t pixels, nw_target to) {
  nw_tile tile;
#if NW_DSP
  nw_pass pass;
#endif
  for (int32_t x = 0, taken; x < pixels; x += taken, to.out += taken * to.pixel_step) {
    const int32_t *stream = m->stream;
    taken = nw_tile_pixels(m, pixels - x);
    for (int32_t c = 0; c < m->outputs; c += m->block) {
      int32_t channels = m->outputs - c < m->block ? (m->outputs - c + 1) & ~1 : m->block;
      for (int32_t k = 0; k < m->depth; k += m->chunk) {
        int32_t count = m->depth - k < m->chunk ? m->depth - k : m->chunk;
        if (c == 0 || m->chunk < m->depth) source->fill(source, &tile, x, taken, k, count);
#if NW_DSP
        if (m->pairs) {
          stream = nw_chunk_dsp(m, &pass, stream, tile.in.values, count, c, channels, tile.sums, k == 0, k + count == m->depth,
                                taken, to);
          continue;
        }
#endif
        stream = nw_chunk_plain(m, stream, tile.in.values, count, c, channels, tile.sums, k == 0, k + count == m->depth, taken, to);
      }
    }
  }
}
#endif
