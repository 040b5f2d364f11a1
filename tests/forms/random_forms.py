"""Descriptions of forms made by chance, each with what a reference library says of a text."""
import ast
import io
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import warnings
from decimal import Decimal, InvalidOperation

import jsonschema
import yaml
from lxml import etree

sys.set_int_max_str_digits(0)
WORDS = "red green name size id note item list title true null yes 12 a_b x-y état 名 \"quoted\" back\\slash tab\tend".split(" ")


def read_number(text):
    """A number of any exponent that JSON allows. Beyond what Decimal holds, 6,000 stands for it: as far beyond every bound of
    our forms, and as much an integer or none."""
    mantissa, _, exponent = text.lower().partition("e")
    if not mantissa.strip("-0."):
        return 0
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(f"{mantissa}e{'-' if exponent.startswith('-') else ''}6000")
    return int(value) if value == value.to_integral_value() and value.adjusted() < 5000 else value


def is_integer(_, x):
    if isinstance(x, bool):
        return False
    return isinstance(x, int) or (isinstance(x, (float, Decimal)) and x == x.__class__(x).__floor__())


BASE = jsonschema.Draft202012Validator
Validator = jsonschema.validators.extend(BASE, type_checker=BASE.TYPE_CHECKER.redefine("integer", is_integer))


def judge(value, schema):
    Validator(schema, format_checker=BASE.FORMAT_CHECKER).validate(value)


# ---- JSON Schema ----

def scalar(rng, exact):
    kind = rng.randrange(9)
    if kind == 0:
        low = rng.randint(-500, 500)
        return {"type": "integer", "minimum": low, "maximum": low + rng.randint(0, 2000), "multipleOf": rng.choice([1, 1, 2, 3, 5])} \
            if rng.random() < 0.6 else {"type": "integer", "minimum": low, "maximum": low + 7}
    if kind == 1:
        low = rng.randint(-50, 50)
        return {"type": "number", "exclusiveMinimum" if exact and rng.random() < 0.5 else "minimum": low + 0.25, "maximum": low + rng.randint(1, 90)}
    if kind == 2:
        return {"type": "string", "minLength": rng.randint(0, 4), "maxLength": rng.randint(4, 40)}
    if kind == 3:
        return {"type": "string", "pattern": "^" + expression(rng, 2)[0] + "$"}
    if kind == 4:
        return {"type": "string", "format": rng.choice(["date", "ipv4", "ipv6", "uuid", "email", "date-time", "time"])}
    if kind == 5:
        return {"enum": rng.sample(WORDS, 4) + rng.sample([1, -2.5, None, True, False, [], {"a": 1}, ""], 3)}
    if kind == 6:
        return {"const": rng.choice([*WORDS, 0, None, [1, "a"], {"k": "v"}])}
    if kind == 7:
        return {"type": ["string", "null"], "not": {"enum": rng.sample(WORDS, 3)}, "maxLength": 30}
    return {"type": rng.choice(["boolean", "null", "integer", "number", "string"])}


def schema(rng, depth, exact=True):
    kind = rng.randrange(8) if depth else 0
    inner = lambda: schema(rng, depth - 1, exact)  # noqa: E731
    if kind <= 1:
        return scalar(rng, exact)
    if kind <= 4:
        names = rng.sample(WORDS, rng.randint(1, 5))
        out = {"type": "object", "properties": {n: inner() for n in names}, "required": rng.sample(names, rng.randint(0, len(names)))}
        choice = rng.randrange(4)
        if choice == 0:
            out["additionalProperties"] = False
        elif choice == 1:
            out["additionalProperties"] = scalar(rng, exact)
        elif choice == 2:
            out["patternProperties"] = {"^p[0-9]": scalar(rng, exact)}
            out["additionalProperties"] = False
        return out
    if kind == 5:
        low = rng.randint(0, 3)
        return {"type": "array", "items": inner(), "minItems": low, "maxItems": low + rng.randint(0, 4)}
    if kind == 6:
        return {"type": "array", "prefixItems": [inner(), inner()], "items": rng.choice([False, scalar(rng, exact)]), "minItems": rng.randint(0, 2)}
    if rng.random() < 0.4:
        return {"oneOf": [{"type": "object", "properties": {"kind": {"const": k}, "value": inner()}, "required": ["kind", "value"],
                           "additionalProperties": False} for k in ("one", "two")]}
    if rng.random() < 0.4:
        return {"type": "object", "additionalProperties": inner(), "minProperties": rng.randint(0, 1), "maxProperties": 4}
    return {"anyOf": [inner(), inner(), {"type": "object", "properties": {"left": {"$ref": "#"}}, "required": ["left"]}]}


def json_form(rng):
    what = schema(rng, rng.randint(0, 3))

    def check(text):
        judge(json.loads(text, parse_float=read_number), what)
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": what}}}, check


def yaml_form(rng):
    what = schema(rng, rng.randint(1, 3), exact=False)

    def check(text):
        judge(json.loads(json.dumps(yaml.safe_load(text))), what)
    return {"response_format": {"type": "yaml", "schema": what}}, check


# ---- expressions, in the languages of Python's re, GBNF and Lark ----

def expression(rng, depth):
    kind = rng.randrange(6) if depth else rng.randrange(2)
    if kind == 0:
        text = "".join(rng.choice("abcxyz019 _-") for _ in range(rng.randint(1, 5)))
        return re.escape(text).replace("\\ ", " ").replace("\\-", "-"), f'"{text}"', f'"{text}"'
    if kind == 1:
        text = rng.choice(["[a-f]", "[0-9]", "[^\\n\"]", "[A-Z_]", "[xyz0-4]"])
        return text, text, f"/{text}/"
    if kind <= 3:
        parts = [expression(rng, depth - 1) for _ in range(rng.randint(2, 3))]
        return tuple(joint.join(p[i] for p in parts) for i, joint in enumerate(["", " ", " "]))
    if kind == 4:
        parts = [expression(rng, depth - 1) for _ in range(rng.randint(2, 3))]
        return tuple(f"({mark}" + joint.join(p[i] for p in parts) + ")" for i, (joint, mark) in enumerate([("|", "?:"), (" | ", ""), (" | ", "")]))
    part, low = expression(rng, depth - 1), rng.randint(0, 3)
    high = low + rng.randint(1, 4)
    if rng.random() < 0.4:
        mark = rng.choice("*+?")
        return f"(?:{part[0]}){mark}", f"({part[1]}){mark}", f"({part[2]}){mark}"
    return f"(?:{part[0]}){{{low},{high}}}", f"({part[1]}){{{low},{high}}}", f"({part[2]})~{low}..{high}"


def matches(pattern):
    compiled = re.compile(pattern)

    def check(text):
        assert compiled.fullmatch(text), f"does not match {pattern}"
    return check


def regex_form(rng):
    pattern = expression(rng, 4)[0]
    return {"structured_outputs": {"regex": pattern}}, matches(pattern)


def balanced(text, inner):
    """( inner , inner , ( ... ) ): what the recursive rule below says."""
    at = 0

    def value():
        nonlocal at
        if text[at:at + 1] == "(":
            at += 1
            value()
            while text[at:at + 1] == ",":
                at += 1
                value()
            assert text[at:at + 1] == ")", at
            at += 1
        else:
            end = at
            while end < len(text) and text[end] not in "(),":
                end += 1
            assert inner.fullmatch(text[at:end]), text[at:end]
            at = end
    value()
    assert at == len(text)


def gbnf_form(rng):
    pattern, rule, _ = expression(rng, 3)
    if rng.random() < 0.5:
        return {"structured_outputs": {"grammar": f"root ::= {rule}\n"}}, matches(pattern)
    text = 'root ::= value\nvalue ::= leaf | "(" value ("," value)* ")"\nleaf ::= [a-z]+ [0-9]{2,3}\n'
    return {"structured_outputs": {"grammar": text}}, lambda t: balanced(t, re.compile("[a-z]+[0-9]{2,3}"))


def lark_form(rng):
    pattern, _, rule = expression(rng, 3)
    if rng.random() < 0.5:
        return {"response_format": {"type": "lark", "grammar": f"start: {rule}\n"}}, matches(pattern)
    text = 'start: value\n?value: LEAF | "(" value ("," value)* ")"\nLEAF: /[A-F]+x?/\n'
    return {"response_format": {"type": "lark", "grammar": text}}, lambda t: balanced(t, re.compile("[A-F]+x?"))


def choice_form(rng):
    choices = rng.sample(WORDS, rng.randint(1, 6)) + ["a longer choice, with commas", "red and more"]

    def check(text):
        assert text in choices
    return {"structured_outputs": {"choice": choices}}, check


# ---- XML ----

def dtd_form(rng):
    names = ["root"] + rng.sample(["to", "from", "body", "part", "line", "p", "b", "head"], rng.randint(1, 6))
    lines = []
    for i, name in enumerate(names):
        below = names[i + 1:]
        kind = rng.randrange(4) if below else rng.randrange(2)
        if kind == 0:
            content = rng.choice(["EMPTY", "(#PCDATA)"])
        elif kind == 1:
            content = "(#PCDATA)" if not below else "(#PCDATA | " + " | ".join(rng.sample(names[1:], 1)) + ")*"
        else:
            joint = rng.choice([", ", " | "])
            content = "(" + joint.join(n + rng.choice(["", "?", "*", "+"]) for n in rng.sample(below, min(len(below), rng.randint(1, 3)))) + ")" + rng.choice(["", "+", "*"])
        lines.append(f"<!ELEMENT {name} {content}>")
        for attribute in rng.sample(["kind", "n", "lang", "note"], rng.randint(0, 2)):
            lines.append(f"<!ATTLIST {name} {attribute} {rng.choice(['CDATA', 'NMTOKEN', '(low | high | 3)'])} {rng.choice(['#REQUIRED', '#IMPLIED'])}>")
    subset = "\n".join(lines)
    dtd = etree.DTD(io.StringIO(subset))

    def check(text):
        assert dtd.validate(etree.fromstring(text.encode())), dtd.error_log
    return {"response_format": {"type": "xml", "dtd": f"<!DOCTYPE root [\n{subset}\n]>"}}, check


def names_form(rng):
    names = rng.choice(["any", "a", "a b note", "item list value"])
    return {"response_format": {"type": "xml_names", "names": names}}, lambda text: etree.fromstring(text.encode())


# ---- code ----

def check_sql(text):
    try:
        sqlite3.connect(":memory:").execute("EXPLAIN " + text)
    except sqlite3.Error as e:
        assert not re.search("syntax|incomplete|unrecognized", str(e)), e


def check_python(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "1 is 2", "2()"
        ast.parse(text)


C_TYPES = set("void char short int long float double signed unsigned const static struct return sizeof".split())


def errors_of_gcc(text):
    done = subprocess.run(["gcc", "-fsyntax-only", "-w", "-x", "c", "-"], input=text.encode(), capture_output=True)
    return [line for line in done.stderr.decode().splitlines() if " error: expected" in line or "stray" in line]


def check_c(text):
    """C is grammatical under some declarations of its names: `a * b > c;` only where a is no type, which gcc takes an undeclared
    name in that place for. So a text may be read by it as it stands, or with such names declared as objects."""
    if not shutil.which("gcc"):
        return
    wrong = errors_of_gcc(text)
    if wrong:
        names = set(re.findall(r"\b([A-Za-z_]\w*)\s*\*\s*[A-Za-z_]", text)) - C_TYPES
        wrong = errors_of_gcc("".join(f"extern int {name};\n" for name in sorted(names)) + text)
    assert not wrong, wrong


def code_form(language, check):
    return lambda rng: ({"response_format": {"type": "code", "language": language}}, check)


KINDS = [("json", json_form, 70), ("yaml", yaml_form, 30), ("dtd", dtd_form, 25), ("xml names", names_form, 6), ("gbnf", gbnf_form, 20),
         ("lark", lark_form, 20), ("regex", regex_form, 14), ("choice", choice_form, 6), ("sql", code_form("sql", check_sql), 3),
         ("python", code_form("python", check_python), 3), ("c", code_form("c", check_c), 2), ("json code", code_form("json", json.loads), 1)]
