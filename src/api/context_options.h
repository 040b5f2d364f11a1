/* context_options.h - what sessions and engines resolve alike: context, YaRN, stop strings, known
 * ids. */
#ifndef QUERN_API_CONTEXT_OPTIONS_H
#define QUERN_API_CONTEXT_OPTIONS_H

#include "api/loaded_model.h"

/* 0: DEFAULT_CONTEXT or what the model takes. */
enum quern_status choose_context(const struct hf_config *c, int32_t asked, size_t *out,
                                 struct quern_error *err);
/* `expected`: the context the caller will use; 0: n_context. */
bool wants_yarn(const struct hf_config *c, enum quern_yarn yarn, int32_t expected,
                size_t n_context);
enum quern_status check_yarn(enum quern_yarn yarn, struct quern_error *err);
/* Text is cut where a stop string begins; half a character there would leave the other half. */
enum quern_status check_stop_strings(const struct quern_generate_options *o,
                                     struct quern_error *err);
int32_t tokens_known(const quern_model *model);

#endif
