/* neondot_attention.c - attention over int8 keys and values with SDOT. */
#include "kernels/neondot/neondot.h"

#include "kernels/neon/int8_attention.h"

void neondot_attention_int8(const struct attention_args *a) {
    attention_int8(a);
}
