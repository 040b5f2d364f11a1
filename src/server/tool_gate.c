#include "server/tool_gate.h"

#include "base/os.h"

static const uint64_t TICK_NS = 100000000;

enum quern_status tool_gate_init(struct tool_gate *g, int limit, struct quern_error *err) {
    *g = (struct tool_gate){.limit = limit};
    enum quern_status status = mutex_init(&g->lock, err);
    if (status)
        return status;
    status = condition_init(&g->changed, err);
    if (status)
        mutex_release(&g->lock);
    return status;
}

void tool_gate_release(struct tool_gate *g) {
    condition_release(&g->changed);
    mutex_release(&g->lock);
}

bool tool_gate_enter(struct tool_gate *g) {
    mutex_lock(&g->lock);
    const bool ok = g->n_calls < g->limit;
    g->n_calls += ok;
    mutex_unlock(&g->lock);
    return ok;
}

void tool_gate_leave(struct tool_gate *g) {
    mutex_lock(&g->lock);
    g->n_calls--;
    mutex_unlock(&g->lock);
}

static int find(const struct tool_gate *g, const struct mcp_client *server) {
    int i = 0;
    while (i < g->n_busy && g->busy[i] != server)
        i++;
    return i;
}

bool tool_gate_take(struct tool_gate *g, const struct mcp_client *server,
                    const struct stop_check *stop) {
    bool ok = true;
    mutex_lock(&g->lock);
    while (ok && find(g, server) < g->n_busy) {
        condition_wait_until(&g->changed, &g->lock, os_now_ns() + TICK_NS);
        ok = !stop_asked(stop);
    }
    if (ok)
        g->busy[g->n_busy++] = server; /* calls are fewer than places */
    mutex_unlock(&g->lock);
    return ok;
}

void tool_gate_give(struct tool_gate *g, const struct mcp_client *server) {
    mutex_lock(&g->lock);
    g->busy[find(g, server)] = g->busy[g->n_busy - 1];
    g->n_busy--;
    condition_signal_all(&g->changed);
    mutex_unlock(&g->lock);
}
