#!/usr/bin/env python3
"""Prints the table in src/base/exact_exp.c: 2^(j/256) rounded to the nearest double."""
from decimal import Decimal, getcontext

getcontext().prec = 60
LN2 = Decimal(2).ln()
values = [float((LN2 * j / 256).exp()).hex() for j in range(256)]
for i in range(0, 256, 4):
    print("    " + ", ".join(values[i : i + 4]) + ",")
