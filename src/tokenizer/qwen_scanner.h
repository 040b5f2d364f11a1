/* qwen_scanner.h - the patterns of Qwen2/2.5/3 and Llama 3, which differ only in how many digits
 * make a word, by hand: one look at each character where a regular expression tries seven
 * alternatives. Proved equal to the pattern by tests/unit/tokenizer/test_qwen_scanner.c and
 * fuzz/fuzz_pretokenize.c. */
#ifndef QUERN_TOKENIZER_QWEN_SCANNER_H
#define QUERN_TOKENIZER_QWEN_SCANNER_H

#include "base/str.h"

#define QWEN_PATTERN                                                    \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA3_PATTERN                                                       \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* The most digits in a word under this pattern, or 0 when the pattern is another. */
int qwen_scanner_digits(struct str pattern);

/* The end of the word that begins at `begin` (< text.len) of valid UTF-8. Every word is a match:
 * the pattern leaves nothing between. */
size_t qwen_scanner_next(struct str text, size_t begin, int max_digits);

#endif
