/* Files of the emulator's host, from code without an operating system: ARM semihosting for M-profile cores (BKPT 0xAB).
 * Source: "Semihosting for AArch32 and AArch64", Arm IHI 0126. */
#ifndef SEMIHOST_H
#define SEMIHOST_H
#include <stdint.h>

static inline int32_t semihost_call(int32_t operation, const void *arguments) {
  register int32_t r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = arguments;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

/* Opens a file (mode 1: to read, 5: to write); returns its handle, -1 where it cannot. */
static inline int32_t semihost_open(const char *path, uint32_t length, uint32_t mode) {
  const uint32_t arguments[3] = {(uint32_t)(uintptr_t)path, mode, length};
  return semihost_call(0x01, arguments);
}

/* Writes or reads `bytes`; returns how many were left over. */
static inline int32_t semihost_write(int32_t file, const void *from, uint32_t bytes) {
  const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)(uintptr_t)from, bytes};
  return semihost_call(0x05, arguments);
}
static inline int32_t semihost_read(int32_t file, void *to, uint32_t bytes) {
  const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)(uintptr_t)to, bytes};
  return semihost_call(0x06, arguments);
}

static inline int32_t semihost_close(int32_t file) {
  const uint32_t arguments[1] = {(uint32_t)file};
  return semihost_call(0x02, arguments);
}

static inline void semihost_exit(uint32_t status) {
  const uint32_t arguments[2] = {0x20026u /* the application ended */, status};
  (void)semihost_call(0x20, arguments);
  for (;;) {
  }
}
#endif
