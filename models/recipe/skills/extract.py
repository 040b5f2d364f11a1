"""Extracting facts from a text as JSON with exactly the requested keys."""
import json

from base import chance, example, system, user
from words import CITIES, COLOURS, DAYS, FOODS, ITEMS, JOBS, MONTHS, NAMES, SURNAMES, invented_name


def full_name(rng):
    return rng.choice(NAMES) + " " + (rng.choice(SURNAMES) if chance(rng, 0.7) else invented_name(rng))


def email(rng):
    return f"{rng.choice(NAMES).lower()}{rng.choice(['', '.', '_'])}{rng.choice(SURNAMES).lower()}@{invented_name(rng).lower()}.{rng.choice(['com', 'org', 'net', 'de'])}"


def clock(rng):
    return f"{rng.randrange(24):02d}:{rng.choice(['00', '15', '30', '45'])}"


def date(rng):
    return f"{rng.randrange(1, 29)} {rng.choice(MONTHS)} {rng.randrange(1990, 2031)}"


# kind of record -> key -> (value maker, sentences)
RECORDS = {
    "person": {
        "name": (full_name, ["The name is {v}.", "This is {v}.", "{v} is a new member.", "Please register {v}."]),
        "age": (lambda r: r.randrange(18, 91), ["The age is {v}.", "Age: {v}.", "{v} years old."]),
        "city": (lambda r: r.choice(CITIES) if chance(r, 0.6) else invented_name(r), ["Home is {v}.", "Living in {v}.", "The city is {v}.", "City: {v}."]),
        "job": (lambda r: r.choice(JOBS), ["Works as a {v}.", "The job is {v}.", "Job: {v}."]),
        "email": (email, ["Mail goes to {v}.", "The email is {v}.", "Email: {v}."]),
        "phone": (lambda r: f"{r.randrange(100, 1000)}-{r.randrange(1000, 10000)}", ["Phone: {v}.", "The phone number is {v}.", "Call {v}."]),
        "favourite_food": (lambda r: r.choice(FOODS), ["Likes {v} most.", "The favourite food is {v}."]),
        "married": (lambda r: chance(r, 0.5), {True: ["Is married.", "Married: yes."], False: ["Is not married.", "Married: no."]}),
    },
    "order": {
        "item": (lambda r: r.choice(ITEMS), ["The item is a {v}.", "Ordered: {v}.", "The customer wants the {v}."]),
        "colour": (lambda r: r.choice(COLOURS), ["The colour is {v}.", "In {v}.", "Colour: {v}."]),
        "quantity": (lambda r: r.randrange(1, 100), ["The quantity is {v}.", "Quantity: {v}.", "{v} pieces."]),
        "price": (lambda r: r.randrange(100, 20000) / 100, ["The price is {v}.", "It costs {v}.", "Price: {v}."]),
        "customer": (full_name, ["The customer is {v}.", "For {v}.", "Customer: {v}."]),
        "order_id": (lambda r: f"{r.choice('ABCDEFGH')}{r.randrange(1000, 10000)}", ["Order {v}.", "The order id is {v}.", "Order id: {v}."]),
        "paid": (lambda r: chance(r, 0.5), {True: ["It is paid.", "Paid: yes."], False: ["It is not paid.", "Paid: no."]}),
    },
    "event": {
        "title": (lambda r: f"{invented_name(r)} {r.choice(['meeting', 'concert', 'party', 'workshop', 'lecture'])}", ["The event is the {v}.", "Title: {v}.", "Do not miss the {v}."]),
        "date": (date, ["The date is {v}.", "On {v}.", "Date: {v}."]),
        "time": (clock, ["It starts at {v}.", "The time is {v}.", "Time: {v}."]),
        "place": (lambda r: r.choice(CITIES), ["The place is {v}.", "We meet in {v}.", "Place: {v}."]),
        "host": (full_name, ["The host is {v}.", "Host: {v}.", "Hosted by {v}."]),
        "guests": (lambda r: r.randrange(2, 500), ["{v} guests are coming.", "Guests: {v}.", "The number of guests is {v}."]),
        "day": (lambda r: r.choice(DAYS), ["It is a {v}.", "The day is {v}.", "Day: {v}."]),
    },
}
ASKS = ["Extract {k} as JSON.", "Give me the keys {k} as JSON.", "Return a JSON object with the keys {k}.", "Write {k} as JSON.",
        "JSON with {k}, please.", "Make a JSON object from this. Keys: {k}."]
RULE = "Extract the requested keys as JSON."


def extract(rng, thinking, split):
    fields = RECORDS[rng.choice(sorted(RECORDS))]
    mentioned = rng.sample(sorted(fields), rng.randrange(2, 6))
    values, sentences = {}, []
    for key in mentioned:
        values[key] = fields[key][0](rng)
        forms = fields[key][1]
        if isinstance(forms, dict):
            forms = forms[values[key]]
        sentences.append(rng.choice(forms).format(v=values[key]))
    wanted = rng.sample(mentioned, rng.randrange(1, len(mentioned) + 1))
    if chance(rng, 0.2):  # a key the text does not mention is null
        missing = [k for k in sorted(fields) if k not in values]
        wanted.insert(rng.randrange(len(wanted) + 1), rng.choice(missing))
    ask = rng.choice(ASKS).format(k=", ".join(wanted))
    text = " ".join(sentences)
    answer = json.dumps({k: values.get(k) for k in wanted}, ensure_ascii=False)
    body = f"{ask}\n{text}" if chance(rng, 0.5) else f"{text}\n{ask}"
    messages = ([system(RULE)] if chance(rng, 0.2) else []) + [user(body)]
    return example("extract_json", messages, answer, {"json": answer}, "Keys: " + ", ".join(wanted) + ".", thinking)
