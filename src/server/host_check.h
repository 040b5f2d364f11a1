/* host_check.h - which names a server answers to. A page in a browser may make its own name point
 * to this machine (DNS rebinding); the Host header tells. */
#ifndef QUERN_SERVER_HOST_CHECK_H
#define QUERN_SERVER_HOST_CHECK_H

#include <stdbool.h>

#include "base/options.h"

/* Whether a Host header ("name", "name:port", "[v6]:port"; NULL: there is none) names this machine
 * as loopback, the host listened on, or one of `allowed`. "*" allows any. */
bool host_is_allowed(const char *header, const char *listen_host,
                     const struct option_list *allowed);

#endif
