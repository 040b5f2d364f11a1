/* amx_emulator.h - runs the AMX instructions of avx512amx/ on a CPU without them: each one faults, and
 * the handler decodes and does it. For tests: thousands of times slower. */
#ifndef TESTS_SUPPORT_AMX_EMULATOR_H
#define TESTS_SUPPORT_AMX_EMULATOR_H

#include <stdbool.h>

/* False where that cannot be done (other processors or systems). One thread only. */
bool amx_emulator_install(void);
void amx_emulator_remove(void);
/* Instructions done since it was installed. */
unsigned long amx_emulator_count(void);

#endif
