"""Writes docs/howto/task_yaml.md from the schema of the task card and its docstrings.

python eval/bench/task_reference.py            # write the page
python eval/bench/task_reference.py --check    # exit 1 if it is not up to date
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from generated import write_or_check
from pydantic import BaseModel

from ecomfs.task import CardField, FieldSpec, LabelSpec, TaskCard

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "task_yaml.md"
HEAD = """# task.yaml: every key

Made by `make options` from the schema of the card (`ecomfs/task/card.py`); a test checks that it
is up to date.

A task is a folder with a card, `task.yaml`. The keys below are all that there are: an unknown key
is an error, because a misspelt one would be ignored otherwise. `ecomfs new-task` drafts a card from
a table, `ecomfs lint-task NAME` checks it ([tasks](../tasks.md#add-a-task)).

A *text in two languages* is `{en: Returns, zh: 退货}`, or one plain text that stands for both.

The smallest card:

```yaml
name: gift_note
title: Gift note
description: Is the note on a gift polite?
fields:
  - {name: text, title: Note}
label_title: Tone
label_space: closed
labels:
  - {name: polite, words: polite, definition: friendly and fit to print}
  - {name: rude, words: rude, definition: insulting or obscene}
instruction: Decide whether each note on a gift is polite.
language: en
```
"""
SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("The card", "", TaskCard),
    ("`fields`: one entry per field", "", CardField),
    ("`labels`: one entry per label", "", LabelSpec),
)
_OWN = ("name", "title", "aliases", "required")
_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true, false"}
_MODELS = {
    "Bilingual": "text in two languages",
    "CardField": "[field](#fields-one-entry-per-field)",
    "FieldSpec": "part: the keys of a field but `title`, `required`",
    "LabelSpec": "[label](#labels-one-entry-per-label)",
}


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Key → its description in the docstring of its class."""
    text = inspect.cleandoc(model.__doc__ or "").partition("Attributes\n----------\n")[2]
    text = re.split(r"\n\n?\w+\n-{3,}\n", text)[0]
    found: dict[str, str] = {}
    for part in re.split(r"\n(?=\w)", text):
        names, _, body = part.partition(" : ")
        _, _, body = body.partition("\n")
        for name in names.split(","):
            found[name.strip()] = " ".join(body.split())
    return found


def value(schema: dict[str, Any]) -> str:
    """The allowed values."""
    if "$ref" in schema:
        return _MODELS[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return value(next(each for each in schema["anyOf"] if each.get("type") != "null"))
    if "enum" in schema:
        return ", ".join(f"`{each}`" if each else "empty" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {value(schema['items'])}"
    if schema.get("type") == "object":
        return f"mapping to {value(schema['additionalProperties'])}"
    shown = _TYPES[schema["type"]]
    if "pattern" in schema:
        shown += ": lower-case letters, digits, `_`, a letter first"
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None:
        shown += f", {least} to {most}" if most is not None else f", {least} or more"
    return shown


def default(name: str, schema: dict[str, Any], required: set[str]) -> str:
    """The default of a key."""
    if name in required:
        return "**needed**"
    given = schema.get("default")
    if given in (None, "", [], {}) or given == {"en": "", "zh": ""}:
        return ""
    if isinstance(given, dict):
        return "`" + ", ".join(dict.fromkeys(given.values())) + "`"
    if isinstance(given, list):
        return "`" + ", ".join(given) + "`"
    return f"`{str(given).lower() if isinstance(given, bool) else given}`"


def plain(text: str) -> str:
    """A docstring as Markdown in a cell."""
    text = re.sub(r":(?:func|class|meth):`~?([\w.]+)`", r"`\1`", text).replace("``", "`")
    return text.replace("|", "\\|")


def keys(model: type[BaseModel]) -> Iterator[tuple[str, dict[str, Any], str, set[str]]]:
    """Every key with its schema and meaning."""
    schema, said = model.model_json_schema(), meanings(model)
    needed = set(schema.get("required", ()))
    for name, each in schema["properties"].items():
        if model is CardField and name == "rendering":
            continue
        if not said.get(name):
            sys.exit(f"{model.__name__}.{name}: its docstring says nothing of it")
        yield name, each, said[name], needed
    if model is CardField:
        # In the file the keys of the rendering are on the same level as those of the field.
        inner, said = FieldSpec.model_json_schema(), meanings(FieldSpec)
        inner = inner.get("properties") or inner["$defs"]["FieldSpec"]["properties"]
        for name, each in inner.items():
            if name not in (*_OWN, "names"):
                kind = {**each, "default": "text"} if name == "kind" else each
                yield name, kind, said[name], set()


def page() -> str:
    """The whole page."""
    lines = [HEAD.rstrip()]
    for title, intro, model in SECTIONS:
        lines += ["", f"## {title}", "", *([intro, ""] if intro else [])]
        lines += ["| Key | Value | Default | Meaning |", "|---|---|---|---|"]
        for name, schema, meaning, needed in keys(model):
            shown = value(schema).replace("|", "\\|")
            lines.append(
                f"| `{name}` | {shown} | {default(name, schema, needed)} | {plain(meaning)} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_or_check(PAGE, page(), "make options")
