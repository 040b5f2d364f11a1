#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "support/support.h"

static void a_mapped_file_holds_its_bytes(void **state) {
    (void)state;
    const char *path = support_temp_path("mapped");
    support_write_file(path, "a\0b", 3);
    struct os_map map;
    assert_int_equal(os_map_open(&map, path, NULL), QUERN_OK);
    assert_int_equal(map.size_bytes, 3);
    assert_memory_equal(map.data, "a\0b", 3);
    os_map_close(&map);
    assert_null(map.data);
    os_map_close(&map);
    os_map_close(NULL);
}

static void a_stamp_tells_size_and_time(void **state) {
    (void)state;
    const char *path = support_temp_path("stamped");
    const struct timespec times[2] = {{7, 5}, {1000000007, 123456789}};
    struct os_file_stamp stamp;
    assert_false(os_file_stamp(path, &stamp));
    support_write_file(path, "abc", 3);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_true(os_file_stamp(path, &stamp));
    assert_int_equal(stamp.size_bytes, 3);
    assert_int_equal(stamp.changed_ns, 1000000007123456789);
}

static void a_real_path_has_no_links_and_must_fit(void **state) {
    (void)state;
    char real[4096], link[4096], small[4];
    struct quern_error err = {0};
    const char *path = support_temp_path("target");
    support_write_file(path, "", 0);
    snprintf(link, sizeof link, "%s", support_temp_path("link-to-it"));
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(os_real_path(real, sizeof real, link, NULL), QUERN_OK);
    assert_non_null(strstr(real, "target"));
    assert_int_equal(os_real_path(small, sizeof small, link, &err), QUERN_ERR_LIMIT);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(os_real_path(real, sizeof real, link, &err), QUERN_ERR_IO);
}

static void an_empty_file_maps_to_nothing(void **state) {
    (void)state;
    const char *path = support_temp_path("empty");
    support_write_file(path, "", 0);
    struct os_map map = {(const unsigned char *)"x", 1};
    assert_int_equal(os_map_open(&map, path, NULL), QUERN_OK);
    assert_null(map.data);
    assert_int_equal(map.size_bytes, 0);
    os_map_close(&map);
}

/* Opening it for reading would wait for a writer that never comes; the alarm ends the test then. */
static void a_pipe_in_place_of_a_file_is_refused(void **state) {
    (void)state;
    const char *path = support_temp_path("pipe");
    struct os_map map = {NULL, 7};
    struct quern_error err = {0};
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(10);
    assert_int_equal(os_map_open(&map, path, &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "is not a regular file"));
    struct buffer b;
    buffer_init(&b, 100);
    err.message[0] = '\0';
    assert_int_equal(os_read_regular(path, 100, &b, &err), QUERN_ERR_IO);
    alarm(0);
    assert_non_null(strstr(err.message, "is not a regular file"));
    buffer_release(&b);
    assert_int_equal(map.size_bytes, 7);
}

static void directories_and_missing_files_are_named(void **state) {
    (void)state;
    struct os_map map = {NULL, 7};
    struct buffer b;
    buffer_init(&b, 100);
    struct quern_error err = {0};
    assert_int_equal(os_map_open(&map, support_temp_dir(), &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "is a directory, expected a file"));
    assert_int_equal(os_read_file(support_temp_dir(), 10, &b, &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "is a directory, expected a file"));
    assert_int_equal(os_write_file(support_temp_dir(), "x", 1, &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "is a directory, expected a file"));
    const char *missing = support_temp_path("missing");
    assert_int_equal(os_map_open(&map, missing, &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, missing));
    assert_non_null(strstr(err.message, "No such file"));
    assert_int_equal(os_read_file(missing, 10, &b, &err), QUERN_ERR_IO);
    assert_int_equal(map.size_bytes, 7); /* untouched on failure */
    assert_int_equal(b.len, 0);
    buffer_release(&b);
}

static void devices_cannot_be_mapped(void **state) {
    (void)state;
    struct os_map map;
    struct quern_error err = {0};
    assert_int_equal(os_map_open(&map, "/dev/null", &err), QUERN_ERR_IO);
    assert_string_equal(err.message, "/dev/null: is not a regular file");
}

static void a_file_is_read_whole_behind_what_the_buffer_holds(void **state) {
    (void)state;
    enum { SIZE = 300000 };
    char *data = malloc(SIZE);
    assert_non_null(data);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)(i * 31 >> 3);
    const char *path = support_temp_path("large");
    support_write_file(path, data, SIZE);
    struct buffer b;
    buffer_init(&b, SIZE + 4);
    buffer_puts(&b, "head");
    assert_int_equal(os_read_file(path, SIZE, &b, NULL), QUERN_OK);
    assert_int_equal(b.len, SIZE + 4);
    assert_memory_equal(b.data, "head", 4);
    assert_memory_equal(b.data + 4, data, SIZE);
    assert_int_equal(b.data[b.len], '\0');
    buffer_release(&b);
    free(data);
}

static void a_file_beyond_the_limit_is_refused_with_both_sizes(void **state) {
    (void)state;
    const char *path = support_temp_path("eleven");
    support_write_file(path, "01234567890", 11);
    struct quern_error err = {0};
    struct buffer b;
    buffer_init(&b, 100);
    assert_int_equal(os_read_file(path, 10, &b, &err), QUERN_ERR_LIMIT);
    assert_non_null(strstr(err.message, "eleven: 11 bytes, the limit is 10"));
    assert_int_equal(os_read_file(path, 11, &b, &err), QUERN_OK);
    buffer_release(&b);
    buffer_init(&b, 10); /* the buffer's own maximum counts as well */
    assert_int_equal(os_read_file(path, 11, &b, &err), QUERN_ERR_LIMIT);
    buffer_release(&b);
}

static void files_without_a_size_are_read_to_their_end(void **state) {
    (void)state;
    struct buffer b;
    buffer_init(&b, 1 << 20);
    assert_int_equal(os_read_file("/proc/self/stat", 1 << 16, &b, NULL), QUERN_OK);
    assert_true(b.len > 10);
    buffer_release(&b);
}

static void an_empty_stream_gives_an_empty_text(void **state) {
    (void)state;
    struct buffer b;
    buffer_init(&b, 10);
    int fd = open("/dev/null", O_RDONLY);
    assert_int_equal(os_read_fd(fd, "input", 10, &b, NULL), QUERN_OK);
    close(fd);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
    buffer_release(&b);
}

static void on_alarm(int signal_number) {
    (void)signal_number;
}

struct slow_pipe {
    int write_fd;
    pthread_t reader;
};

/* Writes in small parts and interrupts the reader between them. */
static void *write_slowly(void *arg) {
    struct slow_pipe *p = arg;
    for (int i = 0; i < 20; i++) {
        usleep(500);
        pthread_kill(p->reader, SIGUSR1);
        usleep(500);
        if (write(p->write_fd, "0123456789", 10) != 10)
            break;
    }
    close(p->write_fd);
    return NULL;
}

static void reading_goes_on_after_short_reads_and_signals(void **state) {
    (void)state;
    struct sigaction act = {.sa_handler = on_alarm}; /* no SA_RESTART: read() gives EINTR */
    sigaction(SIGUSR1, &act, NULL);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct slow_pipe p = {fds[1], pthread_self()};
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, write_slowly, &p), 0);
    struct buffer b;
    buffer_init(&b, 1000);
    assert_int_equal(os_read_fd(fds[0], "pipe", 200, &b, NULL), QUERN_OK);
    assert_int_equal(b.len, 200);
    pthread_join(writer, NULL);
    close(fds[0]);
    buffer_release(&b);
}

static void a_stream_beyond_the_limit_is_refused(void **state) {
    (void)state;
    struct buffer b;
    struct quern_error err = {0};
    buffer_init(&b, 1000);
    int fd = open("/dev/zero", O_RDONLY);
    assert_int_equal(os_read_fd(fd, "zeros", 100, &b, &err), QUERN_ERR_LIMIT);
    close(fd);
    assert_string_equal(err.message, "zeros: longer than the limit of 100 bytes");
    buffer_release(&b);
    assert_int_equal(os_read_fd(-1, "nothing", 100, &b, &err), QUERN_ERR_IO);
    buffer_release(&b);
}

static void a_written_file_replaces_the_old_one_and_leaves_nothing_beside(void **state) {
    (void)state;
    const char *dir = support_temp_path("writing");
    assert_int_equal(os_make_dir(dir, NULL), QUERN_OK);
    char path[4096];
    assert_int_equal(os_path_join(path, sizeof path, dir, "file", NULL), QUERN_OK);
    assert_int_equal(os_write_file(path, "old text", 8, NULL), QUERN_OK);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(os_write_file(path, "new", 3, NULL), QUERN_OK);
    size_t size;
    char *data = support_read_file(path, &size);
    assert_int_equal(size, 3);
    assert_string_equal(data, "new");
    free(data);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0); /* empty: no temporary file stayed */
}

static void writing_follows_links_and_spares_devices(void **state) {
    (void)state;
    const char *target = support_temp_path("target"), *link = support_temp_path("link");
    support_write_file(target, "1", 1);
    assert_int_equal(symlink(target, link), 0);
    assert_int_equal(os_write_file(link, "22", 2, NULL), QUERN_OK);
    char *data = support_read_file(target, NULL);
    assert_string_equal(data, "22");
    free(data);
    assert_int_equal(os_write_file("/dev/null", "x", 1, NULL), QUERN_OK);
    struct stat st;
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
}

static void a_failed_write_keeps_the_old_file(void **state) {
    (void)state;
    const char *dir = support_temp_path("full");
    assert_int_equal(os_make_dir(dir, NULL), QUERN_OK);
    char path[4096];
    assert_int_equal(os_path_join(path, sizeof path, dir, "file", NULL), QUERN_OK);
    assert_int_equal(os_write_file(path, "old", 3, NULL), QUERN_OK);

    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    static const char big[10000];
    struct quern_error err = {0};
    enum quern_status status = os_write_file(path, big, sizeof big, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);

    assert_int_equal(status, QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "cannot write: File too large"));
    char *data = support_read_file(path, NULL);
    assert_string_equal(data, "old");
    free(data);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void directories_are_made_with_their_parents(void **state) {
    (void)state;
    const char *deep = support_temp_path("a//b/c/");
    assert_int_equal(os_make_dir(deep, NULL), QUERN_OK);
    assert_int_equal(os_make_dir(deep, NULL), QUERN_OK);
    assert_true(os_is_dir(deep));
    assert_false(os_file_exists(deep));
    const char *file = support_temp_path("a/file");
    support_write_file(file, "", 0);
    assert_true(os_file_exists(file));
    struct quern_error err = {0};
    assert_int_equal(os_make_dir(file, &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "a/file: cannot make the directory: File exists"));
    assert_int_equal(os_make_dir(support_temp_path("a/file/b"), &err), QUERN_ERR_IO);
}

static void joined_paths_have_one_slash_and_a_limit(void **state) {
    (void)state;
    char path[8];
    assert_int_equal(os_path_join(path, sizeof path, "ab", "cd", NULL), QUERN_OK);
    assert_string_equal(path, "ab/cd");
    assert_int_equal(os_path_join(path, sizeof path, "ab/", "cd", NULL), QUERN_OK);
    assert_string_equal(path, "ab/cd");
    assert_int_equal(os_path_join(path, sizeof path, "/", "cd", NULL), QUERN_OK);
    assert_string_equal(path, "/cd");
    assert_int_equal(os_path_join(path, sizeof path, "", "cd", NULL), QUERN_OK);
    assert_string_equal(path, "cd");
    struct quern_error err = {0};
    assert_int_equal(os_path_join(path, sizeof path, "abcd", "efg", &err), QUERN_ERR_LIMIT);
    assert_string_equal(err.message, "abcd/efg: path longer than 8 bytes");
}

static void the_system_answers_sensibly(void **state) {
    (void)state;
    uint64_t t = os_now_ns();
    usleep(1000);
    assert_true(os_now_ns() - t >= 1000000);
    assert_true(os_cpu_count() >= 1);
    assert_true(os_memory_bytes() > (size_t)1 << 20);
    assert_true(os_rss_bytes() > 0 && os_rss_bytes() < os_memory_bytes());
    assert_int_equal(os_terminal_columns(-1), 80);
    assert_false(os_is_tty(-1));
    assert_true(os_random() != os_random());
}

static volatile sig_atomic_t n_alarms;

static void count_alarm(int signal_number) {
    (void)signal_number;
    n_alarms = n_alarms + 1;
}

static void waiting_for_input_ends_with_input_its_end_or_a_signal(void **state) {
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_true(os_wait_readable(fds[0]));
    char c;
    assert_int_equal(read(fds[0], &c, 1), 1);
    /* Restarting calls are not restarted here. */
    struct sigaction action = {.sa_handler = count_alarm, .sa_flags = SA_RESTART}, old;
    assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
    /* Again and again, in case the first comes before the waiting. */
    struct itimerval soon = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    assert_false(os_wait_readable(fds[0]));
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    assert_true(n_alarms > 0);
    assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
    close(fds[1]);
    assert_true(os_wait_readable(fds[0]));
    close(fds[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mapped_file_holds_its_bytes),
        cmocka_unit_test(a_stamp_tells_size_and_time),
        cmocka_unit_test(a_real_path_has_no_links_and_must_fit),
        cmocka_unit_test(an_empty_file_maps_to_nothing),
        cmocka_unit_test(a_pipe_in_place_of_a_file_is_refused),
        cmocka_unit_test(directories_and_missing_files_are_named),
        cmocka_unit_test(devices_cannot_be_mapped),
        cmocka_unit_test(a_file_is_read_whole_behind_what_the_buffer_holds),
        cmocka_unit_test(a_file_beyond_the_limit_is_refused_with_both_sizes),
        cmocka_unit_test(files_without_a_size_are_read_to_their_end),
        cmocka_unit_test(an_empty_stream_gives_an_empty_text),
        cmocka_unit_test(reading_goes_on_after_short_reads_and_signals),
        cmocka_unit_test(a_stream_beyond_the_limit_is_refused),
        cmocka_unit_test(a_written_file_replaces_the_old_one_and_leaves_nothing_beside),
        cmocka_unit_test(writing_follows_links_and_spares_devices),
        cmocka_unit_test(a_failed_write_keeps_the_old_file),
        cmocka_unit_test(directories_are_made_with_their_parents),
        cmocka_unit_test(joined_paths_have_one_slash_and_a_limit),
        cmocka_unit_test(the_system_answers_sensibly),
        cmocka_unit_test(waiting_for_input_ends_with_input_its_end_or_a_signal),
    };
    return cmocka_run_group_tests_name("os", tests, NULL, NULL);
}
