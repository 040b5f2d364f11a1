/* rope_config.h - the rotary embedding's part of config.json. Internal to formats. */
#ifndef QUERN_FORMATS_ROPE_CONFIG_H
#define QUERN_FORMATS_ROPE_CONFIG_H

#include "formats/config_reader.h"
#include "formats/hf_config.h"

/* Reads rope_theta with rope_scaling (old) or rope_parameters (new) of the whole config. Failures
 * are recorded in *r. */
void rope_config_read(struct config_reader *r, int32_t max_position_embeddings,
                      struct rope_config *out);

#endif
