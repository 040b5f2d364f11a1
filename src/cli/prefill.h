/* prefill.h - bringing a session to a prompt: only what is new is computed, Ctrl-C is heeded
 * on the way, and a long prompt shows its progress. */
#ifndef QUERN_CLI_PREFILL_H
#define QUERN_CLI_PREFILL_H

#include "quern.h"

/* QUERN_ERR_CANCELLED after Ctrl-C (see interrupt.h). *n_reused may be NULL. */
enum quern_status cli_prefill(quern_session *session, const int32_t *ids, size_t n_ids,
                              size_t *n_reused, struct quern_error *err);

#endif
