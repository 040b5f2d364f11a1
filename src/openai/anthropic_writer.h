/* anthropic_writer.h - a job's answer as Anthropic spells it. */
#ifndef QUERN_OPENAI_ANTHROPIC_WRITER_H
#define QUERN_OPENAI_ANTHROPIC_WRITER_H

#include "openai/text_job.h"

/* Where a stream is. Zeroed at its beginning, but for `stop_sequences`. */
struct anthropic_stream {
    const json_t *stop_sequences; /* the request's, or NULL */
    bool started, open; /* `open`: the block at `at` was begun */
    size_t at;          /* blocks that are complete: one for each segment of the answer */
    size_t sent;        /* bytes of the open one */
};

void anthropic_write_response(const struct text_job *job, const json_t *stop_sequences,
                              struct buffer *out);
void anthropic_write_events(struct anthropic_stream *stream, struct text_job *job,
                            struct buffer *out);
void anthropic_write_stream_end(struct anthropic_stream *stream, struct text_job *job,
                                struct buffer *out);
/* {"type": "error", "error": {...}} */
void anthropic_write_error(const struct api_error *err, const char *request_id, struct buffer *out);

#endif
