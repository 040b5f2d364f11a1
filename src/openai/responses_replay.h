/* responses_replay.h - the events of an answer that is kept, as a stream of it would have brought
 * them but for the size of its pieces: each text comes in one. */
#ifndef QUERN_OPENAI_RESPONSES_REPLAY_H
#define QUERN_OPENAI_RESPONSES_REPLAY_H

#include "base/buffer.h"
#include "text/json.h"

/* Events whose number is not above `after` are left out; -1: none. Memory that is lacking fails
 * `out`. */
void responses_write_replay(const json_t *answer, int64_t after, struct buffer *out);

#endif
