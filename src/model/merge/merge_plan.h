/* merge_plan.h - where each tensor of a merged model comes from. */
#ifndef QUERN_MODEL_MERGE_MERGE_PLAN_H
#define QUERN_MODEL_MERGE_MERGE_PLAN_H

#include "formats/safetensors_writer.h"
#include "model/merge/merge.h"
#include "model/quantize/source.h"

struct merge_entry {
    struct tensor_spec spec;    /* of the new tensor */
    struct tensor_spec read_as; /* of what it is read from: another for a head that was tied */
    const struct tensor *plain; /* a tensor with all elements, the base's or one saved whole; or
                                   NULL: a matrix_source */
    const struct peft_module *modules[MERGE_ADAPTERS_MAX]; /* NULL: this adapter has none */
    bool changes;
};

struct merge_plan {
    const char *prefix; /* of the base's names, "model." or "" */
    struct merge_entry *entries;
    struct tensor_decl *decls; /* [n] of entries */
    size_t n;
    struct merge_result facts;
    struct arena arena;
};

/* On failure *out is released. */
enum quern_status merge_plan_init(struct merge_plan *out, const struct hf_config *config,
                                  const struct checkpoint *checkpoint,
                                  const struct merge_options *options, struct quern_error *err);
void merge_plan_release(struct merge_plan *p);

#endif
