/* Runs every input that stands on the standard input through the network and writes the outputs to the standard output:
 *   ./net < inputs.bin > outputs.bin
 * Inputs are NET_INPUT_BYTES of int8 each, back to back; outputs NET_OUTPUT_BYTES each. */
#include <stdio.h>

#include "net.h"

int main(void) {
  static int8_t input[NET_INPUT_BYTES], output[NET_OUTPUT_BYTES];
  size_t got;
  while ((got = fread(input, 1, sizeof input, stdin)) == sizeof input) {
    net_invoke(input, output);
    if (fwrite(output, 1, sizeof output, stdout) != sizeof output) {
      return 2;
    }
  }
  if (got != 0) {
    (void)fprintf(stderr, "The last input has %zu bytes; the network takes %d.\n", got, NET_INPUT_BYTES);
    return 1;
  }
  return fflush(stdout) != 0 ? 2 : 0;
}
