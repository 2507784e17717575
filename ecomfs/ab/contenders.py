"""From variants to fitted pipelines that differ in nothing but what the user asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecomfs.ab.variant import LANGUAGES, Variant
from ecomfs.core.progress import Progress, silent, within
from ecomfs.errors import ConfigError, EcomfsError
from ecomfs.estimators import FewShotClassifier
from ecomfs.pipeline import Pipeline, load_template
from ecomfs.pool import Pool
from ecomfs.task import TaskCard
from ecomfs.types import Example


@dataclass(frozen=True, slots=True)
class Contender:
    """A variant that is ready to be asked."""

    variant: Variant
    classifier: FewShotClassifier

    @property
    def name(self) -> str:
        return self.variant.name

    @property
    def pipeline(self) -> Pipeline:
        return self.classifier.pipeline_

    @property
    def templates(self) -> dict[str, str]:
        """Language → template with its hash."""
        return {
            language: str(setup.builder.template.ref)
            for language, setup in self.pipeline.setups.items()
        }

    def describe(self) -> str:
        """Name, what the user wrote, and what came of it, for reports."""
        templates = ", ".join(f"{lang} {ref}" for lang, ref in self.templates.items())
        return (
            f"{self.name}: {self.variant.source}; template {templates}; "
            f"k = {self.pipeline.k}; engine {self.pipeline.engine.spec}"
        )


def check_variants(
    variants: Sequence[Variant], common: Mapping[str, Any], card: TaskCard, task: str | Path
) -> None:
    """Compile every template that may be needed, and refuse variants that are the same, before an
    engine takes its time to load.

    Args:
        common: the classifier's options that no variant names.

    Raises:
        TemplateError: a template does not compile; the message names its file and line.
        TaskError: the task has no such version.
        ConfigError: two variants do not differ.
    """
    seen: dict[tuple[Any, ...], str] = {}
    for variant in variants:
        options = {**common, **variant.options}
        chosen = options.get("language") or card.language
        shas = tuple(
            load_template(card, options.get("template"), language, task).ref.sha
            for language in LANGUAGES
            if chosen in ("auto", language)
        )
        k = card.default_k if options.get("k") is None else options["k"]
        rest = {**options, "language": chosen, "template": shas, "k": k}
        key = tuple((name, str(value)) for name, value in sorted(rest.items()))
        if key in seen:
            raise ConfigError(
                f"variants {seen[key]!r} and {variant.name!r} are the same",
                hint="they ask every row the same way; change one of them",
            )
        seen[key] = variant.name


def fit_variants(
    variants: Sequence[Variant],
    common: Mapping[str, Any],
    task: str | Path,
    pool: Pool | Sequence[Example],
    *,
    progress: Progress = silent,
) -> list[Contender]:
    """Fit every contender before the first row is read: an error in the last one must not cost
    the time of the others.

    Args:
        progress: told how far it is, phase by phase of every variant.

    Raises:
        EcomfsError: as :meth:`FewShotClassifier.fit`, naming the variant.
    """
    found = []
    for variant in variants:
        try:
            classifier = FewShotClassifier(task, **{**common, **variant.options})
            classifier.fit(
                pool if isinstance(pool, Pool) else list(pool),
                progress=within(progress, variant.name),
            )
        except EcomfsError as error:
            error.add_note(f"variant {variant.name!r}: {variant.source}")
            raise
        found.append(Contender(variant, classifier))
    return found
