/* scenarios.h - what is run while allocations fail. */
#ifndef TESTS_ALLOC_SCENARIOS_H
#define TESTS_ALLOC_SCENARIOS_H

#include "quern.h"

/* Does a piece of work from beginning to end and gives everything back. QUERN_OK only when
 * the result is right; the status of the failed call otherwise, with *err filled. */
struct scenario {
    const char *name; /* a sentence in snake_case */
    enum quern_status (*run)(struct quern_error *err);
};

/* Each list ends with an entry without a name. */
extern const struct scenario api_scenarios[];
extern const struct scenario base_scenarios[];
extern const struct scenario text_scenarios[];
extern const struct scenario chat_scenarios[];
extern const struct scenario formats_scenarios[];
extern const struct scenario model_scenarios[];
extern const struct scenario sampler_scenarios[];
extern const struct scenario engine_scenarios[];
extern const struct scenario grammar_scenarios[];
extern const struct scenario openai_scenarios[];
extern const struct scenario tools_scenarios[];
extern const struct scenario train_scenarios[];

#endif
