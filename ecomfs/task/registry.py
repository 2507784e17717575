"""Finds task cards and templates.

A task is a folder with ``task.yaml`` and templates. Folders are searched in this order:
``$ECOMFS_PROMPTS`` (a path list), ``./prompts``, and the tasks that ship with ecomfs. The first
match is used, so a copy of a shipped task's folder overrides it.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ecomfs.core.messages import did_you_mean
from ecomfs.errors import DecodingError, TaskError
from ecomfs.io import YAML_HINT, load_yaml, read_text, yaml_problem
from ecomfs.task.card import TaskCard
from ecomfs.types import Language

_PACKAGE = Path(__file__).resolve().parent.parent
_SHIPPED = (_PACKAGE / "_prompts", _PACKAGE.parent / "prompts")  # installed, source checkout


def _roots() -> list[Path]:
    extra = [Path(p) for p in os.environ.get("ECOMFS_PROMPTS", "").split(os.pathsep) if p]
    return [*extra, Path("prompts"), *_SHIPPED]


def _folders() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in _roots():
        if root.is_dir():
            for card in sorted(root.glob("*/task.yaml")):
                found.setdefault(card.parent.name, card.parent)
    return found


def available_tasks() -> list[str]:
    """Names of all tasks that can be loaded, sorted.

    Returns:
        Names of tasks, sorted.

    >>> "review_sentiment" in available_tasks()
    True
    """
    return sorted(_folders())


def load_task(name: str | Path) -> TaskCard:
    """The card of a task, by name or by the path of its folder.

    Args:
        name: name of a task, or path of its folder.

    Returns:
        The card.

    Raises:
        TaskError: there is no such task, or its card is not valid (the message names the key).

    >>> load_task("review_sentiment").label_space
    'closed'
    """
    path = task_folder(name) / "task.yaml"
    try:
        return TaskCard.model_validate(load_yaml(read_text(path)))
    except ValidationError as error:
        found = error.errors()
        # A misspelt key gives two errors, unknown and missing; the first one helps more.
        first = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
        key = ".".join(str(part) for part in first["loc"]) or "card"
        if first["type"] == "extra_forbidden":
            raise TaskError(f"{path}: {key}: unknown key", hint=_keys(first)) from error
        what = first["msg"].removeprefix("Value error, ")
        raise TaskError(f"{path}: {key}: {what}", hint=_quoted(first)) from error
    except yaml.YAMLError as error:
        raise TaskError(f"{path}: {yaml_problem(error)}", hint=YAML_HINT) from error
    except DecodingError as error:
        raise TaskError(error.message, hint=error.hint) from error


def _quoted(wrong: ErrorDetails) -> str:
    """The hint for a text that YAML reads as something else, such as a label yes without quotes;
    empty for other errors."""
    plain = isinstance(wrong["input"], bool | int | float | date)
    if not plain or wrong["type"] not in ("string_type", "model_type"):
        return ""
    return f"YAML reads it as {wrong['input']}: put it in quotes, such as 'yes' or '1'"


def _keys(unknown: ErrorDetails) -> str:
    """The hint for an unknown key."""
    *above, key = unknown["loc"]
    if above:
        return "remove it; docs/tasks.md lists the keys"
    near = did_you_mean(str(key), TaskCard.model_fields)
    return f"{near}keys are: {', '.join(TaskCard.model_fields)}"


def template_source(task: str | Path, language: Language, version: str) -> str:
    """Source of a task's template, such as ``prompts/review_sentiment/en.v1.jinja``. If the folder
    of the task has no templates, it is the default template (``prompts/_default``).

    Args:
        task: name of a task, or path of its folder.
        language: language of the prompt.
        version: version of the template, such as ``v1``.

    Returns:
        The Jinja source.

    Raises:
        TaskError: there is no such template, or it cannot be read.

    >>> "{{ row.text }}" in template_source("review_sentiment", "en", "v1")
    True
    """
    path = task_folder(task) / f"{language}.{version}.jinja"
    if version == "v1" and not any(path.parent.glob("*.jinja")):
        return common_template("_default", language, version)
    try:
        return read_text(path)
    except OSError as error:
        have = ", ".join(sorted(p.name for p in path.parent.glob("*.jinja"))) or "none"
        raise TaskError(f"no template {path}", hint=f"the folder has: {have}") from error


def common_template(folder: str, language: Language, version: str) -> str:
    """Source of a template that belongs to no task, such as ``prompts/_augment/en.v1.jinja``.

    Args:
        folder: a folder next to the tasks, such as ``_augment``.
        language: language of the prompt.
        version: version of the template, such as ``v1``.

    Returns:
        The Jinja source.

    Raises:
        TaskError: there is no such template.

    >>> common_template("_default", "en", "v1").startswith("{{ instruction }}")
    True
    """
    name = f"{folder}/{language}.{version}.jinja"
    found = next((path for root in _roots() if (path := root / name).is_file()), None)
    if found is None:
        raise TaskError(f"no template {name}", hint="it ships with ecomfs; reinstall it")
    return read_text(found)


def task_folder(name: str | Path) -> Path:
    """The folder of a task.

    Args:
        name: name of a task, or path of its folder.

    Returns:
        The folder with its ``task.yaml``.

    Raises:
        TaskError: no such task; the hint names the nearest one.

    >>> task_folder("review_sentiment").name
    'review_sentiment'
    """
    if isinstance(name, Path) or os.sep in str(name):
        folder = Path(name)
        if (folder / "task.yaml").is_file():
            return folder
        if folder.name == "task.yaml" and folder.is_file():
            raise TaskError(
                f"{folder} is a file", hint=f"give the folder of the task: {folder.parent}"
            )
        raise TaskError(
            f"{folder}: no task.yaml in this folder", hint="give the folder of a task card"
        )
    folders = _folders()
    if name in folders:
        return folders[name]
    if (Path(name) / "task.yaml").is_file():
        return Path(name)
    if Path(name).is_dir():
        raise TaskError(
            f"no task {name!r}, and the folder {name} has no task.yaml",
            hint=f"create a task with ecomfs new-task; tasks are: {', '.join(sorted(folders))}",
        )
    near = did_you_mean(name, folders)
    raise TaskError(f"no task {name!r}", hint=f"{near}tasks are: {', '.join(sorted(folders))}")
