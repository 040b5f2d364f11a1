#include "base/options.h"

#include <string.h>

#include "support/support.h"

struct args {
    bool raw, verbose;
    const char *model, *cpu;
    int64_t n;
    double temp;
    struct option_list stops;
};

static const struct option_spec specs[] = {
    OPT_STRING('m', "model", "DIR", struct args, model, "model directory"),
    OPT_INT('n', "max-tokens", "N", struct args, n, -5, 100, "most tokens to make"),
    OPT_FLOAT(0, "temp", "T", struct args, temp, 0, 2, "sampling temperature"),
    OPT_FLAG('r', "raw", struct args, raw, "no chat template"),
    OPT_FLAG('v', "verbose", struct args, verbose, "say more"),
    OPT_CHOICE(0, "cpu", "auto|generic|avx2", struct args, cpu, "instruction set"),
    OPT_LIST('s', "stop", "TEXT", struct args, stops,
             "stop before this text; may be given up to sixteen times and is never printed"),
    OPT_END};

enum { MAX_ARGV = 40 };

struct parsed {
    struct args args;
    char *argv[MAX_ARGV];
    int n_words;
    bool help;
    struct quern_error err;
    enum quern_status status;
};

static void parse(struct parsed *p, size_t n, const char *const *words) {
    memset(p, 0, sizeof *p);
    p->argv[0] = (char *)(uintptr_t) "quern";
    for (size_t i = 0; i < n; i++)
        p->argv[i + 1] = (char *)(uintptr_t)words[i];
    p->status = options_parse(specs, (int)n + 1, p->argv, &p->args, &p->n_words, &p->help, &p->err);
}

#define PARSE(p, ...)                                                                          \
    parse(p, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *),                           \
          (const char *const[]){__VA_ARGS__})

static void every_way_to_give_a_value_works(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, "-m", "a", "-n7", "--temp", "0.5", "--cpu=avx2", "-rv");
    assert_int_equal(p.status, QUERN_OK);
    assert_string_equal(p.args.model, "a");
    assert_int_equal(p.args.n, 7);
    assert_true(p.args.temp == 0.5);
    assert_string_equal(p.args.cpu, "avx2");
    assert_true(p.args.raw && p.args.verbose);
    assert_int_equal(p.n_words, 0);
    PARSE(&p, "--model=", "-n", "-5", "-rmx");
    assert_int_equal(p.status, QUERN_OK);
    assert_string_equal(p.args.model, "x");
    assert_int_equal(p.args.n, -5);
    assert_true(p.args.raw && !p.args.verbose);
}

static void words_move_to_the_front_in_order(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, "one", "-r", "-", "--", "-n", "--raw");
    assert_int_equal(p.status, QUERN_OK);
    assert_int_equal(p.n_words, 4);
    assert_string_equal(p.argv[1], "one");
    assert_string_equal(p.argv[2], "-");
    assert_string_equal(p.argv[3], "-n");
    assert_string_equal(p.argv[4], "--raw");
}

static void a_list_collects_its_values(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, "--stop", "a", "-sb", "--stop=");
    assert_int_equal(p.status, QUERN_OK);
    assert_int_equal(p.args.stops.n, 3);
    assert_string_equal(p.args.stops.items[1], "b");
    assert_string_equal(p.args.stops.items[2], "");
    const char *many[OPTION_LIST_MAX + 1];
    for (size_t i = 0; i < OPTION_LIST_MAX + 1; i++)
        many[i] = "-sx";
    parse(&p, OPTION_LIST_MAX, many);
    assert_int_equal(p.status, QUERN_OK);
    parse(&p, OPTION_LIST_MAX + 1, many);
    assert_int_equal(p.status, QUERN_ERR_LIMIT);
    assert_string_equal(p.err.message, "-s: given more than 16 times");
}

static void help_stops_the_parsing(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, "-r", "--help", "--nonsense");
    assert_int_equal(p.status, QUERN_OK);
    assert_true(p.help && p.args.raw);
    PARSE(&p, "-rh");
    assert_true(p.help);
    PARSE(&p, "-m", "-h");
    assert_false(p.help);
}

static void mistakes_are_explained(void **state) {
    (void)state;
    static const struct {
        const char *words[2], *message;
    } cases[] = {
        {{"--max-token", "1"}, "unknown option --max-token; did you mean --max-tokens?"},
        {{"--row", "1"}, "unknown option --row; did you mean --raw?"},
        {{"--frequency", "1"}, "unknown option --frequency"},
        {{"-x", "1"}, "unknown option -x"},
        {{"a", "-m"}, "-m: a value is missing (-m DIR)"},
        {{"a", "--temp"}, "--temp: a value is missing (--temp T)"},
        {{"--raw=1", "a"}, "--raw takes no value"},
        {{"-n", "3x"}, "-n: \"3x\" is not a whole number"},
        {{"-n", ""}, "-n: \"\" is not a whole number"},
        {{"--max-tokens", "101"}, "--max-tokens: 101 is outside -5 to 100"},
        {{"-n", "99999999999999999999"}, "-n: 99999999999999999999 is outside -5 to 100"},
        {{"--temp", "warm"}, "--temp: \"warm\" is not a number"},
        {{"--temp", "nan"}, "--temp: \"nan\" is not a number"},
        {{"--temp", "inf"}, "--temp: inf is outside 0 to 2"},
        {{"--temp", "-0.1"}, "--temp: -0.1 is outside 0 to 2"},
        {{"--cpu", "avx"}, "--cpu: \"avx\" is not one of auto|generic|avx2"},
        {{"--cpu", ""}, "--cpu: \"\" is not one of auto|generic|avx2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct parsed p;
        parse(&p, 2, cases[i].words);
        assert_int_equal(p.status, QUERN_ERR_ARG);
        assert_string_equal(p.err.message, cases[i].message);
    }
}

static void the_description_lines_up(void **state) {
    (void)state;
    struct buffer b;
    buffer_init(&b, 10000);
    options_describe(specs, &b);
    assert_int_equal(b.failed, QUERN_OK);
    assert_string_equal(
        b.data,
        "Options:\n"
        "  -m, --model DIR           model directory\n"
        "  -n, --max-tokens N        most tokens to make\n"
        "      --temp T              sampling temperature\n"
        "  -r, --raw                 no chat template\n"
        "  -v, --verbose             say more\n"
        "      --cpu auto|generic|avx2\n"
        "                            instruction set\n"
        "  -s, --stop TEXT           stop before this text; may be given up to sixteen\n"
        "                            times and is never printed\n"
        "  -h, --help                show this help\n");
    buffer_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_to_give_a_value_works),
        cmocka_unit_test(words_move_to_the_front_in_order),
        cmocka_unit_test(a_list_collects_its_values),
        cmocka_unit_test(help_stops_the_parsing),
        cmocka_unit_test(mistakes_are_explained),
        cmocka_unit_test(the_description_lines_up),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
