#include "model/workspace.h"

#include <string.h>

#include "support/support.h"

static struct model model = {
    .config = {.vocab_size = 50,
               .hidden_size = 24,
               .intermediate_size = 40,
               .moe_intermediate_size = 56,
               .n_heads = 4,
               .n_kv_heads = 2,
               .head_dim = 10,
               .n_experts = 6,
               .n_experts_per_token = 2},
};

static int open_device(void **state) {
    (void)state;
    return device_cpu_create(1, NULL, &model.device, NULL) != QUERN_OK;
}

static int close_device(void **state) {
    (void)state;
    device_destroy(model.device);
    return 0;
}

/* Every slice is filled with its own number; no other's may be overwritten by that. */
static void slices_are_aligned_and_do_not_overlap(void **state) {
    (void)state;
    enum { T = 40 };
    struct workspace *ws = NULL;
    assert_int_equal(workspace_create(&model, T, 100, &ws, NULL), QUERN_OK);
    const struct {
        float *slice;
        size_t floats;
    } all[] = {
        {ws->x, T * 24},       {ws->h, T * 24},         {ws->q, T * 40},
        {ws->k, T * 20},       {ws->v, T * 20},         {ws->attended, T * 40},
        {ws->gate, T * 56},    {ws->up, T * 56},        {ws->cos, T * 5},
        {ws->sin, T * 5},      {ws->logits, 32 * 50},   {ws->router, T * 6},
        {ws->moe_out, T * 24}, {ws->expert_in, T * 24}, {ws->expert_out, T * 24},
    };
    enum { N = sizeof all / sizeof *all };
    for (size_t i = 0; i < N; i++) {
        assert_int_equal((uintptr_t)all[i].slice % 64, 0);
        for (size_t k = 0; k < all[i].floats; k++)
            all[i].slice[k] = (float)i;
    }
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < all[i].floats; k++)
            assert_true(all[i].slice[k] == (float)i);
    workspace_destroy(ws);
    workspace_destroy(NULL);
}

static void a_pass_beyond_addresses_is_refused(void **state) {
    (void)state;
    struct workspace *ws = NULL;
    struct quern_error err = {0};
    assert_int_equal(workspace_create(&model, SIZE_MAX / 200, 100, &ws, &err), QUERN_ERR_LIMIT);
    assert_non_null(strstr(err.message, "too large"));
    assert_null(ws);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_are_aligned_and_do_not_overlap),
        cmocka_unit_test(a_pass_beyond_addresses_is_refused),
    };
    return cmocka_run_group_tests_name("workspace", tests, open_device, close_device);
}
