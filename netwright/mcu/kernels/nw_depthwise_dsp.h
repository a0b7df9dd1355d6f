/* nw_depthwise.h's lines for cores with the DSP extension (Cortex-M4, M7, M33): the same bits.
 *
 * A word of a line, four values, is unpacked once into pairs of 16 bits, (x0, x2) and (x1, x3), which SMLAD multiplies
 * with pairs of weights, (k0, k2) and (k1, k3), for two (3x3) or four outputs beside each other; pairs between two
 * words are put together with PKHBT, in exchanged order, which SMLADX takes. Weights and bias are doubled, so that sums
 * are what nw_high wants. Outputs come in groups: `line` bytes of a line may be read, whatever lies behind the row. */
#ifndef NW_DEPTHWISE_DSP_H
#define NW_DEPTHWISE_DSP_H
#include "nw_requant.h"
#if NW_DSP

/* Some rows of one channel, and what they are computed from. The code copies the first sixteen words to its stack. */
typedef struct {
  int32_t bias, multiplier, constant;
  int32_t shift, step;         /* step: bytes from one output to the next */
  const int8_t *end;           /* made there: 3x3: lines[0] after the last whole pair of outputs */
  int32_t left;                /* 3x3: outputs after that, 0 or 1; else those of the row that are still to come */
  int32_t rows;                /* output rows */
  int32_t next_line, next_out; /* from the end of a row to the next (3x3), from row to row (others) */
  int32_t taken;               /* 3x3: bytes of lines[0] that whole pairs take; else outputs of a row */
  const int32_t *table;        /* others: for each kernel row, pairs of weights (the last one's upper half 1 in the last
                                * row, else 0) and the distance from the line before */
  const int8_t *row;           /* others: where the row begins in the first line */
  int8_t *row_out;             /* others: where it begins in out */
  const int8_t *line;          /* others: where the row has got to */
  int8_t *row_at;              /* others: where out has got to */
  int32_t weights[3];          /* 3x3: (k0, k2) of each row, */
  int32_t middle[2];           /* k1 of the first and second row, of the third */
  const int8_t *lines[3];      /* 3x3: under the kernel, for the first output row */
  int8_t *out;
  int32_t start;               /* bias */
} nw_strip;
#define NW_BIAS "[sp]"
#define NW_MULTIPLIER "[sp, #4]" /* and the constant behind it */
#define NW_CONSTANT "[sp, #8]"
#define NW_SHIFT "[sp, #12]" /* and the step behind it */
#define NW_END "[sp, #20]"
#define NW_LEFT "[sp, #24]"
#define NW_ROWS "[sp, #28]"
#define NW_NEXT "[sp, #32]" /* of the line, and of out behind it */
#define NW_TAKEN "[sp, #40]"
#define NW_TABLE "[sp, #44]"
#define NW_ROW "[sp, #48]"
#define NW_ROW_OUT "[sp, #52]"
#define NW_LINE "[sp, #56]"
#define NW_ROW_AT "[sp, #60]"
/* Takes the first sixteen words that r0 points to to the stack, through r1-r8; r0 stays. */
#define NW_TO_STACK(from) \
  NW_I("ldm " from ", {r1, r2, r3, r4, r5, r6, r7, r8}") NW_I("push {r1, r2, r3, r4, r5, r6, r7, r8}")
#define NW_STRIP_BEGIN \
  NW_I("push {r4, r5, r6, r7, r8, r9, r10, r11, lr}") NW_I("add r12, r0, #32") NW_TO_STACK("r12") NW_TO_STACK("r0")
#define NW_STRIP_END NW_I("add sp, sp, #64") NW_I("pop {r4, r5, r6, r7, r8, r9, r10, r11, lr}")
/* A function of a strip, which goes to label 5 after the last row. */
#define NW_STRIP(name, code) \
  NW_SHARED void name(const nw_strip *l) { \
    register const void *r0 __asm__("r0") = l; \
    __asm__ volatile(NW_STRIP_BEGIN code "5:\n\t" NW_STRIP_END \
                     : "+r"(r0) : : "r1", "r2", "r3", "r12", "cc", "memory"); \
  }
/* Goes on to the next output row, r7 and r8 the distances to it, or to label 5 after the last one. */
#define NW_NEXT_ROW \
  NW_I("ldr r7, " NW_ROWS) NW_I("subs r7, r7, #1") NW_I("str r7, " NW_ROWS) NW_I("beq 5f") NW_I("ldrd r7, r8, " NW_NEXT)

/* sum += products of two pairs; _X: of an exchanged pair; _BB, _TB: of its lower, upper half and the weights' lower. */
#define NW_MAC(sum, pair, weights) NW_I("smlad " sum ", " pair ", " weights ", " sum)
#define NW_MAC_X(sum, pair, weights) NW_I("smladx " sum ", " pair ", " weights ", " sum)
#define NW_MAC_BB(sum, pair, weights) NW_I("smlabb " sum ", " pair ", " weights ", " sum)
#define NW_MAC_TB(sum, pair, weights) NW_I("smlatb " sum ", " pair ", " weights ", " sum)
/* A word in `even`, (x0, x1, x2, x3), becomes (x0, x2), and `odd` (x1, x3). */
#define NW_UNPACK(even, odd) NW_I("sxtb16 " odd ", " even ", ror #8") NW_I("sxtb16 " even ", " even)
/* Keeps pair's upper half and takes the lower one of `next`, which lies a word on: (x2, x4) in exchanged order. */
#define NW_CROSS(pair, next) NW_I("pkhbt " pair ", " next ", " pair)
/* sum: shifted and clamped. */
#define NW_CLAMP(sum, shift) NW_I("asr " sum ", " sum ", " shift) NW_I("ssat " sum ", #8, " sum ", asr #1")

/* ---- 3x3 ----
 *
 *   r0 r1   sums            r9-r11  the three lines
 *   r2-r4   (k0, k2)        r12     out
 *   r5 r6   k1              lr      stride 1: bias; stride 2: scratch
 *   r7 r8   pairs (x0, x2) and (x1, x3); multiplier and rounding; shift and step */
#define NW_LOAD(line, step) NW_I("ldr r7, [" line "]" step) NW_UNPACK("r7", "r8")
#define NW_FIRST(pair, middle, half, sum) \
  NW_I("smlad r0, r7, " pair ", " sum) NW_I("smlab" half " r0, r8, " middle ", r0")
/* Stride 1: the second output lies one value on, so that (x1, x3) and x2 are its operands. */
#define NW_TWO_1(line, pair, middle, half, sum0, sum1) \
  NW_LOAD(line, ", #2") NW_FIRST(pair, middle, half, sum0) \
  NW_I("smlad r1, r8, " pair ", " sum1) NW_I("smlat" half " r1, r7, " middle ", r1")
/* Stride 2: two on, (x2, x4) and x3. */
#define NW_TWO_2(line, pair, middle, half) \
  NW_LOAD(line, ", #4") NW_I("ldrsb lr, [" line "]") NW_FIRST(pair, middle, half, "r0") \
  NW_CROSS("r7", "lr") NW_MAC_X("r1", "r7", pair) NW_I("smlat" half " r1, r8, " middle ", r1")
#define NW_ONE(line, pair, middle, half) NW_LOAD(line, "") NW_FIRST(pair, middle, half, "r0")
#define NW_LINES(each) each("r9", "r2", "r5", "b") each("r10", "r3", "r5", "t") each("r11", "r4", "r6", "b")
#define NW_WINDOWS_1 \
  NW_TWO_1("r9", "r2", "r5", "b", "lr", "lr") NW_TWO_1("r10", "r3", "r5", "t", "r0", "r1") \
  NW_TWO_1("r11", "r4", "r6", "b", "r0", "r1")
#define NW_WINDOWS_2 NW_I("ldr r0, " NW_BIAS) NW_I("mov r1, r0") NW_LINES(NW_TWO_2)
#define NW_WINDOW NW_I("ldr r0, " NW_BIAS) NW_LINES(NW_ONE)
/* Products' high words, r7 the multiplier, r8 the rounding: with the sign of what is rounded (which r8 takes up), or
 * where the clamp makes it irrelevant. */
#define NW_MULTIPLY(sum) NW_I("smmlar " sum ", " sum ", r7, r8")
#define NW_MULTIPLY_SIGNED(sum) NW_I("add r8, r8, " sum ", asr #31") NW_MULTIPLY(sum)
#define NW_HIGH_1 NW_I("ldrd r7, r8, " NW_MULTIPLIER) NW_MULTIPLY("r0")
#define NW_HIGH_2 NW_HIGH_1 NW_MULTIPLY("r1")
#define NW_HIGH_SIGNED_1 NW_I("ldrd r7, r8, " NW_MULTIPLIER) NW_MULTIPLY_SIGNED("r0")
#define NW_HIGH_SIGNED_2 NW_HIGH_SIGNED_1 NW_I("ldr r8, " NW_CONSTANT) NW_MULTIPLY_SIGNED("r1")
/* Bytes r0 and r1 with shift r7; r8 the step. */
#define NW_SHIFT_1 NW_I("ldrd r7, r8, " NW_SHIFT) NW_CLAMP("r0", "r7")
#define NW_SHIFT_2 NW_SHIFT_1 NW_CLAMP("r1", "r7")

/* Pairs of outputs from label 1, a single one that is left over from label 2, the next row from label 3. */
#define NW_3X3(name, windows, high_2, high_1) \
  NW_STRIP(name, \
           NW_I("add r0, r0, #64") NW_I("ldm r0, {r2, r3, r4, r5, r6, r9, r10, r11, r12, lr}") \
           "4:\n\t" NW_I("ldr r7, " NW_TAKEN) NW_I("add r7, r7, r9") NW_I("str r7, " NW_END) NW_I("cmp r9, r7") \
           NW_I("beq 2f") \
           "1:\n\t" windows high_2 NW_SHIFT_2 NW_I("strb r0, [r12]") NW_I("strb r1, [r12, r8]") \
           NW_I("add r12, r12, r8, lsl #1") NW_I("ldr r7, " NW_END) NW_I("cmp r9, r7") NW_I("bne 1b") \
           "2:\n\t" NW_I("ldr r7, " NW_LEFT) NW_I("cmp r7, #0") NW_I("beq 3f") \
           NW_WINDOW high_1 NW_SHIFT_1 NW_I("strb r0, [r12]") \
           "3:\n\t" NW_NEXT_ROW NW_I("add r9, r9, r7") NW_I("add r10, r10, r7") NW_I("add r11, r11, r7") \
           NW_I("add r12, r12, r8") NW_I("b 4b"))
NW_3X3(nw_depthwise_3x3_1, NW_WINDOWS_1, NW_HIGH_2, NW_HIGH_1)
NW_3X3(nw_depthwise_3x3_1_signed, NW_WINDOWS_1, NW_HIGH_SIGNED_2, NW_HIGH_SIGNED_1)
NW_3X3(nw_depthwise_3x3_2, NW_WINDOWS_2, NW_HIGH_2, NW_HIGH_1)
NW_3X3(nw_depthwise_3x3_2_signed, NW_WINDOWS_2, NW_HIGH_SIGNED_2, NW_HIGH_SIGNED_1)

/* ---- up to 5 or 7 columns, any rows ----
 *
 *              5 columns                    7 columns
 *   r0-r3      sums                         sums
 *   weights    (k0, k2) r4, (k1, k3) r5,    (k0, k2) r4, (k1, k3) r5,
 *              k4 r6                        (k4, k6) r6, k5 r7
 *   pairs      r7-r10                       r8-r11
 *   r12, lr    table, line; at the end out  the same
 *
 * At the end: multiplier and rounding r4 r5, shift and step r6 r7 (r6 scratch before), outputs left r8. */
/* Eight values unpacked: even e0 (x0, x2), odd o0 (x1, x3), e1 (x4, x6), o1 (x5, x7). */
#define NW_EIGHT(e0, o0, e1, o1) \
  NW_I("ldr " e0 ", [lr]") NW_I("ldr " e1 ", [lr, #4]") NW_UNPACK(e0, o0) NW_UNPACK(e1, o1)

/* 5 columns. A kernel row's weights; r7 the distance from the line before. */
#define NW_ROW_5 NW_I("ldm r12!, {r4, r5, r6, r7}") NW_I("add lr, lr, r7")
/* Flags, and k4 gone: was it the last kernel row? */
#define NW_LAST_5 NW_I("lsrs r6, r6, #16")
/* An output at the beginning of a word, (x0, x2), (x1, x3) and x4, */
#define NW_SUM_5(sum, e0, o0, e1) NW_MAC(sum, e0, "r4") NW_MAC(sum, o0, "r5") NW_MAC_BB(sum, e1, "r6")
/* and one two on: (x2, x4) in e0, (x3, x5) in o0, and x6. */
#define NW_SUM_CROSSED_5(sum, e0, o0, e1, o1) \
  NW_CROSS(e0, e1) NW_MAC_X(sum, e0, "r4") NW_CROSS(o0, o1) NW_MAC_X(sum, o0, "r5") NW_MAC_TB(sum, e1, "r6")
#define NW_ONE_5 \
  NW_I("ldr r7, [lr]") NW_I("ldrsb r9, [lr, #4]") NW_UNPACK("r7", "r8") NW_SUM_5("r0", "r7", "r8", "r9")
#define NW_FOUR_5_1 \
  NW_EIGHT("r7", "r8", "r9", "r10") NW_SUM_5("r0", "r7", "r8", "r9") \
  NW_MAC("r1", "r8", "r4") NW_CROSS("r7", "r9") NW_MAC_X("r1", "r7", "r5") NW_MAC_BB("r1", "r10", "r6") \
  NW_MAC_X("r2", "r7", "r4") NW_CROSS("r8", "r10") NW_MAC_X("r2", "r8", "r5") NW_MAC_TB("r2", "r9", "r6") \
  NW_MAC_X("r3", "r8", "r4") NW_MAC("r3", "r9", "r5") NW_MAC_TB("r3", "r10", "r6")
#define NW_FOUR_5_2 \
  NW_EIGHT("r7", "r8", "r9", "r10") NW_SUM_5("r0", "r7", "r8", "r9") NW_SUM_CROSSED_5("r1", "r7", "r8", "r9", "r10") \
  NW_I("ldr r7, [lr, #8]") NW_UNPACK("r7", "r8") \
  NW_SUM_5("r2", "r9", "r10", "r7") NW_SUM_CROSSED_5("r3", "r9", "r10", "r7", "r8")

/* 7 columns. A kernel row's weights; r8 the distance from the line before. */
#define NW_ROW_7 NW_I("ldm r12!, {r4, r5, r6, r7, r8}") NW_I("add lr, lr, r8")
/* Flags, and k5 gone: was it the last kernel row? */
#define NW_LAST_7 NW_I("lsrs r7, r7, #16")
/* The first output. */
#define NW_ONE_7 \
  NW_EIGHT("r8", "r9", "r10", "r11") \
  NW_MAC("r0", "r8", "r4") NW_MAC("r0", "r9", "r5") NW_MAC("r0", "r10", "r6") NW_MAC_BB("r0", "r11", "r7")
/* All four; each register takes a pair further on as soon as its own has been used. From the load on, r8 and r9 hold
 * (x9, x11) and (x8, x10) with stride 1, the other way round with stride 2. */
#define NW_FOUR_7_1 \
  NW_ONE_7 \
  NW_MAC("r1", "r9", "r4") NW_CROSS("r8", "r10") NW_MAC_X("r1", "r8", "r5") NW_MAC("r1", "r11", "r6") \
  NW_MAC_TB("r1", "r10", "r7") NW_MAC_X("r2", "r8", "r4") NW_CROSS("r9", "r11") NW_MAC_X("r2", "r9", "r5") \
  NW_MAC_X("r3", "r9", "r4") NW_MAC("r3", "r10", "r5") \
  NW_I("ldr r8, [lr, #8]") NW_I("sxtb16 r9, r8") NW_I("sxtb16 r8, r8, ror #8") \
  NW_CROSS("r10", "r9") NW_MAC_X("r2", "r10", "r6") NW_MAC_TB("r2", "r11", "r7") \
  NW_CROSS("r11", "r8") NW_MAC_X("r3", "r11", "r6") NW_MAC_BB("r3", "r9", "r7")
#define NW_FOUR_7_2 \
  NW_ONE_7 \
  NW_CROSS("r8", "r10") NW_MAC_X("r1", "r8", "r4") NW_CROSS("r9", "r11") NW_MAC_X("r1", "r9", "r5") \
  NW_MAC_TB("r1", "r11", "r7") NW_MAC("r2", "r10", "r4") NW_MAC("r2", "r11", "r5") \
  NW_I("ldr r8, [lr, #8]") NW_UNPACK("r8", "r9") NW_CROSS("r10", "r8") NW_MAC_X("r1", "r10", "r6") \
  NW_MAC_X("r3", "r10", "r4") NW_MAC("r2", "r8", "r6") NW_MAC_BB("r2", "r9", "r7") NW_CROSS("r11", "r9") \
  NW_MAC_X("r3", "r11", "r5") NW_I("ldrsb r10, [lr, #12]") NW_I("pkhbt r10, r10, r8") NW_MAC_X("r3", "r10", "r6") \
  NW_MAC_TB("r3", "r9", "r7")

/* Line lr, table r12, the first sum r0. */
#define NW_SUMS_BEGIN NW_I("ldr lr, " NW_LINE) NW_I("ldr r0, " NW_BIAS) NW_I("ldr r12, " NW_TABLE)
/* Sums to bytes where they are. */
#define NW_SCALE(sum) NW_I("smmlar r6, " sum ", r4, r5") NW_I("add " sum ", r6, " sum ", asr #31")
#define NW_REQUANTIZE_4 \
  NW_I("ldrd r4, r5, " NW_MULTIPLIER) NW_SCALE("r0") NW_SCALE("r1") NW_SCALE("r2") NW_SCALE("r3") \
  NW_I("ldrd r6, r7, " NW_SHIFT) NW_CLAMP("r0", "r6") NW_CLAMP("r1", "r6") NW_CLAMP("r2", "r6") NW_CLAMP("r3", "r6")
#define NW_REQUANTIZE_1 \
  NW_I("ldrd r4, r5, " NW_MULTIPLIER) NW_SCALE("r0") NW_I("ldr r6, " NW_SHIFT) NW_CLAMP("r0", "r6")
/* Two bytes to out, r12, which goes on behind them; r7 the step. */
#define NW_STORE_2_ON(x, y) \
  NW_I("strb " x ", [r12]") NW_I("strb " y ", [r12, r7]") NW_I("add r12, r12, r7, lsl #1")
#define NW_STORE_4 NW_STORE_2_ON("r0", "r1") NW_STORE_2_ON("r2", "r3")
/* The first one, two or three of them, r8 the number less four, and on to label 4. */
#define NW_STORE_SOME \
  NW_I("strb r0, [r12]") NW_I("cmp r8, #-3") NW_I("beq 4f") \
  NW_I("strb r1, [r12, r7]") NW_I("cmp r8, #-2") NW_I("beq 4f") NW_I("strb r2, [r12, r7, lsl #1]")

/* Four outputs at a time from label 1, kernel rows from 2 (7), a single output that is left over from label 6; two or
 * three are four, cut short from 3; the next row from 4. */
#define NW_WIDE(name, row, four, one, last, advance) \
  NW_STRIP(name, \
           "1:\n\t" NW_SUMS_BEGIN NW_I("add r4, lr, #" advance) NW_I("str r4, " NW_LINE) \
           NW_I("mov r1, r0") NW_I("mov r2, r0") NW_I("mov r3, r0") \
           "2:\n\t" row four last NW_I("beq 2b") \
           NW_REQUANTIZE_4 NW_I("ldr r12, " NW_ROW_AT) NW_I("ldr r8, " NW_LEFT) NW_I("subs r8, r8, #4") NW_I("blt 3f") \
           NW_STORE_4 NW_I("str r12, " NW_ROW_AT) NW_I("str r8, " NW_LEFT) NW_I("cmp r8, #1") NW_I("bgt 1b") \
           NW_I("blt 4f") \
           "6:\n\t" NW_SUMS_BEGIN \
           "7:\n\t" row one last NW_I("beq 7b") \
           NW_REQUANTIZE_1 NW_I("ldr r12, " NW_ROW_AT) NW_I("strb r0, [r12]") NW_I("b 4f") \
           "3:\n\t" NW_STORE_SOME \
           "4:\n\t" NW_NEXT_ROW NW_I("ldr r4, " NW_ROW) NW_I("add r4, r4, r7") NW_I("str r4, " NW_ROW) \
           NW_I("str r4, " NW_LINE) NW_I("ldr r5, " NW_ROW_OUT) NW_I("add r5, r5, r8") NW_I("str r5, " NW_ROW_OUT) \
           NW_I("str r5, " NW_ROW_AT) NW_I("ldr r6, " NW_TAKEN) NW_I("str r6, " NW_LEFT) NW_I("b 1b"))
NW_WIDE(nw_depthwise_5_1, NW_ROW_5, NW_FOUR_5_1, NW_ONE_5, NW_LAST_5, "4")
NW_WIDE(nw_depthwise_5_2, NW_ROW_5, NW_FOUR_5_2, NW_ONE_5, NW_LAST_5, "8")
NW_WIDE(nw_depthwise_7_1, NW_ROW_7, NW_FOUR_7_1, NW_ONE_7, NW_LAST_7, "4")
NW_WIDE(nw_depthwise_7_2, NW_ROW_7, NW_FOUR_7_2, NW_ONE_7, NW_LAST_7, "8")
#endif
#endif
