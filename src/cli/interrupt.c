#include "cli/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t pending;    /* SIGINT came */
static volatile sig_atomic_t end_signal; /* SIGTERM or SIGHUP; 0: none */

static void on_signal(int signal_number) {
    if (signal_number == SIGINT)
        pending = 1;
    else
        end_signal = signal_number;
}

void interrupt_catch(void) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    /* Restarting, so that no write is broken off; who waits for input uses os_wait_readable. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        struct sigaction old;
        /* What the caller had ignored (nohup) stays so. */
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
}

bool interrupt_pending(void) {
    return pending || end_signal;
}

void interrupt_clear(void) {
    pending = 0;
}

bool interrupt_must_end(void) {
    return end_signal != 0;
}

int interrupt_exit_code(void) {
    return end_signal ? 128 + end_signal : pending ? 128 + SIGINT : 0;
}
