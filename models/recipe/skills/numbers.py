"""Integer arithmetic with and without written-out steps, lists, dates and units."""
from base import chance, dress, example, user
from words import ANIMALS, CITIES, DAYS, FRUITS, ITEMS, MONTH_DAYS, MONTHS, NAMES


def add_steps(a, b):
    """Column addition from the right, as the thought writes it."""
    steps, carry, place = [], 0, 0
    x, y = str(a)[::-1], str(b)[::-1]
    for i in range(max(len(x), len(y))):
        p, q = int(x[i]) if i < len(x) else 0, int(y[i]) if i < len(y) else 0
        total = p + q + carry
        steps.append(f"{p} + {q} + {carry} = {total}, write {total % 10}, carry {total // 10}")
        carry = total // 10
    if carry:
        steps.append(f"write {carry}")
    return "; ".join(steps)


def sub_steps(a, b):
    """Column subtraction for a >= b."""
    steps, borrow = [], 0
    x, y = str(a)[::-1], str(b)[::-1]
    for i in range(len(x)):
        p, q = int(x[i]), int(y[i]) if i < len(y) else 0
        d = p - q - borrow
        steps.append(f"{p} - {q} - {borrow} = {d}, write {d % 10}, borrow {1 if d < 0 else 0}")
        borrow = 1 if d < 0 else 0
    return "; ".join(steps)


ADD = ["What is {a} + {b}?", "{a} + {b}", "Calculate {a} + {b}.", "What is {a} plus {b}?", "Add {a} and {b}.",
       "How much is {a} plus {b}?", "Compute the sum of {a} and {b}.", "{n} has {a} coins and gets {b} more. How many coins are there now?"]
SUB = ["What is {a} - {b}?", "{a} - {b}", "Calculate {a} - {b}.", "What is {a} minus {b}?", "Subtract {b} from {a}.",
       "How much is {a} minus {b}?", "{n} has {a} coins and loses {b}. How many coins are left?"]
MUL = ["What is {a} * {b}?", "What is {a} times {b}?", "Multiply {a} by {b}.", "Calculate {a} * {b}."]


def operand(rng):
    return rng.randrange(10 ** rng.choice((1, 2, 2, 3, 3)))


def arithmetic(rng, thinking, split):
    kind = rng.choice(("add", "add", "add", "sub", "sub", "sub", "mul"))
    a, b = operand(rng), operand(rng)
    if kind == "mul":
        a, b = rng.randrange(13), rng.randrange(13)
        forms, result, op, thought = MUL, a * b, "*", f"From the table: {a} * {b} = {a * b}."
    elif kind == "add":
        forms, result, op = ADD, a + b, "+"
        thought = f"{a} + {b}: {add_steps(a, b)}. The result is {result}."
    else:
        forms, result, op = SUB, a - b, "-"
        if a >= b:
            thought = f"{a} - {b}: {sub_steps(a, b)}. The result is {result}."
        else:
            thought = f"{a} is less than {b}, so {b} - {a}: {sub_steps(b, a)}. The result is {result}."
    text = rng.choice(forms[:-1] if kind == "sub" and a < b else forms).format(a=a, b=b, n=rng.choice(NAMES))
    skill = "multiplication" if kind == "mul" else "arithmetic_thinking" if thinking else "arithmetic_direct"
    answer = f"{a} {op} {b} = {result}"
    return example(skill, [user(dress(rng, text))], answer, {"ends": str(result)}, thought, thinking)


def words(rng, n):
    return rng.sample(rng.choice((ANIMALS, FRUITS, ITEMS)), n)


def lists(rng, thinking, split):
    kind = rng.choice(("count", "sort_numbers", "sort_words", "reverse", "largest", "smallest", "first", "last"))
    n = rng.randrange(3, 7)
    if kind in ("sort_numbers", "largest", "smallest"):
        items = [str(rng.randrange(1, rng.choice((10, 100)))) for _ in range(n)]
    else:
        items = words(rng, n)
    joined = ", ".join(items)
    by_value = sorted(items, key=int) if items[0].isdigit() else sorted(items)
    forms, answer = {
        "count": (["How many items are in this list: {l}?", "Count these words: {l}.", "How many words are these: {l}?"], str(n)),
        "sort_numbers": (["Sort these numbers: {l}.", "Put these numbers in order: {l}.", "Order from small to large: {l}."], ", ".join(by_value)),
        "sort_words": (["Sort these words: {l}.", "Put these words in alphabetical order: {l}."], ", ".join(by_value)),
        "reverse": (["Reverse this list: {l}.", "Write this list backwards: {l}.", "Turn the order around: {l}."], ", ".join(reversed(items))),
        "largest": (["Which number is the largest: {l}?", "What is the largest of {l}?"], by_value[-1]),
        "smallest": (["Which number is the smallest: {l}?", "What is the smallest of {l}?"], by_value[0]),
        "first": (["What is the first item of this list: {l}?"], items[0]),
        "last": (["What is the last item of this list: {l}?"], items[-1]),
    }[kind]
    thought = ", ".join(f"{i + 1} {w}" for i, w in enumerate(items)) + "."
    return example("lists", [user(dress(rng, rng.choice(forms).format(l=joined)))], answer, {"equals": answer}, thought, thinking)


UNITS = [("kilometre", "metres", 1000), ("metre", "centimetres", 100), ("hour", "minutes", 60), ("minute", "seconds", 60),
         ("kilogram", "grams", 1000), ("day", "hours", 24), ("week", "days", 7), ("dozen", "pieces", 12), ("year", "months", 12)]


def dates(rng, thinking, split):
    kind = rng.choice(("after", "before", "month", "days", "unit", "unit"))
    if kind in ("after", "before"):
        i, n = rng.randrange(7), rng.randrange(1, 7)
        sign = 1 if kind == "after" else -1
        answer = DAYS[(i + sign * n) % 7]
        text = f"Which day is {n} day{'s' if n > 1 else ''} {kind} {DAYS[i]}?"
        thought = ", ".join(DAYS[(i + sign * k) % 7] for k in range(n + 1)) + "."
    elif kind == "month":
        i, later = rng.randrange(12), chance(rng, 0.5)
        answer = MONTHS[(i + (1 if later else -1)) % 12]
        text = f"Which month comes {'after' if later else 'before'} {MONTHS[i]}?"
        thought = f"The months in order: {answer} is next to {MONTHS[i]}."
    elif kind == "days":
        i = rng.randrange(12)
        answer, text = str(MONTH_DAYS[i]), f"How many days does {MONTHS[i]} have in a normal year?"
        thought = f"{MONTHS[i]} has {answer} days."
    else:
        one, many, factor = rng.choice(UNITS)
        n = rng.randrange(1, 11)
        plural = "dozen" if one == "dozen" else one + ("s" if n > 1 else "")
        answer = str(n * factor)
        text = rng.choice([f"How many {many} are {n} {plural}?", f"Convert {n} {plural} to {many}."])
        thought = f"One {one} has {factor} {many}. {n} * {factor} = {answer}."
    return example("dates_units", [user(dress(rng, text))], answer, {"equals": answer}, thought, thinking)
