#include "cli/loss_plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "text/unicode.h"

enum { WIDTH = 760, HEIGHT = 360, LEFT = 56, RIGHT = 20, TOP = 40, BOTTOM = 40, POINTS_MAX = 2000 };

struct range {
    double first_step, last_step, low, high;
};

static void widen(struct range *r, const struct run_points *p, size_t skip) {
    for (size_t i = 0; i < p->n; i++) {
        const struct run_point *at = &p->items[i];
        if (!isfinite(at->loss))
            continue;
        if (i >= skip) {
            r->low = fmin(r->low, at->loss);
            r->high = fmax(r->high, at->loss);
        }
        r->first_step = fmin(r->first_step, (double)at->step);
        r->last_step = fmax(r->last_step, (double)at->step);
    }
}

/* False: there is nothing to draw. */
static bool find_range(const struct run_log *log, struct range *out) {
    *out = (struct range){INFINITY, -INFINITY, INFINITY, -INFINITY};
    widen(out, &log->train, 0);
    widen(out, &log->eval, 0);
    if (!isfinite(out->low) || out->last_step <= out->first_step)
        return false;
    if (out->high <= out->low)
        out->high = out->low + 1;
    return true;
}

/* A mean that follows over about a fiftieth of the run. */
static double follow(double mean, double loss, size_t i, size_t n) {
    const double span = n > 100 ? (double)n / 50 : 2;
    return i ? mean + (loss - mean) / span : loss;
}

/* ---- SVG ------------------------------------------------------------------------------- */

static void put_place(const struct range *r, double step, double loss, struct buffer *out) {
    char text[64];
    const double x = LEFT + (WIDTH - LEFT - RIGHT) * (step - r->first_step) /
                                (r->last_step - r->first_step);
    const double y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (loss - r->low) / (r->high - r->low);
    number_print(text, sizeof text, "%.1f,%.1f ", x, y);
    buffer_puts(out, text);
}

static void put_curve(const struct range *r, const struct run_points *p, const char *class,
                      bool smooth, struct buffer *out) {
    const size_t stride = p->n / POINTS_MAX + 1;
    double mean = 0;
    buffer_printf(out, "<polyline class=\"%s\" points=\"", class);
    for (size_t i = 0; i < p->n; i++) {
        if (!isfinite(p->items[i].loss))
            continue;
        mean = smooth ? follow(mean, p->items[i].loss, i, p->n) : p->items[i].loss;
        if (i % stride == 0 || i + 1 == p->n)
            put_place(r, (double)p->items[i].step, mean, out);
    }
    buffer_puts(out, "\"/>\n");
}

static void put_text(double x, double y, const char *anchor, const char *text, struct buffer *out) {
    char place[64];
    number_print(place, sizeof place, "x=\"%.1f\" y=\"%.1f\"", x, y);
    buffer_printf(out, "<text %s text-anchor=\"%s\">", place, anchor);
    for (; *text; text++)
        if (*text == '<' || *text == '&')
            buffer_puts(out, *text == '<' ? "&lt;" : "&amp;");
        else
            buffer_putc(out, *text);
    buffer_puts(out, "</text>\n");
}

static void put_grid(const struct range *r, struct buffer *out) {
    char text[96];
    for (int i = 0; i <= 4; i++) {
        const double x = LEFT + (double)(WIDTH - LEFT - RIGHT) * i / 4;
        const double y = TOP + (double)(HEIGHT - TOP - BOTTOM) * i / 4;
        number_print(text, sizeof text, "<path class=\"g\" d=\"M%.1f %dv%dM%d %.1fh%d\"/>\n", x, TOP,
                     HEIGHT - TOP - BOTTOM, LEFT, y, WIDTH - LEFT - RIGHT);
        buffer_puts(out, text);
        number_print(text, sizeof text, "%.0f", r->first_step + (r->last_step - r->first_step) * i / 4);
        put_text(x, HEIGHT - BOTTOM + 18, "middle", text, out);
        number_print(text, sizeof text, "%.3g", r->high - (r->high - r->low) * i / 4);
        put_text(LEFT - 6, y + 4, "end", text, out);
    }
}

void loss_plot_svg(const struct run_log *log, const char *title, struct buffer *out) {
    struct range range;
    buffer_printf(out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                  "font-family=\"sans-serif\" font-size=\"12\">\n<style>\n"
                  "svg { background: #fff } text { fill: #222 } polyline { fill: none }\n"
                  ".g { stroke: #ddd; fill: none } .a { stroke: #b4531f; stroke-opacity: .3 }\n"
                  ".m { stroke: #b4531f; stroke-width: 2 } .e { stroke: #1f6fb4; stroke-width: 2 }\n"
                  "@media (prefers-color-scheme: dark) { svg { background: #181818 } "
                  "text { fill: #ddd } .g { stroke: #444 } }\n</style>\n",
                  WIDTH, HEIGHT);
    put_text(LEFT, 22, "start", title, out);
    if (find_range(log, &range)) {
        put_grid(&range, out);
        put_curve(&range, &log->train, "a", false, out);
        put_curve(&range, &log->train, "m", true, out);
        put_curve(&range, &log->eval, "e", false, out);
    }
    buffer_puts(out, "</svg>\n");
}

/* ---- terminal ----------------------------------------------------------------------------- */

enum { ROWS = 10, AXIS = 9, COLUMNS_MAX = 200 };

/* The dots of a Braille character, two wide and four high. */
static const unsigned char dots[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};

typedef unsigned char canvas[ROWS][COLUMNS_MAX];

/* A line between two places, in dots. */
static void draw_line(canvas cells, double x, double y, double to_x, double to_y) {
    const double length = fmax(fabs(to_x - x), fabs(to_y - y));
    const int n = (int)ceil(length);
    for (int i = 0; i <= n; i++) {
        const double share = n ? (double)i / n : 0;
        const int column = (int)(x + (to_x - x) * share + 0.5), row = (int)(y + (to_y - y) * share + 0.5);
        if (column >= 0 && column < 2 * COLUMNS_MAX && row >= 0 && row < 4 * ROWS)
            cells[row / 4][column / 2] |= dots[row % 4][column % 2];
    }
}

static void draw(canvas cells, int columns, const struct range *r, const struct run_points *p) {
    double mean = 0, last_x = -1, last_y = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (!isfinite(p->items[i].loss))
            continue;
        mean = follow(mean, p->items[i].loss, i, p->n);
        const double across =
            ((double)p->items[i].step - r->first_step) / (r->last_step - r->first_step);
        const double x = across * (2 * columns - 1);
        const double y = (1 - (mean - r->low) / (r->high - r->low)) * (4 * ROWS - 1);
        draw_line(cells, last_x < 0 ? x : last_x, last_x < 0 ? y : last_y, x, y);
        last_x = x;
        last_y = y;
    }
}

void loss_plot_text(const struct run_log *log, int columns, struct buffer *out) {
    canvas cells = {{0}};
    struct range range;
    if (!find_range(log, &range))
        return;
    columns -= AXIS + 1;
    columns = columns < 10 ? 10 : columns > COLUMNS_MAX ? COLUMNS_MAX : columns;
    draw(cells, columns, &range, &log->train);
    for (int y = 0; y < ROWS; y++) {
        char label[32] = "";
        if (y == 0 || y == ROWS - 1 || y == ROWS / 2)
            number_print(label, sizeof label, "%.3g",
                         range.high - (range.high - range.low) * y / (ROWS - 1));
        buffer_printf(out, "%*s ", AXIS - 1, label);
        for (int x = 0; x < columns; x++) {
            char utf8[4];
            buffer_append(out, utf8, (size_t)utf8_encode(0x2800 + cells[y][x], utf8));
        }
        buffer_putc(out, '\n');
    }
    char first[32], last[32];
    number_print(first, sizeof first, "%.0f", range.first_step);
    number_print(last, sizeof last, "%.0f", range.last_step);
    buffer_printf(out, "%*s%s%*s\n", AXIS, "", first, columns - (int)strlen(first), last);
}
