/* stop_check.h - how work that lasts asks whether it is still wanted. */
#ifndef QUERN_BASE_STOP_CHECK_H
#define QUERN_BASE_STOP_CHECK_H

#include <stdbool.h>

struct stop_check {
    bool (*asked)(void *user); /* called about ten times a second; NULL: nothing ends it */
    void *user;
};

static inline bool stop_asked(const struct stop_check *s) {
    return s->asked && s->asked(s->user);
}

#endif
