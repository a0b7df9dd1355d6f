/* Runs every input of the file input.bin through the network; writes the outputs to output.bin and, for each run, a record
 * of three uint32 to runs.bin: clock ticks modulo 2^32 - 1, hundredths of a second, bytes of stack. Two records before those say what a tick is: of a function of one
 * instruction, and of one of KNOWN_INSTRUCTIONS.
 *
 * Compiled with -DCLOCK_BASE=address of the board's FPGAIO block. Under QEMU's -icount every instruction takes the same
 * virtual time, so that block's prescale counter counts instructions; unlike SysTick it needs no interrupt, which would
 * show up in the stack. */
#include "net.h"
#include "semihost.h"

#define CLOCK_SLOW (*(volatile uint32_t *)(CLOCK_BASE + 0x14u))   /* CLK100HZ */
#define CLOCK_RELOAD (*(volatile uint32_t *)(CLOCK_BASE + 0x1Cu)) /* PRESCALE */
#define CLOCK_VALUE (*(volatile uint32_t *)(CLOCK_BASE + 0x20u))  /* PSCNTR, which counts down */
#define CLOCK_FULL 0xFFFFFFFEu
#define PAINT 0xA5A5A5A5u
#define KNOWN_LOOPS 500000u /* of two instructions: KNOWN_INSTRUCTIONS is two more than 1,000,000 */
#define OPEN(name, mode) semihost_open(name, sizeof(name) - 1u, mode)

extern uint32_t stack_bottom[];
static int8_t output[NET_OUTPUT_BYTES];

typedef void (*Invoke)(const int8_t *, int8_t *);

/* Ends the region that the profiler counts, which begins where net_invoke does. */
__attribute__((noinline)) void measure_end(void) { __asm__ volatile("" ::: "memory"); }

__attribute__((noinline)) static void nothing(const int8_t *input, int8_t *result) {
  __asm__ volatile("" : : "r"(input), "r"(result) : "memory");
}

__attribute__((noinline)) static void known(const int8_t *input, int8_t *result) {
  uint32_t left = KNOWN_LOOPS;
  (void)input, (void)result;
  __asm__ volatile("1: subs %0, %0, #1\n\tbne 1b" : "+r"(left) : : "cc");
}

static inline uint32_t *stack_pointer(void) {
  uint32_t *top;
  __asm__ volatile("mov %0, sp" : "=r"(top));
  return top;
}

/* Paints the free stack, calls, and counts the words that lost their paint. Its own frame lies above `top`. */
__attribute__((noinline)) static void measure(Invoke invoke, const int8_t *input, uint32_t record[3]) {
  uint32_t *const top = stack_pointer();
  for (uint32_t *p = stack_bottom; p < top; p++) {
    *(volatile uint32_t *)p = PAINT;
  }
  const uint32_t slow_before = CLOCK_SLOW;
  CLOCK_VALUE = CLOCK_FULL;
  const uint32_t before = CLOCK_VALUE;
  invoke(input, output);
  measure_end();
  record[0] = before - CLOCK_VALUE;
  record[1] = CLOCK_SLOW - slow_before;
  uint32_t *deepest = stack_bottom;
  while (deepest < top && *deepest == PAINT) {
    deepest++;
  }
  record[2] = (uint32_t)((const char *)top - (const char *)deepest);
}

int main(void) {
  const int32_t in = OPEN("input.bin", 1), out = OPEN("output.bin", 5), runs = OPEN("runs.bin", 5);
  if (in < 0 || out < 0 || runs < 0) {
    return 2;
  }
  CLOCK_RELOAD = CLOCK_FULL;
  uint32_t record[3];
  const Invoke first[2] = {nothing, known};
  for (uint32_t i = 0; i < 2; i++) {
    measure(first[i], output, record);
    if (semihost_write(runs, record, sizeof record) != 0) {
      return 2;
    }
  }
  static int8_t apart[NET_INPUT_BYTES];
  int8_t *const input = net_input() != 0 ? net_input() : apart;
  while (semihost_read(in, input, NET_INPUT_BYTES) == 0) {
    measure(net_invoke, input, record);
    if (semihost_write(out, output, NET_OUTPUT_BYTES) != 0 || semihost_write(runs, record, sizeof record) != 0) {
      return 2;
    }
  }
  return semihost_close(out) != 0 || semihost_close(runs) != 0 ? 2 : 0;
}
