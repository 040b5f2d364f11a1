#include "cli/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t pending;

static void on_sigint(int signal_number) {
    (void)signal_number;
    pending = 1;
}

void interrupt_catch(void) {
    struct sigaction action = {.sa_handler = on_sigint}; /* no SA_RESTART */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

bool interrupt_pending(void) {
    return pending != 0;
}

void interrupt_clear(void) {
    pending = 0;
}
