/* nw_matrix.h's inner product for cores with the DSP extension (Cortex-M4, M7, M33): the same bits.
 *
 * Instructions for a chunk of the depth: 17 for 24 products with three pixels, 23 for 32 with two, 14 for 16 with one.
 * All fourteen registers are taken (and kept for the compiler, whatever it uses them for), so that what the outer loop
 * needs lies in an nw_pass on the stack, and code addresses with it: the loop over depths is unrolled eight (four)
 * times and entered where the count's remainder says. */
#ifndef NW_MATRIX_DSP_H
#define NW_MATRIX_DSP_H
#include "nw_matrix.h"
#if NW_DSP

/* Ways to end a pair of channels: an index into the tables of addresses below. */
#define NW_PUT_SUMS 0 /* as they are: 256 A + B, B */
#define NW_PUT_RELU 1 /* NHWC: channel_step 1; `step` is the pixel_step */
#define NW_PUT_RELU_PLANAR 2 /* pixel_step 1; `step` is the channel_step */
#define NW_PUT_SIGNED 3
#define NW_PUT_SIGNED_PLANAR 4
/* Ways to begin one. */
#define NW_FROM_STREAM 5
#define NW_FROM_SUMS 6

typedef struct { /* words at the offsets that follow; a pass copies them to its stack */
  int16_t *tile, *tile_end;
  int8_t *out;
  int32_t step;
  uint32_t stream_end, start;
  const int32_t *sums_in;
  int32_t *sums_out;
  uint32_t entry, again, finish;
  const int32_t *stream;
} nw_pass;
#define NW_TILE_AT "[sp]"
#define NW_TILE_END "[sp, #4]"
#define NW_OUT "[sp, #8]"
#define NW_STREAM_END "[sp, #16]"
#define NW_START "[sp, #20]"
#define NW_SUMS_IN "[sp, #24]"
#define NW_SUMS_OUT "[sp, #28]"
#define NW_ENTRY "[sp, #32]"
#define NW_AGAIN "[sp, #36]"
#define NW_FINISH "[sp, #40]"
#define NW_STREAM "[sp, #44]"

/* ---- a pass; stream lr, tile or out r12 ----
 *
 *              three pixels   two pixels   one pixel
 *   a          r0 r1 r2       r0 r1        r0
 *   b          r3 r4 r5       r2 r3        r1
 *   tile       r6 r7 r8       r4-r7        r8-r11
 *   weights    r9 r10         r8-r11       r4-r7
 *   tile's end r11            r4           r4
 *
 * Ends: a and b where they are, multipliers r6 (A) r7 (B), shift r8, rounding r10 (A) r9 (B), scratch or step r11. */
/* Takes what s points to (r0) to the stack and goes to where sums start, stream in lr. entry, again: offsets from label
 * 20 (r6) become addresses; start, finish: indices into the table at label 50 (r5) do. */
#define NW_ADDRESS(word) NW_I("ldr r4, " word) NW_I("add r4, r4, r6") NW_I("str r4, " word)
#define NW_LOOKUP(word) \
  NW_I("ldr r4, " word) NW_I("ldr r4, [r5, r4, lsl #2]") NW_I("add r4, r4, r5") NW_I("str r4, " word)
#define NW_SIX_WORDS(from) NW_I("ldm " from ", {r1, r2, r3, r4, r5, r6}") NW_I("push {r1, r2, r3, r4, r5, r6}")
#define NW_PASS_BEGIN \
  NW_I("push {r4, r5, r6, r7, r8, r9, r10, r11, lr}") NW_I("add r12, r0, #24") NW_SIX_WORDS("r12") NW_SIX_WORDS("r0") \
  NW_I("adr r5, 50f") NW_I("adr r6, 20f") NW_I("adds r6, r6, #1") \
  NW_ADDRESS(NW_ENTRY) NW_ADDRESS(NW_AGAIN) NW_LOOKUP(NW_FINISH) NW_LOOKUP(NW_START) \
  NW_I("ldr lr, " NW_STREAM) NW_I("bx r4")
/* One pair of channels is done: r4 the stream's end, r5 where the next one starts. */
#define NW_PASS_NEXT NW_I("ldrd r4, r5, " NW_STREAM_END) NW_I("cmp lr, r4") NW_I("beq 60f") NW_I("bx r5")
#define NW_PASS_LABEL(label) NW_I(".word " label "b - 50b + 1")
#define NW_PASS_TABLE /* in the order of NW_PUT_SUMS to NW_FROM_SUMS */ \
  NW_I(".balign 4") "50:\n\t" NW_PASS_LABEL("31") NW_PASS_LABEL("32") NW_PASS_LABEL("33") NW_PASS_LABEL("34") \
  NW_PASS_LABEL("35") NW_PASS_LABEL("10") NW_PASS_LABEL("11")
#define NW_PASS_END NW_I("mov r0, lr") NW_I("add sp, sp, #48") NW_I("pop {r4, r5, r6, r7, r8, r9, r10, r11, lr}")

/* ---- ends: each(a, b) for the sums of every pixel, a = 256 A + B and b = B, which become bytes ---- */
#define NW_PAIRS_3(each) each("r0", "r3") each("r1", "r4") each("r2", "r5")
#define NW_PAIRS_2(each) each("r0", "r2") each("r1", "r3")
#define NW_PAIRS_1(each) each("r0", "r1")
/* Multipliers r6 and r7, A's shift r8 (B's is its second byte), rounding r9, that shifted for A r10. */
#define NW_PARAMETERS_A NW_I("ldm lr!, {r6, r7, r8}") NW_I("asr r9, r8, #16") NW_I("lsl r10, r9, r8")
/* B's shift r8 and shifted rounding r9. */
#define NW_PARAMETERS_B NW_I("lsr r8, r8, #8") NW_I("lsl r9, r9, r8")
#define NW_ONLY_A(a, b) NW_I("sub " a ", " a ", " b) /* a: 256 A */
/* Products' high words: r6 r10 for A, r7 r9 for B; with the sign of what is rounded (r11 scratch) or without. */
#define NW_RELU_A(a, b) NW_I("smmla " a ", " a ", r6, r10")
#define NW_RELU_B(a, b) NW_I("lsl " b ", " b ", #1") NW_I("smmlar " b ", " b ", r7, r9") NW_TO_BYTE(b)
#define NW_WITH_SIGN(sum, multiplier, rounding) \
  NW_I("smmlar r11, " sum ", " multiplier ", " rounding) NW_I("add " sum ", r11, " sum ", asr #31")
#define NW_SIGNED_A(a, b) NW_I("asr " a ", " a ", #7") NW_WITH_SIGN(a, "r6", "r10")
#define NW_SIGNED_B(a, b) NW_I("lsl " b ", " b ", #1") NW_WITH_SIGN(b, "r7", "r9") NW_TO_BYTE(b)
/* Shifted by r8, clamped. */
#define NW_TO_BYTE(sum) NW_I("asr " sum ", " sum ", r8") NW_I("ssat " sum ", #8, " sum ", asr #1")
#define NW_TO_BYTE_A(a, b) NW_TO_BYTE(a)
#define NW_REQUANTIZE_RELU(pairs) \
  NW_PARAMETERS_A pairs(NW_ONLY_A) NW_I("add r10, r10, #64") pairs(NW_RELU_A) pairs(NW_TO_BYTE_A) \
  NW_PARAMETERS_B pairs(NW_RELU_B)
#define NW_REQUANTIZE_SIGNED(pairs) \
  NW_PARAMETERS_A pairs(NW_ONLY_A) pairs(NW_SIGNED_A) pairs(NW_TO_BYTE_A) NW_PARAMETERS_B pairs(NW_SIGNED_B)
/* Bytes to out, r12, which goes on to the next pair; r11 the step. NHWC: a pixel's two channels in one halfword; */
#define NW_STORE_BEGIN NW_I("ldrd r12, r11, " NW_OUT)
#define NW_STORE_END NW_I("str r12, " NW_OUT)
#define NW_HALFWORD(a, b) NW_I("bfi " a ", " b ", #8, #8")
#define NW_BEHIND_1
#define NW_BEHIND_2 NW_I("strh r1, [r12, r11]")
#define NW_BEHIND_3 NW_BEHIND_2 NW_I("strh r2, [r12, r11, lsl #1]")
#define NW_STORE(pairs, behind) NW_STORE_BEGIN pairs(NW_HALFWORD) behind NW_I("strh r0, [r12], #2") NW_STORE_END
/* planar: the pixels of a channel beside each other, one channel after the other. */
#define NW_PLANE_3(x, y, z) \
  NW_HALFWORD(x, y) NW_I("strh " x ", [r12]") NW_I("strb " z ", [r12, #2]") NW_I("add r12, r12, r11")
#define NW_PLANE_2(x, y) NW_HALFWORD(x, y) NW_I("strh " x ", [r12]") NW_I("add r12, r12, r11")
#define NW_PLANE_1(x) NW_I("strb " x ", [r12]") NW_I("add r12, r12, r11")
#define NW_PLANES_3 NW_PLANE_3("r0", "r1", "r2") NW_PLANE_3("r3", "r4", "r5")
#define NW_PLANES_2 NW_PLANE_2("r0", "r1") NW_PLANE_2("r2", "r3")
#define NW_PLANES_1 NW_PLANE_1("r0") NW_PLANE_1("r1")
#define NW_STORE_PLANAR(planes) NW_STORE_BEGIN planes NW_STORE_END

/* ---- products: two depths of every pixel with a word of weights, for a as it is, for b its low bytes ---- */
#define NW_PRODUCT(sum, tile, weights) NW_I("smlad " sum ", " tile ", " weights ", " sum)
#define NW_WEIGHTS_B(weights) NW_I("sxtb16 " weights ", " weights)
#define NW_TWICE(code) code code

/* Three pixels: tile r6-r8, a r0-r2, b r3-r5. */
#define NW_DEPTHS_3(weights) \
  NW_I("ldm r12!, {r6, r7, r8}") \
  NW_PRODUCT("r0", "r6", weights) NW_PRODUCT("r1", "r7", weights) NW_PRODUCT("r2", "r8", weights) \
  NW_WEIGHTS_B(weights) \
  NW_PRODUCT("r3", "r6", weights) NW_PRODUCT("r4", "r7", weights) NW_PRODUCT("r5", "r8", weights)
#define NW_UNIT_3 NW_I("ldm lr!, {r9, r10}") NW_DEPTHS_3("r9") NW_DEPTHS_3("r10")
#define NW_TILE_3 NW_I("ldrd r12, r11, " NW_TILE_AT)
#define NW_SUMS_3 "{r0, r1, r2, r3, r4, r5}"
/* The first four depths add to the start values r0 (a) and r3 (b) where they are. */
#define NW_STREAM_3 \
  NW_I("ldm lr!, {r0, r3}") NW_TILE_3 NW_I("ldm lr!, {r9, r10}") NW_I("ldm r12!, {r6, r7, r8}") \
  NW_I("smlad r1, r7, r9, r0") NW_I("smlad r2, r8, r9, r0") NW_I("smlad r0, r6, r9, r0") NW_WEIGHTS_B("r9") \
  NW_I("smlad r4, r7, r9, r3") NW_I("smlad r5, r8, r9, r3") NW_I("smlad r3, r6, r9, r3") NW_DEPTHS_3("r10")
#define NW_LOOP_3 "20:\n\t" NW_TWICE(NW_TWICE(NW_TWICE(NW_UNIT_3))) NW_I("cmp r12, r11")

/* Fewer pixels: before label 20 stands half a unit, what is left of a depth that is no multiple of 8. */
#define NW_LOOP(half, unit) \
  half NW_I("ldr pc, " NW_AGAIN) NW_I(".balign 4") \
  "20:\n\t" NW_TWICE(NW_TWICE(unit)) NW_I("ldr r4, " NW_TILE_END) NW_I("cmp r12, r4")

/* Two pixels: tile r4-r7, a r0 r1, b r2 r3. */
#define NW_DEPTHS_2(tile_0, tile_1, weights) \
  NW_PRODUCT("r0", tile_0, weights) NW_PRODUCT("r1", tile_1, weights) NW_WEIGHTS_B(weights) \
  NW_PRODUCT("r2", tile_0, weights) NW_PRODUCT("r3", tile_1, weights)
#define NW_FOUR_DEPTHS_2(weights_0, weights_1) \
  NW_I("ldm r12!, {r4, r5, r6, r7}") NW_DEPTHS_2("r4", "r5", weights_0) NW_DEPTHS_2("r6", "r7", weights_1)
#define NW_HALF_2 NW_I("ldm lr!, {r8, r9}") NW_FOUR_DEPTHS_2("r8", "r9")
#define NW_UNIT_2 NW_I("ldm lr!, {r8, r9, r10, r11}") NW_FOUR_DEPTHS_2("r8", "r9") NW_FOUR_DEPTHS_2("r10", "r11")
#define NW_TILE_2 NW_I("ldr r12, " NW_TILE_AT)
#define NW_SUMS_2 "{r0, r1, r2, r3}"
#define NW_STREAM_2 NW_I("ldm lr!, {r0, r2}") NW_TILE_2 NW_I("mov r1, r0") NW_I("mov r3, r2")
#define NW_LOOP_2 NW_LOOP(NW_HALF_2, NW_UNIT_2)

/* One pixel: tile r8-r11, weights r4-r7, a r0, b r1. */
#define NW_DEPTHS_1(tile, weights) NW_PRODUCT("r0", tile, weights) NW_WEIGHTS_B(weights) NW_PRODUCT("r1", tile, weights)
#define NW_FOUR_DEPTHS_1 NW_DEPTHS_1("r8", "r4") NW_DEPTHS_1("r9", "r5")
#define NW_HALF_1 NW_I("ldm lr!, {r4, r5}") NW_I("ldm r12!, {r8, r9}") NW_FOUR_DEPTHS_1
#define NW_UNIT_1 \
  NW_I("ldm lr!, {r4, r5, r6, r7}") NW_I("ldm r12!, {r8, r9, r10, r11}") NW_FOUR_DEPTHS_1 \
  NW_DEPTHS_1("r10", "r6") NW_DEPTHS_1("r11", "r7")
#define NW_TILE_1 NW_TILE_2
#define NW_SUMS_1 "{r0, r1}"
#define NW_STREAM_1 NW_I("ldm lr!, " NW_SUMS_1) NW_TILE_1
#define NW_LOOP_1 NW_LOOP(NW_HALF_1, NW_UNIT_1)

/* A pass returns where the stream goes on. Labels: 10 start from the stream, 11 from sums; 20 loop over depths; 31-35
 * the ends, as NW_PUT says; 50 the addresses of all these; 60 the last pair is done. */
#define NW_PASS(name, pixels) \
  NW_SHARED const int32_t *name(const nw_pass *s) { \
    register const void *r0 __asm__("r0") = s; \
    __asm__ volatile( \
        NW_PASS_BEGIN \
        "10:\n\t" NW_STREAM_##pixels NW_I("ldr pc, " NW_ENTRY) \
        "11:\n\t" NW_I("ldr r12, " NW_SUMS_IN) NW_I("ldm r12!, " NW_SUMS_##pixels) NW_I("str r12, " NW_SUMS_IN) \
        NW_TILE_##pixels NW_I("ldr pc, " NW_ENTRY) NW_I(".balign 4") \
        NW_LOOP_##pixels NW_I("bne 20b") NW_I("ldr pc, " NW_FINISH) \
        "31:\n\t" NW_I("ldr r12, " NW_SUMS_OUT) NW_I("stm r12!, " NW_SUMS_##pixels) NW_I("str r12, " NW_SUMS_OUT) \
        NW_PASS_NEXT \
        "32:\n\t" NW_REQUANTIZE_RELU(NW_PAIRS_##pixels) NW_STORE(NW_PAIRS_##pixels, NW_BEHIND_##pixels) NW_PASS_NEXT \
        "33:\n\t" NW_REQUANTIZE_RELU(NW_PAIRS_##pixels) NW_STORE_PLANAR(NW_PLANES_##pixels) NW_PASS_NEXT \
        "34:\n\t" NW_REQUANTIZE_SIGNED(NW_PAIRS_##pixels) NW_STORE(NW_PAIRS_##pixels, NW_BEHIND_##pixels) NW_PASS_NEXT \
        "35:\n\t" NW_REQUANTIZE_SIGNED(NW_PAIRS_##pixels) NW_STORE_PLANAR(NW_PLANES_##pixels) NW_PASS_NEXT \
        NW_PASS_TABLE \
        "60:\n\t" NW_PASS_END : "+r"(r0) : : "r1", "r2", "r3", "r12", "cc", "memory"); \
    return (const int32_t *)r0; \
  }
NW_PASS(nw_pass_3, 3)
NW_PASS(nw_pass_2, 2)
NW_PASS(nw_pass_1, 1)

/* As nw_chunk_plain. */
NW_INLINE const int32_t *nw_chunk_dsp(const nw_matrix *m, nw_pass *s, const int32_t *stream, int16_t *tile,
                                      int32_t depth, int32_t channel, int32_t channels, int32_t *sums, int32_t first,
                                      int32_t last, int32_t pixels, nw_target to) {
  int32_t behind = last && (nw_params_behind(m) || (to.channel_step != 1 && to.pixel_step != 1));
  int32_t words = channels / 2 * (depth / 2 + (first ? 2 : 0) + (last && !nw_params_behind(m) ? 3 : 0));
  s->stream = stream;
  s->stream_end = (uint32_t)(uintptr_t)(stream + words);
  s->start = first ? NW_FROM_STREAM : NW_FROM_SUMS;
  s->tile = tile;
  s->tile_end = tile + depth * pixels;
  s->out = to.out + channel * to.channel_step;
  s->step = to.channel_step == 1 ? to.pixel_step : to.channel_step;
  s->sums_in = sums;
  s->sums_out = sums;
  s->finish = NW_PUT_SUMS;
  if (last && !behind) {
    s->finish = m->rounding == NW_RELU ? NW_PUT_RELU : NW_PUT_SIGNED;
    if (to.channel_step != 1) s->finish += NW_PUT_RELU_PLANAR - NW_PUT_RELU;
  }
  uint32_t fours = (uint32_t)depth / 4u;
  if (pixels == 3) {
    uint32_t looped = first ? fours - 1u : fours; /* the first four depths of a start from the stream stand before it */
    s->entry = looped == 0u ? 544u : (0u - looped) % 8u * 68u;
    stream = nw_pass_3(s);
  } else if (pixels == 2) {
    s->again = fours < 2u ? 368u : (0u - fours / 2u) % 4u * 92u;
    s->entry = fours % 2u ? 0u - 52u : s->again;
    stream = nw_pass_2(s);
  } else {
    s->again = fours < 2u ? 224u : (0u - fours / 2u) % 4u * 56u;
    s->entry = fours % 2u ? 0u - 36u : s->again;
    stream = nw_pass_1(s);
  }
  return behind ? nw_put_sums(m, stream, sums, channel, channels, pixels, 1, to) : stream;
}
#endif
#endif
