#!/usr/bin/env python3
"""Makes tests/golden/chat/*.json: templates, variables and what transformers renders.

    ORACLE_PYTHON tests/golden/make_chat.py
"""
import json
import os
import pathlib
import sys

os.environ["TZ"] = "UTC"
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import chat_cases as cases  # noqa: E402
import chat_families as families  # noqa: E402
import chat_oracle as oracle  # noqa: E402


def entry(name, template, variables):
    text, error = oracle.render(template, variables)
    result = {"text": text} if error is None else {"error": error}
    return {"name": name, "template": template, **result}


def write(name, value):
    path = HERE / "chat" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=True, indent=0) + "\n")


def small_templates():
    out = []
    for group, expressions in cases.EXPRESSIONS.items():
        out += [entry(group, "{{ " + e + " }}", cases.VALUES) for e in expressions]
    for group, templates in cases.STATEMENTS.items():
        out += [entry(group, t, cases.VALUES) for t in templates]
    out += [entry("whitespace", t, cases.VALUES) for t in cases.whitespace_templates()]
    return {"variables": cases.VALUES, "cases": out}


def family_templates():
    out = []
    for name, template in families.TEMPLATES.items():
        renders = []
        for i, conversation in enumerate(families.CONVERSATIONS):
            for options in families.OPTIONS:
                variables = {**conversation, **options, **families.TOKENS}
                text, error = oracle.render(template, variables)
                result = {"text": text} if error is None else {"error": error}
                renders.append({"conversation": i, "options": options, **result})
        out.append({"name": name, "template": template, "renders": renders})
    return {"tokens": families.TOKENS, "conversations": families.CONVERSATIONS, "families": out}


write("small.json", small_templates())
write("families.json", family_templates())
