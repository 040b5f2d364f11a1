/* output_dir.h - a model directory that appears when it is complete: it is written under a name of
 * its own beside the one it gets, flushed to the disk and renamed. */
#ifndef QUERN_MODEL_OUTPUT_DIR_H
#define QUERN_MODEL_OUTPUT_DIR_H

#include "base/error.h"

enum { OUTPUT_DIR_PATH_BYTES = 4096 };

struct output_dir {
    char to[OUTPUT_DIR_PATH_BYTES], temp[OUTPUT_DIR_PATH_BYTES]; /* temp "": nothing to remove */
};

/* `to` must be absent or an empty directory. From then on files go into out->temp. */
enum quern_status output_dir_begin(struct output_dir *out, const char *to, struct quern_error *err);
/* What a model has besides configuration and weights: tokenizer, template, licence. */
enum quern_status output_dir_copy_rest(const struct output_dir *out, const char *from,
                                       struct quern_error *err);
enum quern_status output_dir_publish(struct output_dir *out, struct quern_error *err);
/* Removes what was not published. Zeroed is fine. */
void output_dir_release(struct output_dir *out);

#endif
