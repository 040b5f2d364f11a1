/* loss_plot.h - losses over the steps, for a browser and for a terminal. */
#ifndef QUERN_CLI_LOSS_PLOT_H
#define QUERN_CLI_LOSS_PLOT_H

#include "base/buffer.h"
#include "train/run/run_log.h"

/* Every point, faint; their running mean; the evaluations. */
void loss_plot_svg(const struct run_log *log, const char *title, struct buffer *out);
/* Dots of Braille, `columns` wide with the axis; nothing with fewer than two points. */
void loss_plot_text(const struct run_log *log, int columns, struct buffer *out);

#endif
