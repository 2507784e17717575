"""Parses, checks and fits the variants of a classifier."""

from __future__ import annotations

import math
import os
import re
import shlex
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from ecomfs.core.options import NO_MODEL, OPTIONS, PROMPT_OPTIONS, TemplateChoice, known_option
from ecomfs.core.progress import Progress, silent, within
from ecomfs.errors import ConfigError, EcomfsError, MissingFileError
from ecomfs.estimators import Classifier, classifier_of
from ecomfs.estimators.multilabel.pipeline import MultiLabelPipeline
from ecomfs.estimators.taxonomy.pipeline import TaxonomyPipeline
from ecomfs.io import load_yaml, read_text, yaml_problem
from ecomfs.pipeline import Pipeline, load_template
from ecomfs.pool import Pool
from ecomfs.task import TaskCard
from ecomfs.types import Example, Language

SUFFIXES = (".jinja", ".j2")
LANGUAGES: tuple[Language, ...] = ("en", "zh")
_LONGEST = 24
"""Longest text of options that is used as a name."""
_MOST = len(string.ascii_uppercase)
_NAMED = re.compile(r"\s*([^:=]{1,40}?)\s*:(?:\s+|$)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant of the classifier.

    Attributes:
        name: name given by the user, else A, B, C, …; the first variant is the one in use.
        source: the variant as written by the user.
        options: parameters of :class:`~ecomfs.FewShotClassifier` in which it differs from the
            common options.
        weight: relative share of the traffic of a service; not used if all variants classify the
            same rows.

    >>> Variant("B", "k=4", {"k": 4}, weight=0.1).options
    {'k': 4}
    """

    name: str
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0


def read_variants(templates: Sequence[str], written: Sequence[str] = ()) -> list[Variant]:
    """Parse the variants of a command line.

    Args:
        templates: each a version (``v1``), a template file, or one of either per language
            (``en=A.jinja,zh=v1``). The variant is named after the version or the file; without
            one, or if two names are equal, the name is a letter. A file is used for every language,
            unless its name starts with ``en.`` or ``zh.``; then the other language keeps the card's
            template.
        written: each ``name: option=value …`` (the name is optional), or a YAML file that maps
            names to options.

    Raises:
        ConfigError: fewer than two, too many, two with the same name, an unknown option, or an
            invalid value.
        MissingFileError: a file does not exist.

    >>> for v in read_variants(["v1", "en=v2"], ["more: k=16 engine=vllm:http://127.0.0.1:8000"]):
    ...     print(v.name, v.options)
    v1 {'template': 'v1'}
    A {'template': {'en': 'v2'}}
    more {'k': 16, 'engine': 'vllm:http://127.0.0.1:8000'}
    """
    found = [Variant("", word, {"template": _template(word)}) for word in templates]
    for text in written:
        found += _from_yaml(Path(text)) if _is_yaml(text) else [_from_text(text)]
    if len(found) < 2:
        only = found[0].source if found else "nothing"
        raise ConfigError(
            f"{only}: {len(found)} variant to compare" if found else "0 variants to compare",
            hint="name two or more: ecomfs ab A.jinja B.jinja (v1 is the shipped template), or "
            '--variant "few: k=4" --variant "many: k=16"',
        )
    if len(found) > _MOST:
        raise ConfigError(f"{len(found)} variants to compare", hint=f"use at most {_MOST}")
    own = [v.name or _called(v) for v in found]
    given = [v.name for v in found if v.name]
    # Only names given by the user can be equal, which is an error.
    names = [
        name if v.name or (own.count(name) == 1 and name not in given) else ""
        for v, name in zip(found, own, strict=True)
    ]
    letters = iter(c for c in string.ascii_uppercase if c not in names)
    variants = [replace(v, name=n or next(letters)) for v, n in zip(found, names, strict=True)]
    names = [v.name for v in variants]
    doubled = next((n for n in names if names.count(n) > 1), None)
    if doubled is not None:
        raise ConfigError(f"two variants are called {doubled!r}", hint="give each its own name")
    return variants


def _variant(name: str, source: str, options: dict[str, Any]) -> Variant:
    """A variant as written; the name may be empty."""
    weight = options.pop("weight", 1.0)
    return Variant(name, source, options, weight)


def _called(written: Variant) -> str:
    """The name of an unnamed variant: its template, or its options if they are short; else
    empty."""
    if not written.source or "=" not in written.source:
        return Path(written.source).name.removesuffix(".jinja")
    by_language = isinstance(written.options.get("template"), Mapping)
    return "" if by_language or len(written.source) > _LONGEST else written.source


def _template(word: str) -> TemplateChoice:
    """A template as the command line names it.

    >>> _template("en=v1, zh=v2")
    {'en': 'v1', 'zh': 'v2'}

    Raises:
        ConfigError: it is neither a version, nor a template file, nor one of either per language.
        MissingFileError: the template file does not exist.
    """
    if "=" in word:
        chosen: dict[str, str | Path] = {}
        for part in word.split(","):
            name, _, value = (x.strip() for x in part.partition("="))
            language = next((known for known in LANGUAGES if known == name), None)
            if language is None or not value or language in chosen:
                raise ConfigError(
                    f"template {word!r}", hint="write en=A.jinja,zh=B.jinja, each once"
                )
            chosen[language] = _one(value)
        return chosen
    one = _one(word)
    if isinstance(one, Path):
        for language in LANGUAGES:
            if one.name.startswith(f"{language}."):
                return {language: one}
    return one


def _one(value: str) -> str | Path:
    if value.endswith(SUFFIXES):
        path = Path(value)
        if not path.is_file():
            why = "is a folder" if path.is_dir() else "no such template file"
            raise MissingFileError(f"{path}: {why}")
        return path
    if os.sep in value or Path(value).exists():
        raise ConfigError(f"template {value!r}", hint=f"template files end in {SUFFIXES[0]}")
    return value


def _is_yaml(text: str) -> bool:
    return text.endswith((".yaml", ".yml")) and "=" not in text


def _from_text(text: str) -> Variant:
    named = _NAMED.fullmatch(text)
    name, rest = (named[1], named[2]) if named else ("", text)
    where = f"--variant {text!r}"
    form = 'write --variant "name: k=4 template=v2"'
    if not name.isprintable():
        raise ConfigError(f"{where}: the name holds a control character", hint=form)
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}", hint=form) from error
    options: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"{where}: {word!r} is not an option", hint=form)
        _put(options, key, value, where)
    if not name and not options:
        raise ConfigError(f"{where}: empty", hint=form)
    return _variant(name, text, options)


def _from_yaml(path: Path) -> list[Variant]:
    import yaml

    form = "map names to options, such as\nB: {template: v2, k: 4}".replace("\n", " ")
    try:
        data = load_yaml(read_text(path))
    except OSError as error:
        why = error.strerror or "it cannot be read"
        raise MissingFileError(f"{path}: {why}", hint="check the path of --variant") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {yaml_problem(error)}", hint=form) from error
    if not isinstance(data, dict) or not data:
        raise ConfigError(f"{path} has no variants", hint=form)
    found = []
    for name, given in data.items():
        where = f"{path}, variant {name!r}"
        if given is not None and not isinstance(given, dict):
            raise ConfigError(f"{where}: {given!r} are not options", hint=form)
        options: dict[str, Any] = {}
        for key, value in (given or {}).items():
            _put(options, str(key), value, where)
        found.append(_variant(str(name), f"{path.name}: {name}", options))
    return found


def _put(options: dict[str, Any], key: str, value: Any, where: str) -> None:
    name = known_option(key, where, also=["weight"])
    if name in options:
        raise ConfigError(f"{where}: {key} is given twice", hint="give each option once")
    if name == "template":
        parts = value.items() if isinstance(value, Mapping) else None
        options[name] = _template(
            ",".join(f"{k}={v}" for k, v in parts) if parts is not None else str(value)
        )
    elif name == "weight":
        options[name] = _weight(value, where)
    else:
        options[name] = OPTIONS[name].read(value, where)


def _weight(value: Any, where: str) -> float:
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = 0.0
    if isinstance(value, bool) or not 0 < weight < math.inf:
        raise ConfigError(f"{where}: weight = {value!r}", hint="use a number above 0")
    return weight


VariantPipeline: TypeAlias = Pipeline | TaxonomyPipeline | MultiLabelPipeline
"""The pipeline of a variant."""


@dataclass(frozen=True, slots=True)
class FittedVariant:
    """A variant with its fitted classifier."""

    variant: Variant
    classifier: Classifier

    @property
    def name(self) -> str:
        return self.variant.name

    @property
    def pipeline(self) -> VariantPipeline:
        return self.classifier.pipeline_

    @property
    def templates(self) -> dict[str, str]:
        """Language → template with its hash; for a hierarchy, that of level one."""
        found = self.pipeline
        if isinstance(found, MultiLabelPipeline):
            asked = found.setups.items()
            return {language: str(setup.builders[0].ref) for language, setup in asked}
        setups = found.first.setups if isinstance(found, TaxonomyPipeline) else found.setups
        return {language: str(setup.builder.ref) for language, setup in setups.items()}

    def describe(self) -> str:
        """Name, source and resulting parameters, for reports."""
        templates = ", ".join(f"{lang} {ref}" for lang, ref in self.templates.items())
        if not self.pipeline.has_model:
            return f"{self.name}: {self.variant.source}; no model, experts alone"
        return (
            f"{self.name}: {self.variant.source}; template {templates}; "
            f"k = {self.pipeline.k}; engine {self.pipeline.engine.spec}"
        )


def check_variants(
    variants: Sequence[Variant], common: Mapping[str, Any], card: TaskCard, task: str | Path
) -> None:
    """Compile every template, and refuse equal variants, before an engine is loaded.

    Args:
        common: the common options of the classifier.

    Raises:
        TemplateError: a template does not compile; the message has its file and line.
        TaskError: the task has no such version.
        ConfigError: two variants are equal.

    >>> from ecomfs.task import load_task
    >>> same = [Variant("A", "k=4", {"k": 4}), Variant("B", "k=4", {"k": 4})]
    >>> check_variants(same, {}, load_task("review_sentiment"), "review_sentiment")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: variants 'A' and 'B' are the same (they build the same prompts; ...
    """
    seen: dict[tuple[Any, ...], str] = {}
    for variant in variants:
        options = {**common, **variant.options}
        chosen = options.get("language") or card.language
        # With several labels per row there is one fixed template.
        shas = tuple(
            load_template(card, options.get("template"), language, task).ref.sha
            for language in LANGUAGES
            if chosen in ("auto", language) and not card.multi_label
        )
        k = card.default_k if options.get("k") is None else options["k"]
        rest = {**options, "language": chosen, "template": shas, "k": k}
        without = options.get("engine") in (None, NO_MODEL) and "engine" in options
        if without:
            rest = {name: value for name, value in rest.items() if name not in PROMPT_OPTIONS}
        key = tuple((name, str(value)) for name, value in sorted(rest.items()))
        if key in seen:
            why = "they build the same prompts"
            if without:
                why = "without a model (engine none) prompts are not used"
            raise ConfigError(
                f"variants {seen[key]!r} and {variant.name!r} are the same",
                hint=f"{why}; change one of them",
            )
        seen[key] = variant.name


def fit_variants(
    variants: Sequence[Variant],
    common: Mapping[str, Any],
    task: str | Path,
    pool: Pool | Sequence[Example],
    *,
    progress: Progress = silent,
) -> list[FittedVariant]:
    """Fit all variants before the first row is classified, so that an error in the last one does
    not waste the time of the others.

    Args:
        progress: called with the progress, phase by phase of every variant.

    Raises:
        EcomfsError: as in :meth:`FewShotClassifier.fit`, with the name of the variant.

    >>> wrong = Variant("few", "k=-1", {"k": -1})
    >>> try:
    ...     fit_variants([wrong], {}, "review_sentiment", [])
    ... except ConfigError as error:
    ...     print(error, error.__notes__)
    k = -1 (k is a whole number, 0 or more) ["variant 'few': k=-1"]
    """
    found = []
    for variant in variants:
        try:
            classifier = classifier_of(task, **{**common, **variant.options})
            classifier.fit(
                pool if isinstance(pool, Pool) else list(pool),
                progress=within(progress, variant.name),
            )
        except EcomfsError as error:
            error.add_note(f"variant {variant.name!r}: {variant.source}")
            raise
        found.append(FittedVariant(variant, classifier))
    return found
