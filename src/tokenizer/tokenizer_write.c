#include "tokenizer/tokenizer_write.h"

#include "text/json.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/qwen_scanner.h"

#define SPECIAL(text) {{(text), sizeof(text) - 1}, true}
#define PLAIN(text) {{(text), sizeof(text) - 1}, false}

const struct token_to_add *tokenizer_qwen3_added(size_t *n) {
    static const struct token_to_add tokens[] = {
        SPECIAL("<|endoftext|>"),        SPECIAL("<|im_start|>"),     SPECIAL("<|im_end|>"),
        SPECIAL("<|object_ref_start|>"), SPECIAL("<|object_ref_end|>"), SPECIAL("<|box_start|>"),
        SPECIAL("<|box_end|>"),          SPECIAL("<|quad_start|>"),   SPECIAL("<|quad_end|>"),
        SPECIAL("<|vision_start|>"),     SPECIAL("<|vision_end|>"),   SPECIAL("<|vision_pad|>"),
        SPECIAL("<|image_pad|>"),        SPECIAL("<|video_pad|>"),    PLAIN("<tool_call>"),
        PLAIN("</tool_call>"),           PLAIN("<|fim_prefix|>"),     PLAIN("<|fim_middle|>"),
        PLAIN("<|fim_suffix|>"),         PLAIN("<|fim_pad|>"),        PLAIN("<|repo_name|>"),
        PLAIN("<|file_sep|>"),           PLAIN("<tool_response>"),    PLAIN("</tool_response>"),
        PLAIN("<think>"),                PLAIN("</think>"),
    };
    *n = sizeof tokens / sizeof *tokens;
    return tokens;
}

static void write_token(struct str bytes, struct buffer *scratch, struct buffer *out) {
    buffer_clear(scratch);
    byte_level_encode(bytes, scratch);
    if (scratch->failed && !out->failed)
        out->failed = scratch->failed;
    json_write_string(buffer_str(scratch), out);
}

/* The vocabulary's id of a spelling, or -1. */
static int64_t find(const struct bpe_trained *t, struct str spelling, struct buffer *scratch) {
    for (size_t i = 0; i < t->n_tokens; i++) {
        buffer_clear(scratch);
        byte_level_encode(t->tokens[i], scratch);
        if (str_eq(buffer_str(scratch), spelling))
            return (int64_t)i;
    }
    return -1;
}

static void write_added(const struct bpe_trained *t, const struct token_to_add *added, size_t n,
                        struct buffer *scratch, struct buffer *out) {
    size_t next = t->n_tokens;
    buffer_puts(out, "  \"added_tokens\": [");
    for (size_t i = 0; i < n; i++) {
        int64_t id = find(t, added[i].content, scratch);
        buffer_printf(out, "%s\n    {\n      \"id\": %lld,\n      \"content\": ", i ? "," : "",
                      id >= 0 ? (long long)id : (long long)next++);
        json_write_string(added[i].content, out);
        buffer_printf(out,
                      ",\n      \"single_word\": false,\n      \"lstrip\": false,\n"
                      "      \"rstrip\": false,\n      \"normalized\": false,\n"
                      "      \"special\": %s\n    }",
                      added[i].special ? "true" : "false");
    }
    buffer_puts(out, n ? "\n  ],\n" : "],\n");
}

static void write_stages(struct buffer *out) {
    buffer_puts(out, "  \"normalizer\": {\n    \"type\": \"NFC\"\n  },\n"
                     "  \"pre_tokenizer\": {\n    \"type\": \"Sequence\",\n"
                     "    \"pretokenizers\": [\n      {\n        \"type\": \"Split\",\n"
                     "        \"pattern\": {\n          \"Regex\": ");
    json_write_string(STR_LIT(QWEN_PATTERN), out);
    buffer_puts(out, "\n        },\n        \"behavior\": \"Isolated\",\n"
                     "        \"invert\": false\n      },\n      {\n"
                     "        \"type\": \"ByteLevel\",\n        \"add_prefix_space\": false,\n"
                     "        \"trim_offsets\": false,\n        \"use_regex\": false\n"
                     "      }\n    ]\n  },\n");
    /* `tokenizers` writes the decoder's settings so, which do nothing there. */
    static const char *const ends[][2] = {{"post_processor", "false"}, {"decoder", "true"}};
    for (size_t i = 0; i < 2; i++)
        buffer_printf(out,
                      "  \"%s\": {\n    \"type\": \"ByteLevel\",\n    \"add_prefix_space\": %s,\n"
                      "    \"trim_offsets\": %s,\n    \"use_regex\": %s\n  },\n",
                      ends[i][0], ends[i][1], ends[i][1], ends[i][1]);
}

static void write_model(const struct bpe_trained *t, struct buffer *scratch, struct buffer *out) {
    buffer_puts(out, "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n"
                     "    \"unk_token\": null,\n    \"continuing_subword_prefix\": null,\n"
                     "    \"end_of_word_suffix\": null,\n    \"fuse_unk\": false,\n"
                     "    \"byte_fallback\": false,\n    \"ignore_merges\": false,\n"
                     "    \"vocab\": {");
    for (size_t i = 0; i < t->n_tokens; i++) {
        buffer_puts(out, i ? ",\n      " : "\n      ");
        write_token(t->tokens[i], scratch, out);
        buffer_printf(out, ": %zu", i);
    }
    buffer_puts(out, "\n    },\n    \"merges\": [");
    for (size_t i = 0; i < t->n_merges; i++) {
        buffer_puts(out, i ? ",\n      [\n        " : "\n      [\n        ");
        write_token(t->tokens[t->merges[i].left], scratch, out);
        buffer_puts(out, ",\n        ");
        write_token(t->tokens[t->merges[i].right], scratch, out);
        buffer_puts(out, "\n      ]");
    }
    buffer_puts(out, t->n_merges ? "\n    ]\n  }\n}" : "]\n  }\n}");
}

void tokenizer_write(const struct bpe_trained *t, const struct token_to_add *added, size_t n_added,
                     struct buffer *out) {
    struct buffer scratch;
    buffer_init(&scratch, SIZE_MAX / 4);
    buffer_puts(out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
    write_added(t, added, n_added, &scratch, out);
    write_stages(out);
    write_model(t, &scratch, out);
    buffer_release(&scratch);
}
