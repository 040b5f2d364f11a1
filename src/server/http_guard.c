#include "server/http_guard.h"

#include "base/os.h"

/* Deadlines are seconds: looking this often is exact enough, and an idle server sleeps. */
static const uint64_t TICK_NS = 100000000;

static void end_late_ones(struct http_guard *g, uint64_t now_ns) {
    for (struct http_connection *c = g->first; c; c = c->next) {
        if (!c->deadline_ns || c->deadline_ns > now_ns)
            continue;
        c->deadline_ns = 0;
        net_shutdown(c->fd);
    }
}

static bool has_deadline(const struct http_guard *g) {
    for (const struct http_connection *c = g->first; c; c = c->next)
        if (c->deadline_ns)
            return true;
    return false;
}

static void watch(void *arg) {
    struct http_guard *g = arg;
    mutex_lock(&g->lock);
    while (!g->stop) {
        end_late_ones(g, os_now_ns());
        if (has_deadline(g))
            condition_wait_until(&g->changed, &g->lock, os_now_ns() + TICK_NS);
        else
            condition_wait(&g->changed, &g->lock);
    }
    mutex_unlock(&g->lock);
}

enum quern_status http_guard_start(struct http_guard *g, struct quern_error *err) {
    *g = (struct http_guard){0};
    enum quern_status status = mutex_init(&g->lock, err);
    if (status)
        return status;
    status = condition_init(&g->changed, err);
    if (status) {
        mutex_release(&g->lock);
        return status;
    }
    status = thread_start(&g->thread, "http guard", watch, g, err);
    if (status) {
        condition_release(&g->changed);
        mutex_release(&g->lock);
    }
    return status;
}

void http_guard_stop(struct http_guard *g) {
    if (!g->thread.started)
        return;
    mutex_lock(&g->lock);
    g->stop = true;
    condition_signal_all(&g->changed);
    mutex_unlock(&g->lock);
    thread_join(&g->thread);
    condition_release(&g->changed);
    mutex_release(&g->lock);
}

void http_guard_add(struct http_guard *g, struct http_connection *c, int fd, uint64_t deadline_ns) {
    mutex_lock(&g->lock);
    c->fd = fd;
    c->deadline_ns = deadline_ns;
    c->next = g->first;
    c->link = &g->first;
    if (g->first)
        g->first->link = &c->next;
    g->first = c;
    g->n_connections++;
    condition_signal_all(&g->changed);
    mutex_unlock(&g->lock);
}

void http_guard_remove(struct http_guard *g, struct http_connection *c) {
    mutex_lock(&g->lock);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    g->n_connections--;
    mutex_unlock(&g->lock);
}

void http_guard_set_deadline(struct http_guard *g, struct http_connection *c,
                             uint64_t deadline_ns) {
    mutex_lock(&g->lock);
    bool woke = deadline_ns && !c->deadline_ns;
    c->deadline_ns = deadline_ns;
    if (woke)
        condition_signal_all(&g->changed);
    mutex_unlock(&g->lock);
}
