#!/usr/bin/env python3
"""Writes src/chat/jinja_text_tables.h: the facts about characters that Python's str
methods use and utf8proc does not tell (full case mappings, digits, other cased letters).

    scripts/make_python_text_tables.py > src/chat/jinja_text_tables.h
"""
import sys
import unicodedata

CHARS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def ranges(name, comment, chars):
    found = [ord(c) for c in chars]
    spans = []
    for c in found:
        if spans and spans[-1][1] == c - 1:
            spans[-1][1] = c
        else:
            spans.append([c, c])
    print(f"\n/* {comment} */\nstatic const struct jtext_range {name}[] = {{")
    line = "   "
    for lo, hi in spans:
        item = f" {{0x{lo:04X}, 0x{hi:04X}}},"
        if len(line) + len(item) > 100:
            print(line)
            line = "   "
        line += item
    print(line + "\n};")


def quoted(text):
    return '"' + "".join(f"\\x{b:02X}" for b in text.encode()) + '"'


def special(name, comment, mapped):
    print(f"\n/* {comment} */\nstatic const struct jtext_special {name}[] = {{")
    for c in CHARS:
        if len(mapped(c)) > 1:
            print(f"    {{0x{ord(c):04X}, {quoted(mapped(c))}}},")
    print("};")


def category(c):
    return unicodedata.category(c)


print(f"""/* jinja_text_tables.h - made by scripts/make_python_text_tables.py (Unicode {unicodedata.unidata_version},
 * Python {sys.version_info.major}.{sys.version_info.minor}); do not edit. All sorted by code point. */
#ifndef QUERN_CHAT_JINJA_TEXT_TABLES_H
#define QUERN_CHAT_JINJA_TEXT_TABLES_H

#include <stdint.h>

struct jtext_range {{
    int32_t first, last;
}};

struct jtext_special {{
    int32_t code_point;
    const char *text;
}};""")
ranges("jtext_digits", "str.isdigit() and not category Nd",
       [c for c in CHARS if c.isdigit() and category(c) != "Nd"])
ranges("jtext_numerics", "str.isnumeric() and not category N*",
       [c for c in CHARS if c.isnumeric() and category(c)[0] != "N"])
ranges("jtext_other_lower", "str.islower() and not category Ll",
       [c for c in CHARS if c.islower() and category(c) != "Ll"])
ranges("jtext_other_upper", "str.isupper() and not category Lu",
       [c for c in CHARS if c.isupper() and category(c) != "Lu"])
special("jtext_upper", "upper() of more than one character", str.upper)
special("jtext_title", "title() of more than one character", str.title)
special("jtext_lower", "lower() of more than one character", str.lower)
print("\n#endif")
