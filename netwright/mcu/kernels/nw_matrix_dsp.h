/* nw_matrix.h's inner product for cores with the DSP extension (Cortex-M4, M7, M33): the same bits.
 *
 * Instructions for a chunk of the depth: 17 for 24 products with three pixels, 23 for 32 with two, 14 for 16 with one. All
 * fourteen registers are taken (and kept for the compiler, whatever it uses them for), so that what the outer loop needs
 * lies in an nw_pass on the stack, and code addresses with it: the loop over depths is unrolled eight (four) times and
 * entered where the count's remainder says. */
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

/* entry, again: offsets from label 20 become addresses; start, finish: indices into the table at label 50 do. */
#define NW_PASS_BEGIN \
  NW_I("push {r4, r5, r6, r7, r8, r9, r10, r11, lr}") NW_I("add r12, r0, #24") NW_I("ldm r12, {r1, r2, r3, r4, r5, r6}") NW_I("push {r1, r2, r3, r4, r5, r6}") \
  NW_I("ldm r0, {r1, r2, r3, r4, r5, r6}") NW_I("push {r1, r2, r3, r4, r5, r6}") \
  NW_I("adr r5, 50f") NW_I("adr r6, 20f") NW_I("adds r6, r6, #1") \
  NW_I("ldr r4, " NW_ENTRY) NW_I("add r4, r4, r6") NW_I("str r4, " NW_ENTRY) \
  NW_I("ldr r4, " NW_AGAIN) NW_I("add r4, r4, r6") NW_I("str r4, " NW_AGAIN) \
  NW_I("ldr r4, " NW_FINISH) NW_I("ldr r4, [r5, r4, lsl #2]") NW_I("add r4, r4, r5") NW_I("str r4, " NW_FINISH) \
  NW_I("ldr r4, " NW_START) NW_I("ldr r4, [r5, r4, lsl #2]") NW_I("add r4, r4, r5") NW_I("str r4, " NW_START) \
  NW_I("ldr lr, " NW_STREAM) NW_I("bx r4")
#define NW_PASS_CLOBBERS "r1", "r2", "r3", "r12", "cc", "memory"
#define NW_PASS_END /* one pair of channels is done */ \
  NW_I("ldrd r4, r5, " NW_STREAM_END) NW_I("cmp lr, r4") NW_I("beq 60f") NW_I("bx r5")
#define NW_PASS_TABLE \
  NW_I(".balign 4") "50:\n\t" NW_I(".word 31b - 50b + 1") NW_I(".word 32b - 50b + 1") NW_I(".word 33b - 50b + 1") \
  NW_I(".word 34b - 50b + 1") NW_I(".word 35b - 50b + 1") NW_I(".word 10b - 50b + 1") NW_I(".word 11b - 50b + 1")

/* ---- three pixels: a r0-r2, b r3-r5; stream lr, tile r12 ---- */
#define NW_RELU_3 \
  NW_I("ldm lr!, {r6, r7, r8}") NW_I("asr r9, r8, #16") NW_I("lsl r10, r9, r8") NW_I("sub r0, r0, r3") \
  NW_I("sub r1, r1, r4") NW_I("sub r2, r2, r5") NW_I("add r10, r10, #64") NW_I("smmla r0, r0, r6, r10") \
  NW_I("smmla r1, r1, r6, r10") NW_I("smmla r2, r2, r6, r10") NW_I("asr r0, r0, r8") NW_I("ssat r0, #8, r0, asr #1") \
  NW_I("asr r1, r1, r8") NW_I("ssat r1, #8, r1, asr #1") NW_I("asr r2, r2, r8") NW_I("ssat r2, #8, r2, asr #1") \
  NW_I("lsr r8, r8, #8") NW_I("lsl r9, r9, r8") NW_I("lsl r3, r3, #1") NW_I("smmlar r3, r3, r7, r9") \
  NW_I("asr r3, r3, r8") NW_I("ssat r3, #8, r3, asr #1") NW_I("lsl r4, r4, #1") NW_I("smmlar r4, r4, r7, r9") \
  NW_I("asr r4, r4, r8") NW_I("ssat r4, #8, r4, asr #1") NW_I("lsl r5, r5, #1") NW_I("smmlar r5, r5, r7, r9") \
  NW_I("asr r5, r5, r8") NW_I("ssat r5, #8, r5, asr #1")
#define NW_SIGNED_3 \
  NW_I("ldm lr!, {r6, r7, r8}") NW_I("asr r9, r8, #16") NW_I("lsl r10, r9, r8") NW_I("sub r0, r0, r3") \
  NW_I("sub r1, r1, r4") NW_I("sub r2, r2, r5") NW_I("asr r0, r0, #7") NW_I("smmlar r11, r0, r6, r10") \
  NW_I("add r0, r11, r0, asr #31") NW_I("asr r1, r1, #7") NW_I("smmlar r11, r1, r6, r10") \
  NW_I("add r1, r11, r1, asr #31") NW_I("asr r2, r2, #7") NW_I("smmlar r11, r2, r6, r10") \
  NW_I("add r2, r11, r2, asr #31") NW_I("asr r0, r0, r8") NW_I("ssat r0, #8, r0, asr #1") NW_I("asr r1, r1, r8") \
  NW_I("ssat r1, #8, r1, asr #1") NW_I("asr r2, r2, r8") NW_I("ssat r2, #8, r2, asr #1") NW_I("lsr r8, r8, #8") \
  NW_I("lsl r9, r9, r8") NW_I("lsl r3, r3, #1") NW_I("smmlar r11, r3, r7, r9") NW_I("add r3, r11, r3, asr #31") \
  NW_I("asr r3, r3, r8") NW_I("ssat r3, #8, r3, asr #1") NW_I("lsl r4, r4, #1") NW_I("smmlar r11, r4, r7, r9") \
  NW_I("add r4, r11, r4, asr #31") NW_I("asr r4, r4, r8") NW_I("ssat r4, #8, r4, asr #1") NW_I("lsl r5, r5, #1") \
  NW_I("smmlar r11, r5, r7, r9") NW_I("add r5, r11, r5, asr #31") NW_I("asr r5, r5, r8") \
  NW_I("ssat r5, #8, r5, asr #1")
#define NW_STORE_3 \
  NW_I("ldrd r12, r11, " NW_OUT) NW_I("bfi r0, r3, #8, #8") NW_I("bfi r1, r4, #8, #8") NW_I("bfi r2, r5, #8, #8") \
  NW_I("strh r1, [r12, r11]") NW_I("strh r2, [r12, r11, lsl #1]") NW_I("strh r0, [r12], #2") NW_I("str r12, " NW_OUT)
#define NW_STORE_PLANAR_3 \
  NW_I("ldrd r12, r11, " NW_OUT) NW_I("bfi r0, r1, #8, #8") NW_I("strh r0, [r12]") NW_I("strb r2, [r12, #2]") \
  NW_I("add r12, r12, r11") NW_I("bfi r3, r4, #8, #8") NW_I("strh r3, [r12]") NW_I("strb r5, [r12, #2]") \
  NW_I("add r12, r12, r11") NW_I("str r12, " NW_OUT)
#define NW_UNIT_3 \
  NW_I("ldm lr!, {r9, r10}") NW_I("ldm r12!, {r6, r7, r8}") NW_I("smlad r0, r6, r9, r0") NW_I("smlad r1, r7, r9, r1") \
  NW_I("smlad r2, r8, r9, r2") NW_I("sxtb16 r9, r9") NW_I("smlad r3, r6, r9, r3") NW_I("smlad r4, r7, r9, r4") \
  NW_I("smlad r5, r8, r9, r5") NW_I("ldm r12!, {r6, r7, r8}") NW_I("smlad r0, r6, r10, r0") \
  NW_I("smlad r1, r7, r10, r1") NW_I("smlad r2, r8, r10, r2") NW_I("sxtb16 r10, r10") NW_I("smlad r3, r6, r10, r3") \
  NW_I("smlad r4, r7, r10, r4") NW_I("smlad r5, r8, r10, r5")
/* Returns where the stream goes on. */
NW_SHARED const int32_t *nw_pass_3(const nw_pass *s) {
  register const void *r0 __asm__("r0") = s;
  __asm__ volatile(
    NW_PASS_BEGIN
    "10:\n\t" /* the first four depths add to the start values where they are */
    NW_I("ldm lr!, {r0, r3}") NW_I("ldrd r12, r11, " NW_TILE_AT) NW_I("ldm lr!, {r9, r10}")
    NW_I("ldm r12!, {r6, r7, r8}") NW_I("smlad r1, r7, r9, r0") NW_I("smlad r2, r8, r9, r0")
    NW_I("smlad r0, r6, r9, r0") NW_I("sxtb16 r9, r9") NW_I("smlad r4, r7, r9, r3") NW_I("smlad r5, r8, r9, r3")
    NW_I("smlad r3, r6, r9, r3") NW_I("ldm r12!, {r6, r7, r8}") NW_I("smlad r0, r6, r10, r0")
    NW_I("smlad r1, r7, r10, r1") NW_I("smlad r2, r8, r10, r2") NW_I("sxtb16 r10, r10") NW_I("smlad r3, r6, r10, r3")
    NW_I("smlad r4, r7, r10, r4") NW_I("smlad r5, r8, r10, r5") NW_I("ldr pc, " NW_ENTRY)
    "11:\n\t"
    NW_I("ldr r12, " NW_SUMS_IN) NW_I("ldm r12!, {r0, r1, r2, r3, r4, r5}") NW_I("str r12, " NW_SUMS_IN)
    NW_I("ldrd r12, r11, " NW_TILE_AT) NW_I("ldr pc, " NW_ENTRY) NW_I(".balign 4")
    "20:\n\t"
    NW_UNIT_3 NW_UNIT_3 NW_UNIT_3 NW_UNIT_3 NW_UNIT_3 NW_UNIT_3 NW_UNIT_3 NW_UNIT_3 
    NW_I("cmp r12, r11") NW_I("bne 20b") NW_I("ldr pc, " NW_FINISH)
    "31:\n\t"
    NW_I("ldr r12, " NW_SUMS_OUT) NW_I("stm r12!, {r0, r1, r2, r3, r4, r5}") NW_I("str r12, " NW_SUMS_OUT)
    NW_PASS_END
    "32:\n\t" NW_RELU_3 NW_STORE_3 NW_PASS_END
    "33:\n\t" NW_RELU_3 NW_STORE_PLANAR_3 NW_PASS_END
    "34:\n\t" NW_SIGNED_3 NW_STORE_3 NW_PASS_END
    "35:\n\t" NW_SIGNED_3 NW_STORE_PLANAR_3 NW_PASS_END
    NW_PASS_TABLE
    "60:\n\t"
    NW_I("mov r0, lr") NW_I("add sp, sp, #48") NW_I("pop {r4, r5, r6, r7, r8, r9, r10, r11, lr}")
    : "+r"(r0)
    :
    : NW_PASS_CLOBBERS);
  return (const int32_t *)r0;
}

/* ---- two pixels: a r0 r1, b r2 r3; stream lr, tile r12 ---- */
#define NW_RELU_2 \
  NW_I("ldm lr!, {r6, r7, r8}") NW_I("asr r9, r8, #16") NW_I("lsl r10, r9, r8") NW_I("sub r0, r0, r2") \
  NW_I("sub r1, r1, r3") NW_I("add r10, r10, #64") NW_I("smmla r0, r0, r6, r10") NW_I("smmla r1, r1, r6, r10") \
  NW_I("asr r0, r0, r8") NW_I("ssat r0, #8, r0, asr #1") NW_I("asr r1, r1, r8") NW_I("ssat r1, #8, r1, asr #1") \
  NW_I("lsr r8, r8, #8") NW_I("lsl r9, r9, r8") NW_I("lsl r2, r2, #1") NW_I("smmlar r2, r2, r7, r9") \
  NW_I("asr r2, r2, r8") NW_I("ssat r2, #8, r2, asr #1") NW_I("lsl r3, r3, #1") NW_I("smmlar r3, r3, r7, r9") \
  NW_I("asr r3, r3, r8") NW_I("ssat r3, #8, r3, asr #1")
#define NW_SIGNED_2 \
  NW_I("ldm lr!, {r6, r7, r8}") NW_I("asr r9, r8, #16") NW_I("lsl r10, r9, r8") NW_I("sub r0, r0, r2") \
  NW_I("sub r1, r1, r3") NW_I("asr r0, r0, #7") NW_I("smmlar r11, r0, r6, r10") NW_I("add r0, r11, r0, asr #31") \
  NW_I("asr r1, r1, #7") NW_I("smmlar r11, r1, r6, r10") NW_I("add r1, r11, r1, asr #31") NW_I("asr r0, r0, r8") \
  NW_I("ssat r0, #8, r0, asr #1") NW_I("asr r1, r1, r8") NW_I("ssat r1, #8, r1, asr #1") NW_I("lsr r8, r8, #8") \
  NW_I("lsl r9, r9, r8") NW_I("lsl r2, r2, #1") NW_I("smmlar r11, r2, r7, r9") NW_I("add r2, r11, r2, asr #31") \
  NW_I("asr r2, r2, r8") NW_I("ssat r2, #8, r2, asr #1") NW_I("lsl r3, r3, #1") NW_I("smmlar r11, r3, r7, r9") \
  NW_I("add r3, r11, r3, asr #31") NW_I("asr r3, r3, r8") NW_I("ssat r3, #8, r3, asr #1")
#define NW_STORE_2 \
  NW_I("ldrd r12, r11, " NW_OUT) NW_I("bfi r0, r2, #8, #8") NW_I("bfi r1, r3, #8, #8") NW_I("strh r1, [r12, r11]") \
  NW_I("strh r0, [r12], #2") NW_I("str r12, " NW_OUT)
#define NW_STORE_PLANAR_2 \
  NW_I("ldrd r12, r11, " NW_OUT) NW_I("bfi r0, r1, #8, #8") NW_I("strh r0, [r12]") NW_I("add r12, r12, r11") \
  NW_I("bfi r2, r3, #8, #8") NW_I("strh r2, [r12]") NW_I("add r12, r12, r11") NW_I("str r12, " NW_OUT)
#define NW_UNIT_2 \
  NW_I("ldm lr!, {r8, r9, r10, r11}") NW_I("ldm r12!, {r4, r5, r6, r7}") NW_I("smlad r0, r4, r8, r0") \
  NW_I("smlad r1, r5, r8, r1") NW_I("sxtb16 r8, r8") NW_I("smlad r2, r4, r8, r2") NW_I("smlad r3, r5, r8, r3") \
  NW_I("smlad r0, r6, r9, r0") NW_I("smlad r1, r7, r9, r1") NW_I("sxtb16 r9, r9") NW_I("smlad r2, r6, r9, r2") \
  NW_I("smlad r3, r7, r9, r3") NW_I("ldm r12!, {r4, r5, r6, r7}") NW_I("smlad r0, r4, r10, r0") \
  NW_I("smlad r1, r5, r10, r1") NW_I("sxtb16 r10, r10") NW_I("smlad r2, r4, r10, r2") NW_I("smlad r3, r5, r10, r3") \
  NW_I("smlad r0, r6, r11, r0") NW_I("smlad r1, r7, r11, r1") NW_I("sxtb16 r11, r11") NW_I("smlad r2, r6, r11, r2") \
  NW_I("smlad r3, r7, r11, r3")
#define NW_HALF_2 \
  NW_I("ldm lr!, {r8, r9}") NW_I("ldm r12!, {r4, r5, r6, r7}") NW_I("smlad r0, r4, r8, r0") \
  NW_I("smlad r1, r5, r8, r1") NW_I("sxtb16 r8, r8") NW_I("smlad r2, r4, r8, r2") NW_I("smlad r3, r5, r8, r3") \
  NW_I("smlad r0, r6, r9, r0") NW_I("smlad r1, r7, r9, r1") NW_I("sxtb16 r9, r9") NW_I("smlad r2, r6, r9, r2") \
  NW_I("smlad r3, r7, r9, r3")
/* Returns where the stream goes on. */
NW_SHARED const int32_t *nw_pass_2(const nw_pass *s) {
  register const void *r0 __asm__("r0") = s;
  __asm__ volatile(
    NW_PASS_BEGIN
    "10:\n\t"
    NW_I("ldm lr!, {r0, r2}") NW_I("ldr r12, " NW_TILE_AT) NW_I("mov r1, r0") NW_I("mov r3, r2")
    NW_I("ldr pc, " NW_ENTRY)
    "11:\n\t"
    NW_I("ldr r12, " NW_SUMS_IN) NW_I("ldm r12!, {r0, r1, r2, r3}") NW_I("str r12, " NW_SUMS_IN)
    NW_I("ldr r12, " NW_TILE_AT) NW_I("ldr pc, " NW_ENTRY) NW_I(".balign 4")
    NW_HALF_2 /* before label 20: what is left of a depth that is no multiple of 8 */
    NW_I("ldr pc, " NW_AGAIN) NW_I(".balign 4")
    "20:\n\t"
    NW_UNIT_2 NW_UNIT_2 NW_UNIT_2 NW_UNIT_2 
    NW_I("ldr r4, " NW_TILE_END) NW_I("cmp r12, r4") NW_I("bne 20b") NW_I("ldr pc, " NW_FINISH)
    "31:\n\t"
    NW_I("ldr r12, " NW_SUMS_OUT) NW_I("stm r12!, {r0, r1, r2, r3}") NW_I("str r12, " NW_SUMS_OUT)
    NW_PASS_END
    "32:\n\t" NW_RELU_2 NW_STORE_2 NW_PASS_END
    "33:\n\t" NW_RELU_2 NW_STORE_PLANAR_2 NW_PASS_END
    "34:\n\t" NW_SIGNED_2 NW_STORE_2 NW_PASS_END
    "35:\n\t" NW_SIGNED_2 NW_STORE_PLANAR_2 NW_PASS_END
    NW_PASS_TABLE
    "60:\n\t"
    NW_I("mov r0, lr") NW_I("add sp, sp, #48") NW_I("pop {r4, r5, r6, r7, r8, r9, r10, r11, lr}")
    : "+r"(r0)
    :
    : NW_PASS_CLOBBERS);
  return (const int32_t *)r0;
}

/* ---- one pixel: a r0, b r1; stream lr, tile r12 ---- */
#define NW_RELU_1 \
  NW_I("ldm lr!, {r6, r7, r8}") NW_I("asr r9, r8, #16") NW_I("lsl r10, r9, r8") NW_I("sub r0, r0, r1") \
  NW_I("add r10, r10, #64") NW_I("smmla r0, r0, r6, r10") NW_I("asr r0, r0, r8") NW_I("ssat r0, #8, r0, asr #1") \
  NW_I("lsr r8, r8, #8") NW_I("lsl r9, r9, r8") NW_I("lsl r1, r1, #1") NW_I("smmlar r1, r1, r7, r9") \
  NW_I("asr r1, r1, r8") NW_I("ssat r1, #8, r1, asr #1")
#define NW_SIGNED_1 \
  NW_I("ldm lr!, {r6, r7, r8}") NW_I("asr r9, r8, #16") NW_I("lsl r10, r9, r8") NW_I("sub r0, r0, r1") \
  NW_I("asr r0, r0, #7") NW_I("smmlar r11, r0, r6, r10") NW_I("add r0, r11, r0, asr #31") NW_I("asr r0, r0, r8") \
  NW_I("ssat r0, #8, r0, asr #1") NW_I("lsr r8, r8, #8") NW_I("lsl r9, r9, r8") NW_I("lsl r1, r1, #1") \
  NW_I("smmlar r11, r1, r7, r9") NW_I("add r1, r11, r1, asr #31") NW_I("asr r1, r1, r8") \
  NW_I("ssat r1, #8, r1, asr #1")
#define NW_STORE_1 \
  NW_I("ldrd r12, r11, " NW_OUT) NW_I("bfi r0, r1, #8, #8") NW_I("strh r0, [r12], #2") NW_I("str r12, " NW_OUT)
#define NW_STORE_PLANAR_1 \
  NW_I("ldrd r12, r11, " NW_OUT) NW_I("strb r0, [r12]") NW_I("add r12, r12, r11") NW_I("strb r1, [r12]") \
  NW_I("add r12, r12, r11") NW_I("str r12, " NW_OUT)
#define NW_UNIT_1 \
  NW_I("ldm lr!, {r4, r5, r6, r7}") NW_I("ldm r12!, {r8, r9, r10, r11}") NW_I("smlad r0, r8, r4, r0") \
  NW_I("sxtb16 r4, r4") NW_I("smlad r1, r8, r4, r1") NW_I("smlad r0, r9, r5, r0") NW_I("sxtb16 r5, r5") \
  NW_I("smlad r1, r9, r5, r1") NW_I("smlad r0, r10, r6, r0") NW_I("sxtb16 r6, r6") NW_I("smlad r1, r10, r6, r1") \
  NW_I("smlad r0, r11, r7, r0") NW_I("sxtb16 r7, r7") NW_I("smlad r1, r11, r7, r1")
#define NW_HALF_1 \
  NW_I("ldm lr!, {r4, r5}") NW_I("ldm r12!, {r8, r9}") NW_I("smlad r0, r8, r4, r0") NW_I("sxtb16 r4, r4") \
  NW_I("smlad r1, r8, r4, r1") NW_I("smlad r0, r9, r5, r0") NW_I("sxtb16 r5, r5") NW_I("smlad r1, r9, r5, r1")
/* Returns where the stream goes on. */
NW_SHARED const int32_t *nw_pass_1(const nw_pass *s) {
  register const void *r0 __asm__("r0") = s;
  __asm__ volatile(
    NW_PASS_BEGIN
    "10:\n\t"
    NW_I("ldm lr!, {r0, r1}") NW_I("ldr r12, " NW_TILE_AT) NW_I("ldr pc, " NW_ENTRY)
    "11:\n\t"
    NW_I("ldr r12, " NW_SUMS_IN) NW_I("ldm r12!, {r0, r1}") NW_I("str r12, " NW_SUMS_IN) NW_I("ldr r12, " NW_TILE_AT)
    NW_I("ldr pc, " NW_ENTRY) NW_I(".balign 4")
    NW_HALF_1 /* before label 20: what is left of a depth that is no multiple of 8 */
    NW_I("ldr pc, " NW_AGAIN) NW_I(".balign 4")
    "20:\n\t"
    NW_UNIT_1 NW_UNIT_1 NW_UNIT_1 NW_UNIT_1 
    NW_I("ldr r4, " NW_TILE_END) NW_I("cmp r12, r4") NW_I("bne 20b") NW_I("ldr pc, " NW_FINISH)
    "31:\n\t"
    NW_I("ldr r12, " NW_SUMS_OUT) NW_I("stm r12!, {r0, r1}") NW_I("str r12, " NW_SUMS_OUT)
    NW_PASS_END
    "32:\n\t" NW_RELU_1 NW_STORE_1 NW_PASS_END
    "33:\n\t" NW_RELU_1 NW_STORE_PLANAR_1 NW_PASS_END
    "34:\n\t" NW_SIGNED_1 NW_STORE_1 NW_PASS_END
    "35:\n\t" NW_SIGNED_1 NW_STORE_PLANAR_1 NW_PASS_END
    NW_PASS_TABLE
    "60:\n\t"
    NW_I("mov r0, lr") NW_I("add sp, sp, #48") NW_I("pop {r4, r5, r6, r7, r8, r9, r10, r11, lr}")
    : "+r"(r0)
    :
    : NW_PASS_CLOBBERS);
  return (const int32_t *)r0;
}

/* As nw_chunk_plain. */
NW_INLINE const int32_t *nw_chunk_dsp(const nw_matrix *m, nw_pass *s, const int32_t *stream, int16_t *tile, int32_t depth,
                                      int32_t channel, int32_t channels, int32_t *sums, int32_t first, int32_t last,
                                      int32_t pixels, nw_target to) {
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
