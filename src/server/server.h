/* server.h - `quern serve`: models behind HTTP endpoints. */
#ifndef QUERN_SERVER_SERVER_H
#define QUERN_SERVER_SERVER_H

#include "server/server_config.h"

struct server;

/* Listens at once and loads the models in the background; /ready tells when they are there. *config
 * is borrowed. */
enum quern_status server_start(const struct server_config *config, struct server **out,
                               struct quern_error *err);
uint16_t server_port(const struct server *s);

/* From now on new work is refused and /ready answers 503. */
void server_begin_drain(struct server *s);
/* What was accepted is done, or the time is over. Never waits longer than wait_ms. */
bool server_is_drained(struct server *s, int64_t wait_ms);
void server_stop(struct server *s); /* NULL is fine; ends what still runs */

#endif
