/* run_checkpoint.h - where a run can go on: directories step-N, each whole or not there. What is in one
 * is written aside, its files named with their sizes and checksums in manifest.json, which is written
 * last; all is flushed to the disk; then the directory gets its name. */
#ifndef QUERN_TRAIN_RUN_CHECKPOINT_H
#define QUERN_TRAIN_RUN_CHECKPOINT_H

#include "text/json.h"
#include "train/trainer_ops.h"

enum { RUN_PATH_BYTES = 4096 };

/* Saves the trainer and `state` (run.json) and removes all but the newest `keep`. After a failure the
 * older checkpoints are as they were. */
enum quern_status run_checkpoint_save(const char *dir, size_t step, const struct trainer_ops *ops,
                                      const struct trainer *trainer, const json_t *state,
                                      size_t keep, struct quern_error *err);

/* The newest whole checkpoint: its path, "" when there is none. `bad` (RUN_PATH_BYTES) names a newer
 * one that is damaged, or is "". */
enum quern_status run_checkpoint_find(const char *dir, char path[RUN_PATH_BYTES],
                                      char bad[RUN_PATH_BYTES], struct quern_error *err);
enum quern_status run_checkpoint_state(const char *path, json_t **out, struct quern_error *err);

/* A directory written by `ops->save_output`, its files flushed, takes the place of `path`. */
enum quern_status run_output_save(const char *path, const struct trainer_ops *ops,
                                  const struct trainer *trainer, struct quern_error *err);
/* Adds to a full model's output what belongs to a model directory and is not there yet: config.json
 * (in bfloat16), tokenizer, chat template. */
enum quern_status run_output_complete(const char *path, const char *model, struct quern_error *err);
/* Moves the files of one directory into another and removes the first. */
enum quern_status run_output_move(const char *from, const char *to, struct quern_error *err);

#endif
