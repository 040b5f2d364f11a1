/* interrupt.h - Ctrl-C as a flag instead of the end of the process. */
#ifndef QUERN_CLI_INTERRUPT_H
#define QUERN_CLI_INTERRUPT_H

#include <stdbool.h>

/* From here on SIGINT sets a flag. System calls that wait are interrupted by it. */
void interrupt_catch(void);
bool interrupt_pending(void);
void interrupt_clear(void);

#endif
