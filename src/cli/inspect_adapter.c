#include "cli/inspect_adapter.h"

#include <math.h>
#include <string.h>

#include "cli/cli_format.h"
#include "formats/peft_adapter.h"
#include "text/json.h"

enum { KINDS_MAX = 32, KIND_BYTES = 64, PIECE = 4096 };

/* Modules whose names end alike: "self_attn.q_proj" of all layers. */
struct kind {
    char name[KIND_BYTES];
    size_t n, min_rank, max_rank;
    double min_scale, max_scale;
};

struct facts {
    const struct peft_adapter *adapter;
    const struct peft_config *config;
    struct kind kinds[KINDS_MAX];
    size_t n_kinds;
    size_t n_params;
    size_t n_untrained; /* modules whose B is zero: they change nothing (unless they have
                           magnitudes) */
    bool not_finite;
    const char *dtype; /* of all tensors, or "mixed" */
};

/* ---- gathering --------------------------------------------------------------------------------
 */

/* The name without numbers: "model.layers.3.mlp.experts.0.up_proj" is "mlp.experts.up_proj". */
static void kind_of(const char *module, char out[KIND_BYTES]) {
    size_t n = 0;
    if (strncmp(module, "model.", 6) == 0)
        module += 6;
    if (strncmp(module, "layers.", 7) == 0)
        module += 7;
    while (*module) {
        const size_t len = strcspn(module, ".");
        const bool number = strspn(module, "0123456789") == len;
        if (!number && n + len + 2 < KIND_BYTES) {
            if (n > 0)
                out[n++] = '.';
            memcpy(out + n, module, len);
            n += len;
        }
        module += len + (module[len] == '.');
    }
    out[n] = '\0';
}

static void count_kind(struct facts *f, const struct peft_module *m) {
    char name[KIND_BYTES];
    size_t i = 0;
    kind_of(m->name, name);
    while (i < f->n_kinds && strcmp(f->kinds[i].name, name) != 0)
        i++;
    if (i == KINDS_MAX)
        return;
    struct kind *k = &f->kinds[i];
    if (i == f->n_kinds) {
        f->n_kinds++;
        *k = (struct kind){
            .min_rank = m->rank, .max_rank = m->rank, .min_scale = m->scale, .max_scale = m->scale};
        memcpy(k->name, name, sizeof name);
    }
    k->n++;
    k->min_rank = m->rank < k->min_rank ? m->rank : k->min_rank;
    k->max_rank = m->rank > k->max_rank ? m->rank : k->max_rank;
    k->min_scale = m->scale < k->min_scale ? m->scale : k->min_scale;
    k->max_scale = m->scale > k->max_scale ? m->scale : k->max_scale;
}

/* True when all elements are zero. */
static bool look_at(struct facts *f, const struct tensor *t) {
    float some[PIECE];
    const size_t size = dtype_size_bytes(t->dtype), n = t->size_bytes / size;
    bool zero = true;
    for (size_t i = 0; i < n; i += PIECE) {
        const size_t m = n - i < PIECE ? n - i : PIECE;
        dtype_to_f32(t->dtype, (const unsigned char *)t->data + i * size, some, m);
        for (size_t k = 0; k < m; k++) {
            zero = zero && some[k] == 0;
            f->not_finite = f->not_finite || !isfinite(some[k]);
        }
    }
    f->n_params += n;
    if (!f->dtype)
        f->dtype = dtype_name(t->dtype);
    else if (strcmp(f->dtype, dtype_name(t->dtype)) != 0)
        f->dtype = "mixed";
    return zero;
}

static void gather(struct facts *f, const struct peft_adapter *a) {
    *f = (struct facts){.adapter = a, .config = peft_adapter_config(a)};
    for (size_t i = 0; i < peft_adapter_count(a); i++) {
        const struct peft_module *m = peft_adapter_at(a, i);
        count_kind(f, m);
        (void)look_at(f, m->a);
        f->n_untrained += look_at(f, m->b) && !m->magnitude;
        if (m->magnitude)
            (void)look_at(f, m->magnitude);
    }
    for (size_t i = 0; i < peft_adapter_saved_count(a); i++)
        (void)look_at(f, peft_adapter_saved_at(a, i));
}

/* ---- text ---------------------------------------------------------------------------------------
 */

static const char *method(const struct facts *f) {
    const struct peft_config *c = f->config;
    if (peft_adapter_count(f->adapter) == 0)
        return "whole modules";
    return c->use_dora ? (c->use_rslora ? "DoRA with rsLoRA's scale" : "DoRA")
                       : (c->use_rslora ? "rsLoRA" : "LoRA");
}

static void write_kinds(const struct facts *f, struct buffer *b) {
    for (size_t i = 0; i < f->n_kinds; i++) {
        const struct kind *k = &f->kinds[i];
        buffer_printf(b, "  %-24s %4zu  rank %zu", k->name, k->n, k->min_rank);
        if (k->max_rank != k->min_rank)
            buffer_printf(b, "..%zu", k->max_rank);
        buffer_printf(b, "  scale %.4g", k->min_scale);
        if (k->max_scale > k->min_scale)
            buffer_printf(b, "..%.4g", k->max_scale);
        buffer_putc(b, '\n');
    }
}

static void write_notes(const struct facts *f, struct buffer *b) {
    if (f->n_untrained)
        buffer_printf(b, "\n%zu of %zu modules change nothing: their lora_B is zero%s\n",
                      f->n_untrained, peft_adapter_count(f->adapter),
                      f->n_untrained == peft_adapter_count(f->adapter)
                          ? "; the adapter was not trained"
                          : "");
    if (peft_adapter_saved_count(f->adapter))
        buffer_puts(
            b, "\nModules saved whole cannot be put beside a model; quern merge puts them into "
               "one\n");
}

static void write_text(const struct facts *f, const char *dir, bool tensors, struct buffer *b) {
    char n[CLI_NUMBER_BYTES], m[CLI_NUMBER_BYTES];
    const struct peft_config *c = f->config;
    buffer_printf(b, "%s\n\nAdapter\n  %-14s %s\n", dir, "Method", method(f));
    buffer_printf(b, "  %-14s %s%s%s\n", "Base model", c->base_model ? c->base_model : "not said",
                  c->revision ? ", revision " : "", c->revision ? c->revision : "");
    buffer_printf(b, "  %-14s r %zu, alpha %g\n", "Configured", c->rank, c->alpha);
    buffer_printf(b, "  %-14s %s (%s, %s)\n", "Parameters",
                  cli_format_count((int64_t)f->n_params, n), f->dtype,
                  cli_format_bytes((double)peft_adapter_total_bytes(f->adapter), m));
    if (f->n_kinds)
        buffer_puts(b, "\nModules\n");
    write_kinds(f, b);
    if (peft_adapter_saved_count(f->adapter))
        buffer_puts(b, "\nSaved whole\n");
    for (size_t i = 0; i < peft_adapter_saved_count(f->adapter); i++)
        buffer_printf(b, "  %s\n", peft_saved_name(peft_adapter_saved_at(f->adapter, i)));
    if (tensors && peft_adapter_count(f->adapter))
        buffer_puts(b, "\nAll modules\n");
    for (size_t i = 0; tensors && i < peft_adapter_count(f->adapter); i++) {
        const struct peft_module *p = peft_adapter_at(f->adapter, i);
        buffer_printf(b, "  %-44s [%zu, %zu]  rank %zu  scale %.6g\n", p->name, p->out, p->in,
                      p->rank, p->scale);
    }
    write_notes(f, b);
}

/* ---- JSON ---------------------------------------------------------------------------------------
 */

static void put_string(struct buffer *b, const char *s) {
    if (s)
        json_write_string(str_from(s), b);
    else
        buffer_puts(b, "null");
}

static void write_json(const struct facts *f, const char *dir, struct buffer *b) {
    const struct peft_config *c = f->config;
    char number[40];
    json_format_float(c->alpha, number);
    buffer_puts(b, "{\"kind\": \"adapter\", \"path\": ");
    put_string(b, dir);
    buffer_puts(b, ", \"base_model\": ");
    put_string(b, c->base_model);
    buffer_printf(b, ", \"r\": %zu, \"lora_alpha\": %s, \"use_rslora\": %s, \"use_dora\": %s, ",
                  c->rank, number, c->use_rslora ? "true" : "false",
                  c->use_dora ? "true" : "false");
    buffer_printf(b,
                  "\"parameters\": %zu, \"bytes\": %zu, \"untrained_modules\": %zu, \"modules\": [",
                  f->n_params, peft_adapter_total_bytes(f->adapter), f->n_untrained);
    for (size_t i = 0; i < peft_adapter_count(f->adapter); i++) {
        const struct peft_module *m = peft_adapter_at(f->adapter, i);
        json_format_float(m->scale, number);
        buffer_puts(b, i ? ", {\"name\": " : "{\"name\": ");
        put_string(b, m->name);
        buffer_printf(b, ", \"shape\": [%zu, %zu], \"rank\": %zu, \"scale\": %s}", m->out, m->in,
                      m->rank, number);
    }
    buffer_puts(b, "], \"saved\": [");
    for (size_t i = 0; i < peft_adapter_saved_count(f->adapter); i++) {
        buffer_puts(b, i ? ", " : "");
        put_string(b, peft_saved_name(peft_adapter_saved_at(f->adapter, i)));
    }
    buffer_puts(b, "]}\n");
}

enum quern_status inspect_adapter(const char *dir, bool json, bool tensors, struct buffer *out,
                                  const char **problem, struct quern_error *err) {
    struct peft_adapter *adapter = NULL;
    struct facts facts;
    enum quern_status status = peft_adapter_open(dir, &adapter, err);
    if (status)
        return status;
    gather(&facts, adapter);
    *problem = facts.not_finite ? "the adapter has weights that are infinite or no numbers" : NULL;
    if (json)
        write_json(&facts, dir, out);
    else
        write_text(&facts, dir, tensors, out);
    peft_adapter_close(adapter);
    return QUERN_OK;
}
