/* QEMU plugin (TCG plugins, API 1 or 2: PLUGIN_API): counts executed instructions by address and by the step of the network that runs.
 *
 * Arguments: begin=, end=: addresses; counting starts when begin is executed and stops at end, and only the first such
 * region counts. low=, high=: the addresses counted. steps=FILE: lines "address step" (hexadecimal, decimal): an instruction
 * there makes its step the current one, which instructions without a step, those of shared functions, are counted to.
 * out=FILE: receives lines "step address count". What is needed of qemu-plugin.h is declared here; Debian does not ship it. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);

#define EXPORTED __attribute__((visibility("default")))
EXPORTED int qemu_plugin_version = PLUGIN_API;

static uint64_t begin, end, low, high;
static const char *out_name;
static size_t places, steps = 1, step;
static int32_t *step_at;  /* of each place, -1: none */
static uint64_t *counts;  /* [steps][places] */
static enum { WAITING, COUNTING, DONE } state;

static void at_begin(unsigned cpu, void *unused) {
  (void)cpu, (void)unused;
  state = state == WAITING ? COUNTING : state;
}
static void at_end(unsigned cpu, void *unused) {
  (void)cpu, (void)unused;
  state = state == COUNTING ? DONE : state;
}
static void at_instruction(unsigned cpu, void *place_) {
  const size_t place = (size_t)(uintptr_t)place_;
  (void)cpu;
  if (state == COUNTING) {
    step = step_at[place] >= 0 ? (size_t)step_at[place] : step;
    counts[step * places + place]++;
  }
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
  (void)id;
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
    struct qemu_plugin_insn *one = qemu_plugin_tb_get_insn(block, i);
    const uint64_t address = qemu_plugin_insn_vaddr(one);
    if (address == begin) {
      qemu_plugin_register_vcpu_insn_exec_cb(one, at_begin, 0, NULL);
    } else if (address == end) {
      qemu_plugin_register_vcpu_insn_exec_cb(one, at_end, 0, NULL);
    }
    if (low <= address && address < high) {
      qemu_plugin_register_vcpu_insn_exec_cb(one, at_instruction, 0, (void *)(uintptr_t)((address - low) / 2));
    }
  }
}

static void finished(qemu_plugin_id_t id, void *unused) {
  (void)id, (void)unused;
  FILE *out = fopen(out_name, "w");
  if (out == NULL) {
    return;
  }
  for (size_t i = 0; i < steps * places; i++) {
    if (counts[i] != 0) {
      fprintf(out, "%zu %" PRIx64 " %" PRIu64 "\n", i / places, low + 2 * (i % places), counts[i]);
    }
  }
  fclose(out);
}

static int read_steps(const char *name) {
  FILE *in = fopen(name, "r");
  uint64_t address;
  int32_t one;
  if (in == NULL) {
    return -1;
  }
  while (fscanf(in, "%" SCNx64 " %" SCNd32, &address, &one) == 2) {
    if (address < low || address >= high || one < 0) {
      fclose(in);
      return -1;
    }
    step_at[(address - low) / 2] = one;
    steps = (size_t)one + 1 > steps ? (size_t)one + 1 : steps;
  }
  fclose(in);
  return 0;
}

EXPORTED int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int count, char **arguments) {
  const char *steps_name = NULL;
  const struct {
    const char *name;
    uint64_t *number;
  } numbers[] = {{"begin=", &begin}, {"end=", &end}, {"low=", &low}, {"high=", &high}};
  const struct {
    const char *name;
    const char **text;
  } texts[] = {{"steps=", &steps_name}, {"out=", &out_name}};
  (void)info;
  for (int i = 0; i < count; i++) {
    for (size_t j = 0; j < sizeof numbers / sizeof *numbers; j++) {
      if (strncmp(arguments[i], numbers[j].name, strlen(numbers[j].name)) == 0) {
        *numbers[j].number = strtoull(arguments[i] + strlen(numbers[j].name), NULL, 16);
      }
    }
    for (size_t j = 0; j < sizeof texts / sizeof *texts; j++) {
      if (strncmp(arguments[i], texts[j].name, strlen(texts[j].name)) == 0) {
        *texts[j].text = strdup(arguments[i] + strlen(texts[j].name));
      }
    }
  }
  if (out_name == NULL || steps_name == NULL || high <= low) {
    return -1;
  }
  places = (size_t)(high - low) / 2 + 1;
  step_at = malloc(places * sizeof *step_at);
  memset(step_at, -1, places * sizeof *step_at);
  if (read_steps(steps_name) != 0) {
    return -1;
  }
  counts = calloc(steps * places, sizeof *counts);
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, finished, NULL);
  return 0;
}
