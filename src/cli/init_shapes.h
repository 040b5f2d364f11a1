/* init_shapes.h - config.json and generation_config.json of known model sizes. */
#ifndef QUERN_CLI_INIT_SHAPES_H
#define QUERN_CLI_INIT_SHAPES_H

#include "text/json.h"

#define INIT_SHAPE_NAMES \
    "qwen3-0.6b|qwen3-1.7b|qwen3-4b|qwen3-8b|qwen3-14b|qwen3-32b|qwen3-30b-a3b|tiny"

/* The config.json of a shape, NULL for an unknown name or when memory runs out. */
json_t *init_shape_config(const char *name);
/* The generation_config.json that fits every shape; NULL when memory runs out. */
json_t *init_shape_generation_config(void);

#endif
