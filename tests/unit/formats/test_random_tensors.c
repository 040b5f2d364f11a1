#include "formats/random_tensors.h"

#include <stdio.h>
#include <stdlib.h>

#include "formats/tensor_layout.h"
#include "support/support.h"

static struct hf_config fixture(const char *name) {
    char file[128];
    struct hf_config c;
    struct quern_error err = {0};
    size_t len;
    snprintf(file, sizeof file, "fixtures/configs/%s.json", name);
    char *text = support_read_file(support_fixture(file), &len);
    if (hf_config_parse(text, len, name, &c, &err))
        fail_msg("%s", err.message);
    free(text);
    /* The fixtures are published sizes. */
    c.n_layers = 2;
    c.vocab_size = 1000;
    c.hidden_size = 128;
    c.intermediate_size = 192;
    c.n_experts = c.n_experts ? 4 : 0;
    c.moe_intermediate_size = 64;
    return c;
}

static struct checkpoint *make(const struct hf_config *c, bool overlapping) {
    struct checkpoint *out = NULL;
    struct quern_error err = {0};
    if (random_tensors_create(c, overlapping, NULL, &out, &err))
        fail_msg("%s", err.message);
    return out;
}

static const uint16_t *values(const struct tensor *t) {
    return t->data;
}

static void every_tensor_of_the_layout_is_there(void **state) {
    (void)state;
    static const char *const names[] = {"qwen3_new_keys", "qwen3_moe", "qwen2", "llama3"};
    for (size_t i = 0; i < 2 * sizeof names / sizeof *names; i++) {
        struct hf_config c = fixture(names[i / 2]);
        struct checkpoint *all = make(&c, i % 2);
        struct tensor_layout walk;
        struct tensor_spec spec;
        size_t n = 0;
        for (tensor_layout_begin(&walk, &c); tensor_layout_next(&walk, &spec); n++) {
            const struct tensor *t = checkpoint_find(all, spec.name);
            assert_non_null(t);
            assert_int_equal(t->dtype, DTYPE_BF16);
            assert_int_equal(t->rank, spec.rank);
            assert_int_equal(t->shape[0], spec.shape[0]);
            assert_int_equal(t->size_bytes,
                             2 * spec.shape[0] * (spec.rank == 2 ? spec.shape[1] : 1));
            const bool vector = spec.rank == 1;
            assert_true(!vector ||
                        values(t)[0] == (spec.role == TENSOR_NORM ? f32_to_bf16(1) : 0));
            /* The last element is in the memory, too, and drawn. */
            assert_true(vector || values(t)[t->size_bytes / 2 - 1] != 0);
        }
        assert_int_equal(n, checkpoint_count(all));
        checkpoint_close(all);
    }
}

static void matrices_share_memory_only_when_asked(void **state) {
    (void)state;
    struct hf_config c = fixture("qwen3_new_keys");
    struct checkpoint *apart = make(&c, false), *shared = make(&c, true);
    const char *q = "model.layers.0.self_attn.q_proj.weight";
    const char *k = "model.layers.0.self_attn.k_proj.weight";
    assert_ptr_not_equal(checkpoint_find(apart, q)->data, checkpoint_find(apart, k)->data);
    assert_ptr_equal(checkpoint_find(shared, q)->data, checkpoint_find(shared, k)->data);
    assert_true(random_tensors_bytes(&c, true) < random_tensors_bytes(&c, false));
    assert_true(random_tensors_bytes(&c, false) >= checkpoint_total_bytes(apart));
    checkpoint_close(apart);
    checkpoint_close(shared);
}

static void threads_do_not_change_the_numbers(void **state) {
    (void)state;
    struct hf_config c = fixture("qwen3_new_keys");
    struct thread_pool *pool = NULL;
    struct checkpoint *one = make(&c, false), *three = NULL;
    assert_int_equal(thread_pool_create(3, &pool, NULL), QUERN_OK);
    assert_int_equal(random_tensors_create(&c, false, pool, &three, NULL), QUERN_OK);
    for (size_t i = 0; i < checkpoint_count(one); i++) {
        const struct tensor *a = checkpoint_at(one, i), *b = checkpoint_at(three, i);
        assert_string_equal(a->name, b->name);
        assert_memory_equal(a->data, b->data, a->size_bytes);
    }
    checkpoint_close(one);
    checkpoint_close(three);
    thread_pool_destroy(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tensor_of_the_layout_is_there),
        cmocka_unit_test(matrices_share_memory_only_when_asked),
        cmocka_unit_test(threads_do_not_change_the_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
