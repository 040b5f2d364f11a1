/* vector_clones.h - for a loop that a compiler makes vectors of: VECTOR_CLONES before the function
 * compiles it for several instruction sets, and the one this CPU has is taken. Results stay the same
 * bits, since the build forbids contraction (docs/NUMERICS.md). For what runs once in a while, such
 * as quantizing on loading; what runs for every token has kernels. Functions must be static, or the
 * library shows what chooses among them. */
#ifndef QUERN_BASE_VECTOR_CLONES_H
#define QUERN_BASE_VECTOR_CLONES_H

#include <stdlib.h> /* tells which C library it is */

/* gcc's way needs the dynamic linker's help, which the sanitizers come too late for. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define VECTOR_CLONES
#endif

#endif
