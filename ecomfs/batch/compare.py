"""Prompt A/B evaluation: several templates on the same rows, with the same engine.

Everything but the template is the same: examples, retrieval, demonstrations a prompt, seed. So
a difference is the template's, and the rows pair up for the tests of :mod:`ecomfs_eval`.
"""

from __future__ import annotations

import os
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ecomfs import aio
from ecomfs.assemble import load_template
from ecomfs.batch.tally import Tally
from ecomfs.errors import ConfigError, MissingFileError
from ecomfs.pipeline import Case, Pipeline
from ecomfs.pool.sample import refuse_synthetic
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import Example, Language, Prediction
from ecomfs_eval import Predictions

Choice = str | Path | Mapping[str, str | Path]
_SUFFIXES = (".jinja", ".j2")
_LANGUAGES: tuple[Language, ...] = ("en", "zh")
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Variant:
    """One contender.

    Attributes:
        name: A, B, C, …; A is the one in use, the others challenge it.
        source: as the user wrote it.
        template: what :class:`~ecomfs.FewShotClassifier` takes as ``template``.
    """

    name: str
    source: str
    template: Choice


def parse_variants(arguments: Sequence[str]) -> list[Variant]:
    """Contenders from command-line words.

    A word is a version (``v1``), a template file, or one of either per language
    (``en=A.jinja,zh=v1``). A file serves every language, unless its name starts with ``en.`` or
    ``zh.``: then the other language keeps the card's template.

    >>> [(v.name, v.template) for v in parse_variants(["v1", "en=v2"])]
    [('A', 'v1'), ('B', {'en': 'v2'})]

    Raises:
        ConfigError: fewer than two, too many, or a word that is none of these.
        MissingFileError: a template file is not there.
    """
    if len(arguments) < 2:
        raise ConfigError(
            f"{len(arguments)} template to compare",
            hint="name two or more: ecomfs ab A.jinja B.jinja (v1 is the shipped one)",
        )
    if len(arguments) > len(string.ascii_uppercase):
        raise ConfigError(f"{len(arguments)} templates to compare", hint="at most 26")
    return [
        Variant(name, argument, _choice(argument))
        for name, argument in zip(string.ascii_uppercase, arguments, strict=False)
    ]


def _choice(argument: str) -> Choice:
    if "=" in argument:
        chosen: dict[str, str | Path] = {}
        for part in argument.split(","):
            name, _, value = (x.strip() for x in part.partition("="))
            language = next((known for known in _LANGUAGES if known == name), None)
            if language is None or not value or language in chosen:
                raise ConfigError(
                    f"template {argument!r}", hint="write en=A.jinja,zh=B.jinja, each once"
                )
            chosen[language] = _one(value)
        return chosen
    one = _one(argument)
    if isinstance(one, Path):
        for language in _LANGUAGES:
            if one.name.startswith(f"{language}."):
                return {language: one}
    return one


def _one(value: str) -> str | Path:
    if value.endswith(_SUFFIXES):
        path = Path(value)
        if not path.is_file():
            why = "is a folder" if path.is_dir() else "no such template file"
            raise MissingFileError(f"{path}: {why}")
        return path
    if os.sep in value or Path(value).exists():
        raise ConfigError(f"template {value!r}", hint=f"template files end in {_SUFFIXES[0]}")
    return value


def check_templates(
    variants: Sequence[Variant], card: TaskCard, task: str | Path, language: str | None
) -> None:
    """Compile every template that may be needed, before an engine takes its time to load.

    Raises:
        TemplateError: one does not compile; the message names its file and line.
        TaskError: the task has no such version.
    """
    chosen = language or card.language
    for variant in variants:
        for each in _LANGUAGES:
            if chosen in ("auto", each):
                load_template(card, variant.template, each, task)


def with_gold(
    rows: Sequence[Example], card: TaskCard, pool: Sequence[Example], name: str
) -> list[Example]:
    """Test rows with their true labels in the pool's spelling.

    Args:
        pool: all labelled examples (before any sample of them), which define the labels.
        name: of the test file, for errors.

    Raises:
        UnknownLabelError: a true label the pool has never heard of.
        InputError: a synthetic row.
    """
    refuse_synthetic(rows, name)
    space = LabelSpace.resolve(card, (e.label for e in pool))
    return [
        replace(row, label=space.names[space.require(row.label, f"{name}, row {row.id!r}")])
        for row in rows
    ]


def score_rows(
    rows: Sequence[Example],
    pipeline: Pipeline,
    name: str,
    *,
    on_progress: Callable[[Tally], None] = lambda tally: None,
) -> Predictions:
    """One contender's answers to all rows.

    A true label that the pipeline cannot answer (a sampled pool may lack it) stays in the
    comparison: every contender has it wrong.
    """
    tally = Tally()
    cases: list[Case] = []
    found: list[Prediction] = []
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        traced = aio.run(pipeline.trace([r.fields for r in part], [r.id for r in part]))
        for case, _, prediction in traced:
            cases.append(case)
            found.append(prediction)
            tally.add(prediction)
        tally.progress = len(found) / len(rows)
        on_progress(tally)
    gold = [row.label for row in rows]
    names = pipeline.space.names
    labels = [*names, *sorted(set(gold) - set(names))]
    languages = tuple(case.language for case in cases)
    prompt_tokens = _counts([p.prompt_tokens for p in found])
    return Predictions.of(
        gold,
        [p.label for p in found],
        [
            [p.probabilities.get(n, 0.0) if p.probabilities else np.nan for n in labels]
            for p in found
        ],
        labels=labels,
        ids=[row.id for row in rows],
        status=[str(p.status) for p in found],
        slices={"language": languages} if len(set(languages)) > 1 else {},
        extra={
            "text": tuple(pipeline.text(row.fields) for row in rows),
            "error": tuple(p.error for p in found),
        },
        prompt_tokens=prompt_tokens,
        cached_tokens=np.where(
            np.isnan(prompt_tokens), np.nan, [float(p.cached_tokens) for p in found]
        ),
        name=name,
    )


def _counts(tokens: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Zero means that no prompt was read: unknown, not free."""
    return np.array([float(n) if n else np.nan for n in tokens], dtype=np.float64)
