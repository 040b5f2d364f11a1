"""Recalling what the user said in earlier turns, with corrections; following the system message."""
from base import assistant, chance, example, system, user
from skills.talk import GREETED, GREETINGS, LANGUAGES, SMALL, fact
from words import (CITIES, COLOURS, FOODS, INSTRUMENTS, ITEMS, JOBS, MONTHS, NAMES, PET_NAMES, SPORTS, invented_name)

# key: (values, ways to say it, ways to ask for it, the answer)
FACTS = {
    "name": (lambda r: r.choice(NAMES), ["My name is {v}.", "I am {v}.", "Call me {v}.", "I'm called {v}.", "People call me {v}."],
             ["What is my name?", "What am I called?", "Do you remember my name?", "Who am I?"], "Your name is {v}."),
    "colour": (lambda r: r.choice(COLOURS), ["My favourite colour is {v}.", "I like the colour {v} best.", "I love {v}, it is my favourite colour."],
               ["What is my favourite colour?", "Which colour do I like best?"], "Your favourite colour is {v}."),
    "city": (lambda r: r.choice(CITIES), ["I live in {v}.", "My home is in {v}.", "I moved to {v}.", "{v} is the city where I live."],
             ["Where do I live?", "Which city do I live in?", "What city is my home in?"], "You live in {v}."),
    "number": (lambda r: str(r.randrange(2, 1000)), ["My lucky number is {v}.", "{v} is my lucky number.", "My favourite number is {v}."],
               ["What is my lucky number?", "Which number is my favourite?"], "Your lucky number is {v}."),
    "pet": (lambda r: r.choice(PET_NAMES), ["My pet is called {v}.", "My dog's name is {v}.", "I have a cat named {v}.", "My pet's name is {v}."],
            ["What is my pet called?", "What is the name of my pet?"], "Your pet is called {v}."),
    "food": (lambda r: r.choice(FOODS), ["My favourite food is {v}.", "I love to eat {v}.", "I like {v} most of all foods."],
             ["What is my favourite food?", "What do I love to eat?"], "Your favourite food is {v}."),
    "job": (lambda r: r.choice(JOBS), ["My job is {v}.", "I work as a {v}.", "My profession is {v}."],
            ["What is my job?", "What do I work as?", "What is my profession?"], "Your job is {v}."),
    "month": (lambda r: r.choice(MONTHS), ["My birthday is in {v}.", "I was born in {v}."],
              ["In which month is my birthday?", "When was I born?"], "Your birthday is in {v}."),
    "age": (lambda r: str(r.randrange(18, 90)), ["I am {v} years old.", "My age is {v}."],
            ["How old am I?", "What is my age?"], "You are {v} years old."),
    "sport": (lambda r: r.choice(SPORTS), ["My favourite sport is {v}.", "The sport I like best is {v}."],
              ["What is my favourite sport?", "Which sport do I like best?"], "Your favourite sport is {v}."),
    "instrument": (lambda r: r.choice(INSTRUMENTS), ["I play the {v}.", "My instrument is the {v}."],
                   ["Which instrument do I play?", "What is my instrument?"], "You play the {v}."),
    "friend": (lambda r: r.choice(NAMES), ["My best friend is {v}.", "My best friend's name is {v}."],
               ["Who is my best friend?", "What is my best friend's name?"], "Your best friend is {v}."),
    "code": (lambda r: "".join(r.choice("ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(2)) + str(r.randrange(10, 1000)),
             ["My booking code is {v}.", "The code is {v}. Remember it.", "Please remember the code {v}."],
             ["What is my code?", "Which code did I give you?", "What was the code?"], "Your code is {v}."),
    "boat": (invented_name, ["My boat is called {v}.", "I named my boat {v}."],
             ["What is my boat called?", "What is the name of my boat?"], "Your boat is called {v}."),
}
ACKS = ["Got it.", "Okay, I will remember that.", "Noted.", "Thank you for telling me.", "Good to know."]
CORRECTIONS = ["Sorry, I made a mistake. {s}", "Wait, that was wrong. {s}", "Correction: {s}", "No, actually: {s}",
               "I changed my mind. {s}"]
SEPARATE = ["", "Also: ", "By the way, ", "And another thing: ", "Oh, and ", "You should know: "]


def say(rng, key, value):
    return rng.choice(FACTS[key][1]).format(v=value)


def filler(rng):
    if chance(rng, 0.4):
        question, _, sentence = fact(rng)
        return [user(question), assistant(sentence)]
    if chance(rng, 0.5):
        return [user(rng.choice(GREETINGS) + "."), assistant(rng.choice(GREETED))]
    group = rng.choice(SMALL)
    return [user(rng.choice(group[0])), assistant(group[1])]


def recall(rng, thinking, split):
    keys = rng.sample(sorted(FACTS), rng.choice((1, 2, 2, 3, 3, 4)))
    values = {k: FACTS[k][0](rng) for k in keys}
    messages, pending = [], list(keys)
    while pending:
        n = min(len(pending), rng.choice((1, 1, 2, 3)))
        turn, pending = pending[:n], pending[n:]
        text = " ".join(say(rng, k, values[k]) for k in turn)
        messages += [user(rng.choice(SEPARATE if messages else [""]) + text), assistant(rng.choice(ACKS))]
        if chance(rng, 0.3):
            messages += filler(rng)
    if chance(rng, 0.15):  # the statement itself is the last turn
        while messages[-1]["content"] not in ACKS:
            messages.pop()
        ack = messages.pop()["content"]
        return example("acknowledge", messages, ack, {"any_of": ACKS}, "The user tells me something. I will remember it.", thinking)
    if chance(rng, 0.3):
        k = rng.choice(keys)
        values[k] = FACTS[k][0](rng)
        messages += [user(rng.choice(CORRECTIONS).format(s=say(rng, k, values[k]))), assistant(rng.choice(ACKS))]
    ask = rng.sample(keys, 2) if len(keys) > 1 and chance(rng, 0.25) else [rng.choice(keys)]
    question = " ".join(rng.choice(FACTS[k][2]) for k in ask)
    answer = " ".join(FACTS[k][3].format(v=values[k]) for k in ask)
    thought = "The user told me: " + ", ".join(f"{k} {values[k]}" for k in ask) + "."
    return example("recall", messages + [user(question)], answer, {"contains": [values[k] for k in ask]}, thought, thinking)


ENDINGS = ["over", "my friend", "ahoy", "cheers", "amen", "sir", "beep", "meow", "peace", "good luck"]
STARTS = ["Sure:", "Answer:", "Well,", "Listen:", "Fact:", "My reply:", "Indeed,", "Note:"]
ROLES = ["a pirate", "a robot", "a butler", "a teacher", "a guide", "a knight", "a shop assistant", "a librarian"]


def system_message(rng, thinking, split):
    kind = rng.choice(("upper", "lower", "ending", "start", "short", "persona", "language"))
    question, short, sentence = fact(rng)
    if kind == "upper":
        rule = rng.choice(["Answer only in upper case.", "Write everything in capital letters.", "ALWAYS USE UPPER CASE."])
        answer, check = sentence.upper(), {"contains": [short.upper()], "case": "upper"}
    elif kind == "lower":
        rule = rng.choice(["Answer only in lower case.", "Never use capital letters.", "Write everything in lower case."])
        answer, check = sentence.lower(), {"contains": [short.lower()], "case": "lower"}
    elif kind == "ending":
        word = rng.choice(ENDINGS) if chance(rng, 0.5) else invented_name(rng).lower()
        rule = rng.choice(["End every answer with '{w}'.", "Always finish your answer with the words '{w}'."]).format(w=word)
        answer, check = f"{sentence} {word}", {"contains": [short], "ends": word}
    elif kind == "start":
        word = rng.choice(STARTS) if chance(rng, 0.5) else invented_name(rng) + ":"
        rule = rng.choice(["Start every answer with '{w}'.", "Begin each reply with '{w}'."]).format(w=word)
        answer, check = f"{word} {sentence}", {"contains": [short], "starts": word}
    elif kind == "short":
        rule = rng.choice(["Answer with one word only.", "Give one-word answers.", "Be very brief: one word."])
        answer, check = short, {"equals": short}
    elif kind == "persona":
        name = rng.choice(NAMES) if chance(rng, 0.5) else invented_name(rng)
        role = rng.choice(ROLES)
        rule = rng.choice(["You are {n}, {r}.", "Your name is {n} and you are {r}.", "Play the role of {n}, {r}."]).format(n=name, r=role)
        question = rng.choice(["Who are you?", "What is your name?", "Introduce yourself.", "Who am I talking to?"])
        answer, check = f"I am {name}, {role}.", {"contains": [name, role]}
    else:
        language = rng.choice(sorted(LANGUAGES))
        i = rng.randrange(len(LANGUAGES[language]))
        answer = LANGUAGES[language][i][1]
        question = ["Hello", "How are you?", "Who are you?", "Thank you", None, "What colour is the sky?", "Goodbye",
                    "How many days does a week have?", "What is the opposite of hot?"][i]
        if question is None:
            i, question = 0, "Hello"
            answer = LANGUAGES[language][0][1]
        rule = rng.choice([f"Always answer in {language}.", f"You speak only {language}.", f"Reply in {language}."])
        check = {"contains": [answer]}
    messages = [system(rule), user(question)]
    if kind in ("upper", "lower", "ending", "start", "short") and chance(rng, 0.3):
        other, other_short, other_sentence = fact(rng)
        styled = {"upper": other_sentence.upper(), "lower": other_sentence.lower(), "short": other_short}.get(kind)
        if kind == "ending":
            styled = f"{other_sentence} {word}"
        elif kind == "start":
            styled = f"{word} {other_sentence}"
        messages = [messages[0], user(other), assistant(styled), messages[1]]
    return example("system", messages, answer, check, "I follow the system message: " + rule, thinking)
