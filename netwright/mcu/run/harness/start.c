/* Start of a program on a bare Cortex-M: vectors, coprocessors, memory, then main. Ends the emulation with main's status,
 * with 3 after a fault. */
#include "semihost.h"

extern uint32_t stack_top[], data_load[], data_start[], data_end[], bss_start[], bss_end[];
extern int main(void);
void reset_handler(void);

static void fault_handler(void) { semihost_exit(3); }

typedef void (*Handler)(void);
__attribute__((section(".vectors"), used)) static const struct {
  uint32_t *stack;
  Handler handlers[15];
} vectors = {stack_top,
             {reset_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler,
              fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler,
              fault_handler}};

void reset_handler(void) {
  *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: the floating-point unit, which also holds Helium */
  __asm__ volatile("dsb\n\tisb" ::: "memory");
  for (uint32_t *from = data_load, *to = data_start; to < data_end;) {
    *to++ = *from++;
  }
  for (uint32_t *to = bss_start; to < bss_end;) {
    *to++ = 0;
  }
  semihost_exit((uint32_t)main());
}
