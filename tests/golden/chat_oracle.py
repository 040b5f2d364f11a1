"""Renders templates as transformers does: its own compile function, with a fixed clock."""
import copy
import datetime

import jinja2
import transformers.utils.chat_template_utils as utils

NOW = 1721997296  # 2024-07-26 12:34:56 UTC


class FixedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(NOW, datetime.timezone.utc)


utils.datetime = FixedClock


def compile_template(source):
    return utils._cached_compile_jinja_template(source)


def render(source, variables):
    """(text, None) or (None, "ErrorType: message")."""
    variables = copy.deepcopy(variables)  # some filters change lists in place
    messages = variables.pop("messages", [])
    try:
        text = compile_template(source).render(
            messages=messages, tools=variables.pop("tools", None),
            documents=variables.pop("documents", None),
            add_generation_prompt=variables.pop("add_generation_prompt", False), **variables)
        text.encode()
        return text, None
    except RecursionError:
        raise
    except Exception as e:
        return None, f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"


assert jinja2.__version__ == "3.1.6"
