/* interrupt.h - signals as a flag instead of the end of the process: Ctrl-C stops an answer,
 * SIGTERM and SIGHUP end the program after it has put the terminal in order. */
#ifndef QUERN_CLI_INTERRUPT_H
#define QUERN_CLI_INTERRUPT_H

#include <stdbool.h>

/* From here on SIGINT, SIGTERM and SIGHUP set the flag. Reads and writes go on after them;
 * os_wait_readable does not. */
void interrupt_catch(void);
bool interrupt_pending(void);
/* Forgets a Ctrl-C; a request to end stays. */
void interrupt_clear(void);

/* 128 + SIGTERM or SIGHUP when one of them came, 128 + SIGINT when that is pending, else 0: what
 * shells expect of a program ended so. */
int interrupt_exit_code(void);
/* True when SIGTERM or SIGHUP came. */
bool interrupt_must_end(void);

#endif
