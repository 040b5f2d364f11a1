/* openai_writer.h - a job's answers as OpenAI spells them: one JSON object, or the chunks of a
 * stream. */
#ifndef QUERN_OPENAI_OPENAI_WRITER_H
#define QUERN_OPENAI_OPENAI_WRITER_H

#include "openai/text_job.h"

/* The whole answer of a job that is done. */
void openai_write_response(const struct text_job *job, struct buffer *out);

/* What a stream has to say besides text. */
struct openai_stream {
    bool include_usage;
};

/* Appends "data: ...\n\n" for everything that is known and was not sent, the finish reasons of
 * choices that ended included. Nothing when there is nothing new. */
void openai_write_chunks(struct text_job *job, const struct openai_stream *stream,
                         struct buffer *out);
/* After the last chunk: the usage chunk when it was asked for, and "data: [DONE]\n\n". */
void openai_write_stream_end(const struct text_job *job, const struct openai_stream *stream,
                             struct buffer *out);

/* {"prompt_tokens": ...}; {"prompt_ms": ...} */
void openai_write_usage(const struct quern_usage *usage, struct buffer *out);
void openai_write_timings(const struct quern_usage *usage, struct buffer *out);

/* logprobs_writer.c: the entries [from, to) of a choice, as chat and completions have them; and the
 * array alone that a chat's object holds. */
void logprobs_write_list(const struct choice *c, size_t from, size_t to, struct buffer *out);
void logprobs_write_chat(const struct choice *c, size_t from, size_t to, struct buffer *out);
void logprobs_write_completion(const struct choice *c, size_t from, size_t to, struct buffer *out);

#endif
