#!/usr/bin/env python3
"""Writes src/quant/dynamic_map.c: the table by which bitsandbytes codes the scales of NF4.

    python3 scripts/make_dynamic_map.py    (needs torch and bitsandbytes)
"""
import pathlib

from bitsandbytes.functional import create_dynamic_map

values = [float(v) for v in create_dynamic_map()]
lines = ["/* Made by scripts/make_dynamic_map.py. */", '#include "quant/quantizer.h"', "",
         "const float dynamic_map[256] = {"]
for i in range(0, 256, 4):
    lines.append("    " + ", ".join(f"{v.hex()}f" for v in values[i:i + 4]) + ",")
lines.append("};")
path = pathlib.Path(__file__).resolve().parent.parent / "src/quant/dynamic_map.c"
path.write_text("\n".join(lines) + "\n")
