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

/* Whether a page of `origin` ("http://name:port") was sent by the server that `host` names. */
bool origin_is_host(const char *origin, const char *host);

#endif
