"""Short Python, C and SQL snippets from descriptions, and fill-in-the-middle over the same snippets."""
from base import chance, dress, example, user
from words import ITEMS, invented_name

NOUNS = """value number item score price count weight total length index size level user order line word point row color
height width depth rate time step limit offset""".split()
TABLES = """users orders items books cars songs rooms flights tickets cities pets teams games shops tasks invoices""".split()
COLUMNS = """id name age price city title year status color weight author owner date size score""".split()

OPS = {"sum": ("+", "sum"), "difference": ("-", "difference"), "product": ("*", "product")}


def names(rng):
    a, b = rng.sample(NOUNS, 2)
    return a, b


def py_binary(rng):
    op, (sign, word) = rng.choice(sorted(OPS.items()))
    a, b = names(rng)
    f = rng.choice([f"{word}_of", f"get_{word}", f"{a}_{word}", f"make_{word}"])
    return ("Python", f"a Python function {f} that returns the {word} of {a} and {b}",
            f'def {f}({a}, {b}):\n    """Return the {word} of {a} and {b}."""\n    return {a} {sign} {b}\n')


def py_loop(rng):
    a, _ = names(rng)
    f = rng.choice([f"total_{a}", f"sum_{a}s", f"add_{a}s"])
    return ("Python", f"a Python function {f} that adds up all {a}s",
            f'def {f}({a}s):\n    """Add up all {a}s."""\n    total = 0\n    for {a} in {a}s:\n        total += {a}\n    return total\n')


def py_filter(rng):
    a, b = names(rng)
    f, sign, word = rng.choice([(f"large_{a}s", ">", "greater than"), (f"small_{a}s", "<", "less than")])
    return ("Python", f"a Python function {f} that returns the {a}s {word} {b}",
            f'def {f}({a}s, {b}):\n    """Return the {a}s {word} {b}."""\n    return [{a} for {a} in {a}s if {a} {sign} {b}]\n')


def py_greet(rng):
    word = invented_name(rng).lower()
    a, _ = names(rng)
    return ("Python", f"a Python function print_{word} that prints {a} n times",
            f'def print_{word}({a}, n):\n    """Print {a} n times."""\n    for i in range(n):\n        print({a})\n')


def c_binary(rng):
    op, (sign, word) = rng.choice(sorted(OPS.items()))
    a, b = names(rng)
    t = rng.choice(["int", "long", "double"])
    f = rng.choice([f"{word}_of", f"get_{word}", f"{a}_{word}"])
    return ("C", f"a C function {f} that returns the {word} of {t} {a} and {t} {b}",
            f"/* Returns the {word} of {a} and {b}. */\n{t} {f}({t} {a}, {t} {b}) {{\n    return {a} {sign} {b};\n}}\n")


def c_extreme(rng):
    a, b = names(rng)
    word, sign = rng.choice([("larger", ">"), ("smaller", "<")])
    t = rng.choice(["int", "long", "double"])
    return ("C", f"a C function {word}_{a} that returns the {word} of {t} {a} and {t} {b}",
            f"/* Returns the {word} of {a} and {b}. */\n{t} {word}_{a}({t} {a}, {t} {b}) {{\n    if ({a} {sign} {b}) {{\n        return {a};\n    }}\n    return {b};\n}}\n")


def c_sum(rng):
    a, _ = names(rng)
    t = rng.choice(["int", "long", "double"])
    return ("C", f"a C function sum_{a}s that adds up n {t} {a}s",
            f"/* Adds up n {a}s. */\n{t} sum_{a}s(const {t} *{a}s, int n) {{\n    {t} total = 0;\n    for (int i = 0; i < n; i++) {{\n        total += {a}s[i];\n    }}\n    return total;\n}}\n")


def sql_select(rng):
    table = rng.choice(TABLES)
    a, b = rng.sample(COLUMNS, 2)
    sign, word = rng.choice([(">", "greater than"), ("<", "less than"), ("=", "equal to")])
    n = rng.randrange(1, 1000)
    text, extra = "", ""
    if chance(rng, 0.4):
        extra, text = f"\nORDER BY {a}", f", sorted by {a}"
    return ("SQL", f"a SQL query for the {a} of all {table} with {b} {word} {n}{text}",
            f"-- the {a} of all {table} with {b} {word} {n}{text}\nSELECT {a}\nFROM {table}\nWHERE {b} {sign} {n}{extra};\n")


def sql_count(rng):
    table, column = rng.choice(TABLES), rng.choice(COLUMNS)
    return ("SQL", f"a SQL query that counts {table} by {column}",
            f"-- counts {table} by {column}\nSELECT {column}, COUNT(*)\nFROM {table}\nGROUP BY {column};\n")


MAKERS = [py_binary, py_loop, py_filter, py_greet, c_binary, c_extreme, c_sum, sql_select, sql_count]
ASK = ["Write {d}.", "Give me {d}.", "I need {d}.", "Show me {d}.", "Can you write {d}?", "Create {d}."]


def write(rng, thinking, split):
    language, description, source = rng.choice(MAKERS)(rng)
    answer = f"```{language.lower()}\n{source}```"
    return example("code", [user(dress(rng, rng.choice(ASK).format(d=description)))], answer, {"equals": answer},
                   f"A short piece of {language}.", thinking)


def fill(rng, thinking, split):
    """The comment or docstring above the hole says what belongs there, so the answer is determined."""
    _, _, source = rng.choice(MAKERS)(rng)
    lines = source.splitlines(keepends=True)
    start = 2 if lines[0].startswith("def ") else 1  # after the description
    i = rng.randrange(start, len(lines))
    if chance(rng, 0.5):
        prefix, middle, suffix = "".join(lines[:i]), lines[i], "".join(lines[i + 1:])
    else:  # the rest of a line, from a word border
        line = lines[i]
        borders = [k for k in range(1, len(line)) if line[k - 1] in " (" and line[k] not in " \n"]
        k = rng.choice(borders) if borders else 0
        prefix, middle, suffix = "".join(lines[:i]) + line[:k], line[k:-1], "\n" + "".join(lines[i + 1:])
    return {"skill": "fill_in_the_middle", "thinking": False, "check": {"equals": middle},
            "text": f"<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>", "target": middle}
