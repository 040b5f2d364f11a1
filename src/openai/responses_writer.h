/* responses_writer.h - a job's answer as /v1/responses spells it: one JSON object, or a stream of
 * typed events. Each segment of the answer is an item of its output. */
#ifndef QUERN_OPENAI_RESPONSES_WRITER_H
#define QUERN_OPENAI_RESPONSES_WRITER_H

#include "openai/responses_request.h"
#include "openai/text_job.h"

/* The whole answer of a job that is done. */
void responses_write_answer(const struct responses_request *r, const struct text_job *job,
                            struct buffer *out);
/* The items of its output, with commas between; at least one. */
void responses_write_output(const struct responses_request *r, const struct text_job *job,
                            struct buffer *out);

/* Where a stream is. Zeroed at its beginning, but for `request`. */
struct responses_stream {
    const struct responses_request *request;
    const struct text_job *job; /* once there was news of it */
    size_t sequence_number;
    bool started, open;          /* `open`: the item at `at` was told of */
    size_t at;                   /* items that are complete */
    size_t sent, sent_logprobs; /* of the open item */
};

void responses_write_events(struct responses_stream *st, struct text_job *job, struct buffer *out);
/* `answer` is what responses_write_answer gives. */
void responses_write_stream_end(struct responses_stream *st, struct text_job *job,
                                struct str answer, struct buffer *out);
void responses_write_stream_error(struct responses_stream *st, const struct api_error *err,
                                  struct buffer *out);

#endif
