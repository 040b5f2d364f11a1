"""Writes src/text/unicode_tables.c: what the regular expressions and normalizers of Hugging Face's
`tokenizers` know of every code point, asked of `tokenizers` itself. Its parts follow different versions
of Unicode (the expressions' Oniguruma 16, the normalizers' crate one before 12.1), and no system library follows the
same ones, so neither PCRE2 nor utf8proc could give its ids for every text.

    python scripts/make_unicode_tables.py [--check]      (needs tokenizers 0.23.3)"""
import argparse
import pathlib
import sys
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

OUT = pathlib.Path(__file__).resolve().parent.parent / "src" / "text" / "unicode_tables.c"
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
ALL_TEXT = "".join(map(chr, CODE_POINTS))
LETTER, NUMBER, SPACE, WORD = 1, 2, 4, 8
UNSTABLE = {"NFC": 16, "NFKC": 32, "NFD": 64, "NFKD": 128}
FORMS = {"NFC": normalizers.NFC(), "NFKC": normalizers.NFKC(), "NFD": normalizers.NFD(), "NFKD": normalizers.NFKD()}
HANGUL = range(0xAC00, 0xAC00 + 11172)


def matched_by(expression):
    pieces = pre_tokenizers.Split(Regex(expression), "removed", invert=True).pre_tokenize_str(ALL_TEXT)
    return {ord(c) for piece, _ in pieces for c in piece}


def word_characters():
    """\\w of Rust's regex, which decides about single_word: an added token after one is no word."""
    t = Tokenizer(models.BPE())
    t.add_tokens([AddedToken("\u00a7", single_word=True, normalized=False)])
    marked = [c for c in CODE_POINTS if chr(c) != "\u00a7"]
    words = set()
    for start in range(0, len(marked), 4096):
        part = marked[start:start + 4096]
        found = {a for a, _ in t.encode("".join(chr(c) + "\u00a7 " for c in part)).offsets}
        words.update(c for i, c in enumerate(part) if 3 * i + 1 not in found)
    return words


def combining_classes():
    """Of the marks that the normalizers know; marks added to Unicode later keep their place."""
    out = {}
    for c in CODE_POINTS:
        value = unicodedata.combining(chr(c))
        if value == 0:
            continue
        before, after = ("\u0334", 1) if value > 1 else ("\u0301", 230)
        first, second = (chr(c), before) if value > after else (before, chr(c))
        if FORMS["NFD"].normalize_str("a" + first + second) == FORMS["NFD"].normalize_str("a" + second + first):
            out[c] = value
    return out


def compositions():
    pairs = {}
    for c in CODE_POINTS:
        parts = unicodedata.decomposition(chr(c)).split()
        if len(parts) == 2 and not parts[0].startswith("<") and c not in HANGUL:
            a, b = (int(x, 16) for x in parts)
            if FORMS["NFC"].normalize_str(chr(a) + chr(b)) == chr(c) and FORMS["NFD"].normalize_str(chr(c)) != chr(c):
                pairs[(a, b)] = c
    return pairs


def decompositions():
    canonical, compatible = {}, {}
    for c in CODE_POINTS:
        if c in HANGUL:
            continue
        d, k = FORMS["NFD"].normalize_str(chr(c)), FORMS["NFKD"].normalize_str(chr(c))
        if d != chr(c):
            canonical[c] = d
        if k != d:
            compatible[c] = k
    return canonical, compatible


def properties(ccc, pairs):
    letters, numbers, spaces, words = matched_by(r"\p{L}"), matched_by(r"\p{N}"), matched_by(r"\s"), word_characters()
    seconds = {b for _, b in pairs} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    table = bytearray(0x110000)
    for c in CODE_POINTS:
        p = (LETTER * (c in letters) | NUMBER * (c in numbers) | SPACE * (c in spaces) | WORD * (c in words))
        for form, normalizer in FORMS.items():
            composes = form in ("NFC", "NFKC") and c in seconds
            if c in ccc or composes or normalizer.normalize_str(chr(c)) != chr(c):
                p |= UNSTABLE[form]
        table[c] = p
    return table, letters, numbers


def two_stages(table, shift):
    blocks, stage1, stage2 = {}, [], []
    for i in range(0, len(table), 1 << shift):
        block = bytes(table[i:i + (1 << shift)])
        if block not in blocks:
            blocks[block] = len(blocks)
            stage2.extend(block)
        stage1.append(blocks[block])
    return stage1, stage2


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def later_than_14(points, category):
    """What PCRE2 10.42 (Unicode 14) does not know yet; named to it in so many words."""
    return ranges(c for c in points if unicodedata.category(chr(c))[0] != category)


def array(declaration, values, form="{}"):
    lines, line = [], "   "
    for v in values:
        text = " " + form.format(v) + ","
        if len(line) + len(text) > 108:
            lines.append(line)
            line = "   "
        line += text
    return f"{declaration}[] = {{\n" + "\n".join(lines + [line]) + "\n};\n"


def entries(declaration, rows):
    return array(declaration, ["{" + ", ".join(hex(x) for x in row) + "}" for row in rows])


def mapping_rows(mapping, data):
    rows = []
    for c, text in sorted(mapping.items()):
        rows.append((c, len(data), len(text)))
        data.extend(map(ord, text))
    return rows


def make():
    assert unicodedata.unidata_version == "14.0.0", "the ranges for PCRE2 count from Unicode 14 (Python 3.11)"
    ccc, pairs = combining_classes(), compositions()
    table, letters, numbers = properties(ccc, pairs)
    stage1, stage2 = two_stages(table, 7)
    canonical, compatible = decompositions()
    data = []
    canonical_rows, compatible_rows = mapping_rows(canonical, data), mapping_rows(compatible, data)
    ccc_rows = []
    for c in sorted(ccc):
        if ccc_rows and ccc_rows[-1][1] == c - 1 and ccc_rows[-1][2] == ccc[c]:
            ccc_rows[-1][1] = c
        else:
            ccc_rows.append([c, c, ccc[c]])
    parts = [
        "/* Made by scripts/make_unicode_tables.py from tokenizers 0.23.3. Do not edit. */\n"
        '#include "text/unicode_tables.h"\n',
        array("const uint16_t unicode_stage1", stage1),
        array("const uint8_t unicode_stage2", stage2),
        entries("const struct unicode_ccc unicode_ccc", ccc_rows),
        entries("const struct unicode_mapping unicode_canonical", canonical_rows),
        entries("const struct unicode_mapping unicode_compatible", compatible_rows),
        array("const uint32_t unicode_mapping_data", data, "{:#x}"),
        entries("const struct unicode_pair unicode_pairs", [(a, b, c) for (a, b), c in sorted(pairs.items())]),
        entries("const struct unicode_range unicode_new_letters", later_than_14(letters, "L")),
        entries("const struct unicode_range unicode_new_numbers", later_than_14(numbers, "N")),
    ]
    names = ["ccc", "canonical", "compatible", "pairs", "new_letters", "new_numbers"]
    parts += ["\n".join(f"const size_t unicode_n_{n} = sizeof unicode_{n} / sizeof unicode_{n}[0];" for n in names) + "\n"]
    print(f"stage1 {len(stage1)}, stage2 {len(stage2)}, ccc {len(ccc_rows)}, canonical {len(canonical)}, "
          f"compatible {len(compatible)}, data {len(data)}, pairs {len(pairs)}")
    return "\n".join(parts)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file would change")
    args = parser.parse_args()
    text = make()
    same = OUT.exists() and OUT.read_text() == text
    if not same and not args.check:
        OUT.write_text(text)
    print("unchanged" if same else "changed")
    return 1 if args.check and not same else 0


if __name__ == "__main__":
    sys.exit(main())
