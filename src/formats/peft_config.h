/* peft_config.h - reading adapter_config.json. Internal to formats. */
#ifndef QUERN_FORMATS_PEFT_CONFIG_H
#define QUERN_FORMATS_PEFT_CONFIG_H

#include "base/arena.h"
#include "formats/peft_adapter.h"
#include "text/json.h"

/* Fills *out from `object`, whose strings it borrows; lists live in the arena. `name` starts
 * messages. A key that asks for what nobody here computes is QUERN_ERR_UNSUPPORTED. */
enum quern_status peft_config_read(const json_t *object, const char *name, struct arena *arena,
                                   struct peft_config *out, struct quern_error *err);

#endif
