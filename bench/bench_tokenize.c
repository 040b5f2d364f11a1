/* bench_tokenize - times the tokenizer. Without arguments it encodes text that it makes itself with
 * the small test tokenizer. With --serve DIR it obeys lines on stdin, for bench/peers/tokenizers.py
 * and tests/golden/compare_tokenizers.py:
 *     load           -> "SECONDS"        opens DIR anew
 *     encode FILE N  -> "SECONDS IDS"    FILE in pieces of at most N bytes (0: in one)
 *     ids FILE OUT   -> "IDS"            writes the ids as int32 to OUT
 *     decode FILE OUT-> "BYTES"          FILE: ids as int32; writes the text to OUT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "text/unicode.h"
#include "tokenizer/tokenizer.h"

static double seconds_since(uint64_t start_ns) {
    return (double)(os_now_ns() - start_ns) * 1e-9;
}

static int complain(const struct quern_error *err) {
    fprintf(stderr, "bench_tokenize: %s\n", err->message);
    return 1;
}

/* Cuts behind a line break where there is one, else before a character. */
static size_t piece_end(struct str text, size_t begin, size_t most) {
    if (most == 0 || text.len - begin <= most)
        return text.len;
    size_t end = begin + most;
    for (size_t i = end; i > begin; i--)
        if (text.ptr[i - 1] == '\n')
            return i;
    while (end > begin + 1 && (text.ptr[end] & 0xC0) == 0x80)
        end--;
    return end;
}

static int encode_file(const struct tokenizer *t, const char *path, size_t most,
                       const char *out_path) {
    struct quern_error err;
    struct buffer text;
    struct token_ids ids = {0};
    buffer_init(&text, (size_t)1 << 32);
    if (os_read_file(path, text.max, &text, &err))
        return complain(&err);
    struct encode_options options = {.parse_special = true};
    size_t total = 0;
    uint64_t start = os_now_ns();
    for (size_t at = 0; at < text.len;) {
        size_t end = piece_end(buffer_str(&text), at, most);
        ids.n = 0;
        if (tokenizer_encode(t, (struct str){text.data + at, end - at}, options, &ids, &err))
            return complain(&err);
        total += ids.n;
        at = end;
    }
    double seconds = seconds_since(start);
    if (out_path) {
        if (os_write_file(out_path, ids.ids, ids.n * sizeof *ids.ids, &err))
            return complain(&err);
        printf("%zu\n", total);
    } else {
        printf("%.9f %zu\n", seconds, total);
    }
    token_ids_release(&ids);
    buffer_release(&text);
    return 0;
}

static int decode_file(const struct tokenizer *t, const char *path, const char *out_path) {
    struct quern_error err;
    struct buffer ids, text;
    buffer_init(&ids, (size_t)1 << 32);
    buffer_init(&text, (size_t)1 << 32);
    if (os_read_file(path, ids.max, &ids, &err))
        return complain(&err);
    if (tokenizer_decode(t, (const int32_t *)(const void *)ids.data, ids.len / 4, false, &text,
                         &err))
        return complain(&err);
    if (os_write_file(out_path, text.data, text.len, &err))
        return complain(&err);
    printf("%zu\n", text.len);
    buffer_release(&ids);
    buffer_release(&text);
    return 0;
}

static int serve(const char *dir) {
    struct quern_error err;
    struct tokenizer *t = NULL;
    char line[4096], a[2048], b[2048];
    if (tokenizer_open(dir, &t, &err))
        return complain(&err);
    int failed = 0;
    while (!failed && fgets(line, sizeof line, stdin)) {
        size_t most;
        if (strcmp(line, "load\n") == 0) {
            struct tokenizer *again;
            uint64_t start = os_now_ns();
            if (tokenizer_open(dir, &again, &err))
                return complain(&err);
            printf("%.9f\n", seconds_since(start));
            tokenizer_close(again);
        } else if (sscanf(line, "encode %2047s %zu", a, &most) == 2) {
            failed = encode_file(t, a, most, NULL);
        } else if (sscanf(line, "ids %2047s %2047s", a, b) == 2) {
            failed = encode_file(t, a, 0, b);
        } else if (sscanf(line, "decode %2047s %2047s", a, b) == 2) {
            failed = decode_file(t, a, b);
        } else {
            fprintf(stderr, "bench_tokenize: not a command: %s", line);
            failed = 1;
        }
        fflush(stdout);
    }
    tokenizer_close(t);
    return failed;
}

static int time_text(const struct tokenizer *t, const char *name, struct str text) {
    struct quern_error err;
    struct token_ids ids = {0};
    double best = 1e9;
    for (int round = 0; round < 5; round++) {
        ids.n = 0;
        uint64_t start = os_now_ns();
        if (tokenizer_encode(t, text, (struct encode_options){.parse_special = true}, &ids, &err))
            return complain(&err);
        double seconds = seconds_since(start);
        best = seconds < best ? seconds : best;
    }
    printf("%-28s %8.1f MB/s %8.2f Mtok/s\n", name, (double)text.len / best * 1e-6,
           (double)ids.n / best * 1e-6);
    token_ids_release(&ids);
    return 0;
}

/* One megabyte of one unit: no place to cut where a cut would help. */
static int time_run(const struct tokenizer *t, const char *name, const char *unit) {
    enum { SIZE = 1 << 20 };
    struct buffer text;
    buffer_init(&text, 2 * SIZE);
    while (text.len < SIZE)
        buffer_puts(&text, unit);
    int failed = time_text(t, name, buffer_str(&text));
    buffer_release(&text);
    return failed;
}

static int time_cjk(const struct tokenizer *t) {
    struct buffer text;
    buffer_init(&text, 4 << 20);
    uint32_t x = 1;
    for (int i = 0; i < 350000; i++) {
        x = x * 1664525u + 1013904223u;
        char c[4];
        int n = utf8_encode((int32_t)(0x4E00 + (x >> 8) % 20902), c);
        buffer_append(&text, c, (size_t)n);
    }
    int failed = time_text(t, "1 MB of CJK without a break", buffer_str(&text));
    buffer_release(&text);
    return failed;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--serve") == 0)
        return serve(argv[2]);
    const char *dir = argc == 2 ? argv[1] : "tests/fixtures/qwen3-tiny";
    struct quern_error err;
    struct tokenizer *t;
    uint64_t start = os_now_ns();
    if (tokenizer_open(dir, &t, &err))
        return complain(&err);
    printf("%-28s %8.1f ms\n", "load", seconds_since(start) * 1e3);
    int failed =
        time_run(t, "prose", "It was the best of times, it was the worst of times; 1789! ") ||
        time_run(t, "1 MB of 'a'", "a") || time_run(t, "1 MB of spaces", " ") ||
        time_run(t, "1 MB of digits", "0123456789") || time_cjk(t);
    tokenizer_close(t);
    return failed;
}
