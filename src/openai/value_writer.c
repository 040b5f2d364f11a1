/* value_writer.c - embeddings as OpenAI spells them, rankings as Jina and Cohere do. */
#include <math.h>
#include <stdlib.h>

#include "openai/value_job.h"
#include "text/json.h"

/* ---- embeddings ------------------------------------------------------------------ */

/* The first n, made a unit vector again (Matryoshka). The order of the sum is fixed. */
static void shorten(float *values, size_t n) {
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += (double)values[i] * (double)values[i];
    double scale = squares > 0 ? 1 / sqrt(squares) : 0;
    for (size_t i = 0; i < n; i++)
        values[i] = (float)((double)values[i] * scale);
}

static void write_floats(const float *values, size_t n, struct buffer *out) {
    buffer_putc(out, '[');
    for (size_t i = 0; i < n; i++) {
        char text[40];
        json_format_float((double)values[i], text);
        buffer_puts(out, i ? "," : "");
        buffer_puts(out, text);
    }
    buffer_putc(out, ']');
}

static void put_base64(const unsigned char *bytes, size_t n, struct buffer *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t word = (uint32_t)bytes[i] << 16;
        if (i + 1 < n)
            word |= (uint32_t)bytes[i + 1] << 8;
        if (i + 2 < n)
            word |= bytes[i + 2];
        buffer_putc(out, digits[word >> 18]);
        buffer_putc(out, digits[word >> 12 & 63]);
        buffer_putc(out, i + 1 < n ? digits[word >> 6 & 63] : '=');
        buffer_putc(out, i + 2 < n ? digits[word & 63] : '=');
    }
}

static enum quern_status write_base64(const float *values, size_t n, struct buffer *out) {
    unsigned char *bytes = malloc(4 * n);
    if (!bytes)
        return QUERN_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        for (size_t k = 0; k < 4; k++)
            bytes[4 * i + k] = (unsigned char)(bits >> (8 * k));
    }
    buffer_putc(out, '"');
    put_base64(bytes, 4 * n, out);
    buffer_putc(out, '"');
    free(bytes);
    return QUERN_OK;
}

static void write_usage(const struct value_job *job, struct buffer *out) {
    size_t n = value_job_prompt_tokens(job);
    buffer_printf(out, "\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu}", n, n);
}

enum quern_status embedding_write_response(const struct value_job *job,
                                           const struct embedding_request *r, struct buffer *out,
                                           struct api_error *err) {
    buffer_puts(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < job->n_items; i++) {
        const struct value_item *item = &job->items[i];
        size_t n = item->n_values;
        if (r->dimensions > 0 && (size_t)r->dimensions < n) {
            n = (size_t)r->dimensions;
            shorten(item->values, n);
        }
        buffer_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i ? "," : "",
                      i);
        if (!r->base64)
            write_floats(item->values, n, out);
        else if (write_base64(item->values, n, out))
            return api_nomem(err);
        buffer_putc(out, '}');
    }
    buffer_puts(out, "],\"model\":");
    json_write_string(str_from(job->model->name), out);
    buffer_putc(out, ',');
    write_usage(job, out);
    buffer_putc(out, '}');
    return QUERN_OK;
}

/* ---- rankings ---------------------------------------------------------------------- */

struct ranked_document {
    size_t index;
    double score;
};

/* The softmax of two logits. */
static double yes_probability(const float *values) {
    return 1 / (1 + exp((double)values[1] - (double)values[0]));
}

static int by_score(const void *a, const void *b) {
    const struct ranked_document *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

enum quern_status rerank_write_response(const struct value_job *job, const struct rerank_request *r,
                                        struct buffer *out, struct api_error *err) {
    struct ranked_document *ranks = calloc(job->n_items, sizeof *ranks);
    if (!ranks)
        return api_nomem(err);
    for (size_t i = 0; i < job->n_items; i++)
        ranks[i] = (struct ranked_document){i, yes_probability(job->items[i].values)};
    qsort(ranks, job->n_items, sizeof *ranks, by_score);
    buffer_puts(out, "{\"object\":\"list\",\"model\":");
    json_write_string(str_from(job->model->name), out);
    buffer_puts(out, ",\"results\":[");
    for (size_t i = 0; i < job->n_items && i < (size_t)r->top_n; i++) {
        char score[40];
        json_format_float(ranks[i].score, score);
        buffer_printf(out, "%s{\"index\":%zu,\"relevance_score\":%s", i ? "," : "", ranks[i].index,
                      score);
        if (r->return_documents) {
            buffer_puts(out, ",\"document\":{\"text\":");
            json_write_string(str_from(r->documents[ranks[i].index]), out);
            buffer_putc(out, '}');
        }
        buffer_putc(out, '}');
    }
    buffer_puts(out, "],");
    write_usage(job, out);
    buffer_putc(out, '}');
    free(ranks);
    return QUERN_OK;
}
