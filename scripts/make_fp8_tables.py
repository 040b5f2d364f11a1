#!/usr/bin/env python3
"""Writes src/formats/quantized/fp8_tables.h: the values of FP8's 256 codes, by the definition of the formats.

    python3 scripts/make_fp8_tables.py
"""
import pathlib

OUT = pathlib.Path(__file__).resolve().parent.parent / "src/formats/quantized/fp8_tables.h"


def value(code, exponent_bits, mantissa_bits, has_infinity):
    sign = "-" if code & 0x80 else ""
    exponent = code >> mantissa_bits & (1 << exponent_bits) - 1
    mantissa = code & (1 << mantissa_bits) - 1
    top = (1 << exponent_bits) - 1
    if has_infinity and exponent == top:
        return "NAN" if mantissa else sign + "INFINITY"
    if not has_infinity and exponent == top and mantissa == (1 << mantissa_bits) - 1:
        return "NAN"
    bias = (1 << exponent_bits - 1) - 1
    scaled = mantissa + (1 << mantissa_bits if exponent else 0)
    return f"{sign}{float(scaled) * 2.0 ** (max(exponent, 1) - bias - mantissa_bits)!r}f"


def table(name, *form):
    cells = [value(code, *form) for code in range(256)]
    lines = [f"static const float {name}[256] = {{"]
    for i in range(0, 256, 4):
        lines.append("    " + ", ".join(cells[i:i + 4]) + ",")
    return "\n".join(lines + ["};"])


def main():
    OUT.write_text(f"""\
/* Made by scripts/make_fp8_tables.py. Included by fp8.c alone. */
#ifndef QUERN_FORMATS_QUANTIZED_FP8_TABLES_H
#define QUERN_FORMATS_QUANTIZED_FP8_TABLES_H

#include <math.h>

/* No infinity; S.1111.111 is NaN. */
{table("e4m3_values", 4, 3, False)}

{table("e5m2_values", 5, 2, True)}

#endif
""")


if __name__ == "__main__":
    main()
