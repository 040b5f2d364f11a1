"""Choosing and calling tools from schemas, several calls at once, no suitable tool, reading results.

Verbs, objects and parameter names combine to many schemas; a fifth of all function names (held_out)
appears in evaluation only, so that evaluation sees schemas never met in training."""
import json

from base import assistant, chance, example, held_out, tool, user
from words import CITIES, COLOURS, DAYS, FOODS, INSTRUMENTS, ITEMS, MONTHS, NAMES, PET_NAMES, SPORTS, SURNAMES, invented_name

VERBS = """get set find book cancel create delete send open close start stop check update list play order move rename search
reserve count print share call pause lock unlock show rate measure""".split()
OBJECTS = """weather alarm table ticket room message email file song playlist light door heater invoice contact event reminder
meeting taxi flight hotel parcel book recipe photo video window oven car route stock report task note ticket_price exam score
lesson camera printer account order shop menu""".split()

STRINGS = {
    "city": lambda r: r.choice(CITIES), "name": lambda r: r.choice(NAMES), "person": lambda r: f"{r.choice(NAMES)} {r.choice(SURNAMES)}",
    "title": lambda r: f"{invented_name(r)} {r.choice(ITEMS)}", "item": lambda r: r.choice(ITEMS), "food": lambda r: r.choice(FOODS),
    "sport": lambda r: r.choice(SPORTS), "pet": lambda r: r.choice(PET_NAMES), "place": invented_name, "owner": lambda r: r.choice(NAMES),
    "target": invented_name, "destination": lambda r: r.choice(CITIES), "origin": lambda r: r.choice(CITIES),
    "time": lambda r: f"{r.randrange(24):02d}:{r.choice(['00', '15', '30', '45'])}", "label": lambda r: invented_name(r).lower(),
    "code": lambda r: f"{r.choice('ABCDEFGHKLM')}{r.randrange(10, 10000)}", "instrument": lambda r: r.choice(INSTRUMENTS),
    "date": lambda r: f"{r.randrange(2024, 2031)}-{r.randrange(1, 13):02d}-{r.randrange(1, 29):02d}",
    "author": lambda r: f"{r.choice(NAMES)} {r.choice(SURNAMES)}", "street": lambda r: f"{invented_name(r)} Street",
}
INTEGERS = ["days", "count", "people", "minutes", "page", "level", "year", "limit", "volume", "floor", "seats", "nights", "quantity",
            "age", "hours", "size", "number", "speed"]
NUMBERS = ["price", "weight", "distance", "temperature", "amount", "height"]
BOOLEANS = ["urgent", "loud", "private", "quiet", "gift", "repeat", "express", "vegetarian"]
ENUMS = {"unit": ["celsius", "fahrenheit", "kelvin"], "mode": ["auto", "manual", "eco", "turbo"], "colour": COLOURS, "day": DAYS,
         "month": MONTHS, "priority": ["low", "medium", "high"], "format": ["pdf", "text", "html", "csv"],
         "class": ["economy", "business", "first"], "language": ["en", "de", "fr", "es"], "sort": ["name", "date", "price"]}


def parameter(rng):
    """(name, schema, value maker)"""
    kind = rng.choice(("string", "string", "string", "string", "integer", "integer", "number", "boolean", "enum", "enum"))
    if kind == "string":
        name = rng.choice(sorted(STRINGS))
        return name, {"type": "string"}, STRINGS[name]
    if kind == "integer":
        return rng.choice(INTEGERS), {"type": "integer"}, lambda r: r.randrange(1, r.choice((10, 100, 1000)))
    if kind == "number":
        return rng.choice(NUMBERS), {"type": "number"}, lambda r: r.randrange(1, 10000) / 100
    if kind == "boolean":
        return rng.choice(BOOLEANS), {"type": "boolean"}, lambda r: chance(r, 0.5)
    name = rng.choice(sorted(ENUMS))
    values = rng.sample(ENUMS[name], min(len(ENUMS[name]), rng.randrange(2, 5)))
    return name, {"type": "string", "enum": values}, lambda r: r.choice(values)


def function(rng, split, taken):
    while True:
        name = f"{rng.choice(VERBS)}_{rng.choice(OBJECTS)}"
        if name not in taken and held_out(name) == (split == "eval"):
            break
    properties, makers = {}, {}
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        key, schema, maker = parameter(rng)
        if key not in properties:
            properties[key], makers[key] = schema, maker
    keys = list(properties)
    required = keys if chance(rng, 0.6) else keys[: rng.randrange(1, len(keys) + 1)]
    verb, noun = name.split("_", 1)
    schema = {"type": "function", "function": {
        "name": name, "description": f"{verb.capitalize()} {article(noun)}".replace("_", " "),
        "parameters": {"type": "object", "properties": properties, "required": required}}}
    return schema, makers


def article(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun.replace("_", " ")


ASK = ["Please {v} {n}", "Can you {v} {n}", "I want to {v} {n}", "{V} {n}", "I need to {v} {n}", "Could you {v} {n}", "Help me {v} {n}"]


def spoken(value):
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def clause(rng, arguments):
    style = rng.randrange(4)
    parts = [(k.replace("_", " "), spoken(v)) for k, v in arguments.items()]
    rng.shuffle(parts)
    if style == 0:
        return ": " + ", ".join(f"{k} {v}" for k, v in parts)
    if style == 1:
        return " with " + " and ".join(f"{k} {v}" for k, v in parts)
    if style == 2:
        return ". " + ", ".join(f"{k[0].upper()}{k[1:]}: {v}" for k, v in parts)
    return ". " + " ".join(f"The {k} is {v}." for k, v in parts).rstrip(".")


def request(rng, schema, makers):
    """(words of the user, arguments in schema order)"""
    body = schema["function"]
    verb, noun = body["name"].split("_", 1)
    required = body["parameters"]["required"]
    arguments = {k: make(rng) for k, make in makers.items() if k in required or chance(rng, 0.5)}
    text = rng.choice(ASK).format(v=verb, V=verb.capitalize(), n=article(noun)) + clause(rng, arguments)
    return text, arguments


def toolbox(rng, split, n):
    made, taken = [], set()
    for _ in range(n):
        schema, makers = function(rng, split, taken)
        taken.add(schema["function"]["name"])
        made.append((schema, makers))
    return made


def call(schema, arguments):
    return {"name": schema["function"]["name"], "arguments": arguments}


def wanted(names, box):
    """Of each function asked for whether it is offered: the comparison that decides between calling and declining. The
    name stands as in the schema, quotes and comma included, so that finding it there is looking for the same tokens."""
    offered = [s["function"]["name"] for s, _ in box]
    return "Needed: " + " ".join(f'"{n}", {"found" if n in offered else "missing"}.' for n in names)


def calls(rng, thinking, split):
    box = toolbox(rng, split, rng.choice((1, 2, 2, 3, 4)))
    n = 1 if len(box) == 1 or chance(rng, 0.65) else 2
    chosen = rng.sample(box, n)
    texts, made = [], []
    for schema, makers in chosen:
        text, arguments = request(rng, schema, makers)
        texts.append(text)
        made.append(call(schema, arguments))
    names = wanted([c["name"] for c in made], box)
    thought = names + " I call " + " and ".join(c["name"] for c in made) + "."
    return example("tool_call" if n == 1 else "tool_calls", [user(rng.choice([". Then ", ". Also, ", ". After that, "]).join(texts) + ".")],
                   "" if thinking else names, {"calls": made}, thought, thinking, [s for s, _ in box], made)


NO_TOOL = "I have no tool for that."


def no_call(rng, thinking, split):
    box = toolbox(rng, split, rng.choice((1, 2, 3)))
    taken = {s["function"]["name"] for s, _ in box}
    schema, makers = function(rng, split, taken)
    text, _ = request(rng, schema, makers)
    name = wanted([schema["function"]["name"]], box)
    return example("tool_none", [user(text + ".")], NO_TOOL if thinking else f"{name} {NO_TOOL}",
                   {"contains": [NO_TOOL], "excludes": ["<tool_call>"]}, name, thinking, [s for s, _ in box])


def near(rng, name):
    """Another function's name that shares the verb, the object or nothing."""
    verb, noun = name.split("_", 1)
    share = rng.randrange(4)
    return f"{verb if share == 0 else rng.choice(VERBS)}_{noun if share == 1 else rng.choice(OBJECTS)}"


def lookup(rng, thinking, split):
    """Which of several wishes the tools can do: finding a name among the schemas, many times an example."""
    box = toolbox(rng, split, rng.choice((1, 2, 3, 4, 5)))
    offered = [s["function"]["name"] for s, _ in box]
    names = []
    for _ in range(rng.randrange(5, 13)):
        name = rng.choice(offered)
        name = name if chance(rng, 0.5) else near(rng, name)
        if name not in names and (name in offered or held_out(name) == (split == "eval")):
            names.append(name)
    said = {n: f"{n.split('_', 1)[0]} {article(n.split('_', 1)[1])}" for n in names}
    able = [said[n] for n in names if n in offered]
    answer = f"I can {', '.join(able)}." if able else NO_TOOL
    needed = wanted(names, box)
    return example("tool_lookup", [user(f"{rng.choice(('Can you', 'Could you', 'Are you able to'))} {', '.join(said.values())}?")],
                   answer if thinking else f"{needed} {answer}", {"ends": answer}, needed, thinking, [s for s, _ in box])


RESULT_KEYS = {"status": lambda r: r.choice(["ok", "done", "failed", "open"]), "price": lambda r: r.randrange(1, 1000), "city": lambda r: r.choice(CITIES),
               "temperature": lambda r: r.randrange(-20, 45), "name": lambda r: r.choice(NAMES), "count": lambda r: r.randrange(1000),
               "time": lambda r: f"{r.randrange(24):02d}:{r.randrange(60):02d}", "id": lambda r: f"{r.choice('ABCDXYZ')}{r.randrange(100, 10000)}",
               "colour": lambda r: r.choice(COLOURS), "place": invented_name}


def result(rng, thinking, split):
    box = toolbox(rng, split, rng.choice((1, 2)))
    schema, makers = rng.choice(box)
    text, arguments = request(rng, schema, makers)
    values = {k: RESULT_KEYS[k](rng) for k in rng.sample(sorted(RESULT_KEYS), rng.randrange(1, 4))}
    answer = "Done. " + " ".join(f"The {k} is {v}." for k, v in values.items())
    said = wanted([schema["function"]["name"]], box) if chance(rng, 0.5) else ""
    messages = [user(text + "."), assistant(said, None, [call(schema, arguments)]), tool(json.dumps(values, ensure_ascii=False))]
    return example("tool_result", messages, answer, {"contains": [str(v) for v in values.values()]},
                   "The tool answered: " + ", ".join(f"{k} {v}" for k, v in values.items()) + ".", thinking, [s for s, _ in box])
