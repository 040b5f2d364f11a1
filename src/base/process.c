#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"

extern char **environ;

enum { TICK_MS = 100, CHUNK = 16384 };

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- starting ------------------------------------------------------------------------ */

/* Signals as a program expects to find them. */
static void reset_signals(posix_spawnattr_t *attr) {
    sigset_t defaults, none;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGTERM);
    sigaddset(&defaults, SIGHUP);
    sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_setsigdefault(attr, &defaults);
    posix_spawnattr_setsigmask(attr, &none);
    posix_spawnattr_setpgroup(attr, 0);
    posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
                                       POSIX_SPAWN_SETSIGMASK);
}

static bool is_in(const char *variable, const char *const *env) {
    const size_t name = strcspn(variable, "=");
    for (; *env; env++)
        if (strncmp(*env, variable, name) == 0 && (*env)[name] == '=')
            return true;
    return false;
}

/* Ours with `env` instead of or beside it; the list is the caller's, the strings are borrowed. */
static const char **merged_environment(const char *const *env) {
    size_t n = 0, k = 0;
    for (char **v = environ; *v; v++)
        n++;
    for (const char *const *v = env; *v; v++)
        n++;
    const char **merged = calloc(n + 1, sizeof *merged);
    if (!merged)
        return NULL;
    for (char **v = environ; *v; v++)
        if (!is_in(*v, env))
            merged[k++] = *v;
    for (; *env; env++)
        merged[k++] = *env;
    return merged;
}

static int spawn(struct process *p, const char *const *argv, const char *const *env,
                 const int child[3]) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    pid_t pid = 0;
    int problem = posix_spawn_file_actions_init(&actions);
    if (problem)
        return problem;
    problem = posix_spawnattr_init(&attr);
    if (problem) {
        posix_spawn_file_actions_destroy(&actions);
        return problem;
    }
    reset_signals(&attr);
    for (int i = 0; i < 3 && !problem; i++)
        problem = posix_spawn_file_actions_adddup2(&actions, child[i], i);
    if (!problem)
        problem = posix_spawnp(&pid, argv[0], &actions, &attr, (char *const *)(uintptr_t)argv,
                               (char *const *)(uintptr_t)env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    p->pid = pid;
    return problem;
}

enum quern_status process_start(struct process *p, const char *const *argv, const char *const *env,
                                struct quern_error *err) {
    const char **merged = env ? merged_environment(env) : NULL;
    if (env && !merged)
        return error_nomem(err);
    int child[3] = {-1, -1, -1}, *ours[3] = {&p->in, &p->out, &p->err}, problem = 0;
    *p = (struct process){.in = -1, .out = -1, .err = -1};
    for (int i = 0; i < 3 && !problem; i++) {
        int ends[2]; /* to read from, to write to */
        if (pipe2(ends, O_CLOEXEC)) {
            problem = errno;
            break;
        }
        child[i] = ends[i == 0 ? 0 : 1];
        *ours[i] = ends[i == 0 ? 1 : 0];
        fcntl(*ours[i], F_SETFL, O_NONBLOCK);
    }
    if (!problem)
        problem = spawn(p, argv, merged ? merged : (const char *const *)environ, child);
    free(merged);
    for (int i = 0; i < 3; i++)
        close_fd(&child[i]);
    if (!problem)
        return QUERN_OK;
    for (int i = 0; i < 3; i++)
        close_fd(ours[i]);
    p->pid = 0;
    return error_set(err, QUERN_ERR_IO, "cannot run %s: %s", argv[0], strerror(problem));
}

/* ---- moving bytes ------------------------------------------------------------------------ */

/* A child that reads no more must not end us: SIGPIPE is taken out of the way. */
static ssize_t write_quietly(int fd, const void *data, size_t n) {
    const struct timespec at_once = {0, 0};
    sigset_t pipe_signal, before, pending;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    ssize_t done = write(fd, data, n);
    const int problem = errno;
    if (done < 0 && problem == EPIPE && !sigismember(&pending, SIGPIPE))
        sigtimedwait(&pipe_signal, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = problem;
    return done;
}

static bool is_temporary(int problem) {
    return problem == EAGAIN || problem == EINTR;
}

static void move_in(struct process *p, struct str *input) {
    ssize_t n = write_quietly(p->in, input->ptr, input->len < CHUNK ? input->len : CHUNK);
    if (n > 0)
        *input = (struct str){input->ptr + n, input->len - (size_t)n};
    else if (n < 0 && !is_temporary(errno))
        close_fd(&p->in);
}

static void move_out(struct process *p, int *fd, struct buffer *to) {
    char chunk[CHUNK];
    ssize_t n = read(*fd, chunk, sizeof chunk);
    if (n == 0 || (n < 0 && !is_temporary(errno)))
        close_fd(fd);
    if (n <= 0)
        return;
    const size_t room = to->max - to->len, take = (size_t)n < room ? (size_t)n : room;
    buffer_append(to, chunk, take);
    p->cut = p->cut || take < (size_t)n;
}

enum process_event process_pump(struct process *p, struct str *input, struct buffer *out,
                                struct buffer *err_out) {
    struct pollfd fds[3] = {{p->out, POLLIN, 0}, {p->err, POLLIN, 0}, {-1, POLLOUT, 0}};
    if (input && input->len)
        fds[2].fd = p->in;
    if (p->out < 0 && p->err < 0)
        return PROCESS_CLOSED;
    const int n = poll(fds, 3, TICK_MS);
    if (n <= 0) /* what it has started may keep its output open when it is gone */
        return p->exited || process_wait(p, 0) ? PROCESS_CLOSED : PROCESS_NOTHING;
    if (fds[0].revents)
        move_out(p, &p->out, out);
    if (fds[1].revents)
        move_out(p, &p->err, err_out);
    if (fds[2].revents)
        move_in(p, input);
    return PROCESS_MOVED;
}

void process_close_input(struct process *p) {
    close_fd(&p->in);
}

/* ---- the end ------------------------------------------------------------------------------- */

bool process_wait(struct process *p, int64_t timeout_ms) {
    const uint64_t until = os_now_ns() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * 1000000u;
    while (!p->exited && p->pid) {
        int status = 0;
        const pid_t got = waitpid((pid_t)p->pid, &status, WNOHANG);
        if (got == (pid_t)p->pid || (got < 0 && errno == ECHILD)) {
            p->exited = true;
            p->code = got < 0               ? 0
                      : WIFSIGNALED(status) ? 128 + WTERMSIG(status)
                                            : WEXITSTATUS(status);
        } else if (os_now_ns() >= until) {
            return false;
        } else {
            os_sleep_ns(2000000);
        }
    }
    return true;
}

void process_end(struct process *p, int64_t grace_ms) {
    if (!p->pid)
        return;
    close_fd(&p->in);
    close_fd(&p->out);
    close_fd(&p->err);
    if (!p->exited && grace_ms > 0) {
        kill((pid_t)-p->pid, SIGTERM);
        process_wait(p, grace_ms);
    }
    kill((pid_t)-p->pid, SIGKILL);
    process_wait(p, 5000);
    *p = (struct process){.in = -1, .out = -1, .err = -1, .exited = p->exited, .code = p->code};
}
