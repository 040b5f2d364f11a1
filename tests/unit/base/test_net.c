#include "base/net.h"

#include <string.h>

#include "base/os.h"
#include "base/sync.h"
#include "support/support.h"

static void a_connection_carries_bytes_and_its_end_is_seen(void **state) {
    (void)state;
    struct net_listener l;
    struct quern_error err = {0};
    int fd = -1;
    assert_int_equal(net_listen("127.0.0.1", 0, 4, &l, &err), QUERN_OK);
    assert_true(l.port > 0 && l.is_loopback);
    assert_int_equal(net_connect("127.0.0.1", l.port, 1000, &fd, &err), QUERN_OK);
    assert_int_equal(net_send_all(fd, "hello", 5, &err), QUERN_OK);
    char byte;
    size_t n = 0;
    net_close(l.fd); /* nobody accepted it: the system ends the connection */
    assert_true(net_receive(fd, &byte, 1, &n, &err) != QUERN_OK || n == 0);
    net_close(fd);
    assert_int_equal(net_connect("127.0.0.1", l.port, 1000, &fd, &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "127.0.0.1"));
}

static void addresses_beyond_this_machine_are_known_as_such(void **state) {
    (void)state;
    struct net_listener l;
    struct quern_error err = {0};
    assert_int_equal(net_listen("0.0.0.0", 0, 4, &l, &err), QUERN_OK);
    assert_false(l.is_loopback);
    net_close(l.fd);
    assert_int_equal(net_listen("no such host", 0, 4, &l, &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "no such host"));
}

static void a_bell_rung_before_the_wait_is_heard_once(void **state) {
    (void)state;
    struct waker w;
    assert_int_equal(waker_open(&w, NULL), QUERN_OK);
    assert_int_equal(waker_wait(&w, -1, 0), WAKER_TIMEOUT);
    waker_ring(&w);
    waker_ring(&w);
    assert_int_equal(waker_wait(&w, -1, 1000), WAKER_RUNG);
    assert_int_equal(waker_wait(&w, -1, 1), WAKER_TIMEOUT);
    waker_close(&w);
}

static void ring(void *user) {
    os_sleep_ns(20000000);
    waker_ring(user);
}

static void a_bell_wakes_who_waits(void **state) {
    (void)state;
    struct waker w;
    struct thread t = {0};
    assert_int_equal(waker_open(&w, NULL), QUERN_OK);
    assert_int_equal(thread_start(&t, "ringer", ring, &w, NULL), QUERN_OK);
    assert_int_equal(waker_wait(&w, -1, -1), WAKER_RUNG);
    thread_join(&t);
    waker_close(&w);
}

static void a_peer_that_goes_is_noticed_while_waiting(void **state) {
    (void)state;
    struct net_listener l;
    struct waker w;
    int fd = -1;
    assert_int_equal(waker_open(&w, NULL), QUERN_OK);
    assert_int_equal(net_listen("127.0.0.1", 0, 4, &l, NULL), QUERN_OK);
    assert_int_equal(net_connect("127.0.0.1", l.port, 1000, &fd, NULL), QUERN_OK);
    assert_int_equal(waker_wait(&w, fd, 1), WAKER_TIMEOUT);
    net_close(l.fd);
    assert_int_equal(waker_wait(&w, fd, 1000), WAKER_PEER_GONE);
    net_close(fd);
    waker_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_carries_bytes_and_its_end_is_seen),
        cmocka_unit_test(addresses_beyond_this_machine_are_known_as_such),
        cmocka_unit_test(a_bell_rung_before_the_wait_is_heard_once),
        cmocka_unit_test(a_bell_wakes_who_waits),
        cmocka_unit_test(a_peer_that_goes_is_noticed_while_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
