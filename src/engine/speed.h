/* speed.h - how long a step takes, learned from steps taken. A step of decoding rows costs about
 * a + b * rows (the weights are read once, then work adds up): a regression in which old steps
 * fade. What prompt tokens add to a step is averaged likewise. */
#ifndef QUERN_ENGINE_SPEED_H
#define QUERN_ENGINE_SPEED_H

#include <stddef.h>
#include <stdint.h>

struct speed {
    double n, x, y, xx, xy;            /* faded sums over steps without prompts: rows and ns */
    double prompt_ns;                  /* that a prompt token adds; 0: not known yet */
    double decode_per_s, prompt_per_s; /* tokens of late */
};

/* Rows of decoding requests, tokens of prompts, and the time of one step. */
void speed_observe(struct speed *s, size_t n_rows, size_t n_prompt, uint64_t ns);

/* Expected time of a step of n_rows > 0 rows without prompts; 0 when nothing is known. */
double speed_step_ns(const struct speed *s, size_t n_rows);

/* How many prompt tokens go into a step beside n_rows rows within max_ns, from `least` to `most`.
 * While nothing is known: `least`. */
size_t speed_prompt_tokens(const struct speed *s, size_t n_rows, double max_ns, size_t least,
                           size_t most);

/* How many guesses, of at most `most`, make the most tokens a second when each is right with
 * probability `accept` given that the ones before were, beside n_rows rows (the request's own
 * included), and takes guess_ns to be made: 0 when none pays. */
size_t speed_best_drafts(const struct speed *s, size_t n_rows, double accept, double guess_ns,
                         size_t most);

#endif
