"""Loads the labelled examples of a command line, and fits the classifier."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ecomfs.cli import options as o
from ecomfs.cli.terminal import say
from ecomfs.core.options import DEFAULTS, GUARANTEES, NO_MODEL, OPTIONS
from ecomfs.core.progress import LOADING, Phases
from ecomfs.errors import ConfigError

if TYPE_CHECKING:
    from ecomfs.estimators import Classifier, FewShotClassifier
    from ecomfs.pool import Pool
    from ecomfs.task import TaskCard
    from ecomfs.types import Example


@dataclass(frozen=True, slots=True)
class OptionalExamples:
    """The task and its labelled examples; zero-shot without ``examples``."""

    PANEL: ClassVar[str] = "Labelled examples"

    task: o.Task
    examples: o.MaybeExamplesOption = None
    pool_name: o.PoolName = o.POOL_NAME
    label_column: o.LabelColumn = None
    input_encoding: o.InputEncoding = None
    field: o.Fields = None
    shots: o.ShotsOption = None
    synthetic: o.Synthetic = True
    seed: o.Seed = DEFAULTS["seed"]

    @property
    def fields(self) -> dict[str, str]:
        """Card field → column, from ``--field``."""
        return parse_fields(self.field)

    @property
    def sources(self) -> list[str]:
        """The values of ``--examples``."""
        given = self.examples or ()
        # Python callers may give a single source instead of a list.
        named = [str(given)] if isinstance(given, str | Path) else [str(each) for each in given]
        pools = [source for source in named if is_pool(source)]
        if pools and len(named) > 1:
            raise ConfigError(
                f"--examples {pools[0]} is a pool and cannot be combined with other --examples",
                hint="put them into one pool with ecomfs examples import",
            )
        return named

    def load(
        self, fields: Mapping[str, str] | None = None, id_column: str | None = None
    ) -> tuple[TaskCard, list[Example]]:
        """The task card and the labelled examples of tables or of a pool, or a seeded sample of
        them; empty without a source. Undeclared spellings that are read as one label are printed
        on standard error.

        Args:
            fields: card field → column, if it differs from :attr:`fields`.
            id_column: column with ids.
        """
        from ecomfs.batch import read_several
        from ecomfs.errors import PoolError
        from ecomfs.pool import real_examples, sample_examples
        from ecomfs.task import LabelSpace, load_task

        names = self.fields if fields is None else fields
        card = load_task(self.task)
        sources = self.sources
        if not sources:
            if self.shots:
                raise ConfigError(
                    f"--shots {self.shots} without --examples", hint="name the examples"
                )
            LabelSpace.resolve(card, ())
            return card, []
        if is_pool(sources[0]):
            where = f"pool {self.pool_name!r}"
            with self._open() as pool:
                found = pool.examples()
        else:
            where = ", ".join(Path(source).name for source in sources)
            found = read_several(
                sources,
                card,
                fields=names,
                label_column=self.label_column,
                id_column=id_column,
                encoding=self.input_encoding,
            )
        refuse_composite_labels(card, [e.label for e in found], where)
        named = [label for e in found for label in card.labels_of(e.label, f"example {e.id!r}")]
        space = LabelSpace.resolve(card, named, where)
        for name, others in space.merged.items():
            also = ", ".join(map(repr, others))
            say(f"note: {where}: {also} counts as the label {name!r}", file=sys.stderr)
        if not self.synthetic and found:
            found = real_examples(found)
            if not found:
                raise PoolError(
                    f"{', '.join(sources)}: every example is synthetic", hint="drop --no-synthetic"
                )
        return card, found if self.shots is None else sample_examples(found, self.shots, self.seed)

    @contextmanager
    def to_fit(self, loaded: list[Example]) -> Iterator[Pool | list[Example]]:
        """The data to fit on: the pool itself, so that predictions have its version and a service
        follows its changes; or the examples loaded from a table or a sample."""
        sources = self.sources
        if not sources or self.shots is not None or not is_pool(sources[0]):
            yield loaded
            return
        with self._open(self.synthetic) as pool:
            yield pool

    @contextmanager
    def _open(self, synthetic: bool = True) -> Iterator[Pool]:
        from ecomfs.errors import PoolError
        from ecomfs.pool import Pool

        [source] = self.sources
        with Pool.open(source, self.pool_name, create=False, synthetic=synthetic) as pool:
            if not pool.stats().examples:
                raise PoolError(
                    f"{pool.url}: pool {self.pool_name!r} holds no examples",
                    hint="check --pool-name, or fill it with ecomfs examples import",
                )
            yield pool


@dataclass(frozen=True, slots=True)
class RequiredExamples(OptionalExamples):
    """The task and its labelled examples (required)."""

    examples: o.ExamplesOption


def refuse_composite_labels(card: TaskCard, labels: Sequence[str], where: str) -> None:
    """Refuse labels such as ``late|broken`` if the task has one label per row: each combination
    would silently become a separate label. A note is printed for labels that look like a
    taxonomy."""
    from ecomfs.errors import InputError
    from ecomfs.task import guess_hierarchy_separator, guess_label_separator

    if card.label_separator is not None or card.hierarchy is not None:
        return
    mark = guess_label_separator(labels)
    if mark is not None:
        example = next(label for label in labels if mark in label)
        raise InputError(
            f"{where}: labels such as {example!r} look like several labels in one cell, and task "
            f"{card.name!r} has one label per row",
            hint=f'in its task.yaml write label_separator: "{mark}" (several labels per row), or '
            'label_separator: "" (this is one label)',
        )
    tree = guess_hierarchy_separator(labels)
    if tree is not None and card.label_space == "open":
        say(
            f"note: {where}: labels such as {labels[0]!r} look like a taxonomy; with hierarchy: "
            f'"{tree}" in task.yaml rows are classified by parent, then by child',
            file=sys.stderr,
        )


def is_pool(source: str | Path) -> bool:
    """Whether ``--examples`` names a pool, not a table.

    >>> [is_pool(s) for s in ("shop.db", "postgresql://host/shop", "pool.csv", "sql:sqlite:///x")]
    [True, True, False, False]
    """
    text = str(source)
    if re.match(r"(sqlite|postgres(ql)?)(\+\w+)?://", text):
        return True
    return ":" not in text and Path(text).suffix.lower() in (".db", ".sqlite", ".sqlite3")


def parse_fields(values: Sequence[str] | None) -> dict[str, str]:
    """``["text=review"]`` → ``{"text": "review"}``."""
    return parse_pairs(values, "--field", "NAME=COLUMN")


def parse_pairs(
    values: Sequence[str] | None, option: str, form: str = "THERE=HERE"
) -> dict[str, str]:
    """The mapping given by a repeatable option ``KEY=VALUE``.

    >>> parse_pairs(["liked=positive"], "--map")
    {'liked': 'positive'}
    """
    out: dict[str, str] = {}
    for value in values or ():
        name, equals, other = value.partition("=")
        if not equals or not name or not other:
            raise ConfigError(f"{option} {value!r}", hint=f"write {option} {form}")
        out[name.strip()] = other
    return out


def check_guarantees(settings: o.Settings, labelled: OptionalExamples) -> None:
    """Refuse a guarantee that cannot be fitted.

    Raises:
        ConfigError: a guarantee without examples, without leave-one-out readings, together with a
            profile, or without the experts that it needs.
    """
    if not settings.guarantees:
        return
    first = settings.guarantees[0]
    if settings["profile"] is not None:
        raise ConfigError(
            f"{first} together with --profile {settings['profile']}, which has its own guarantees",
            hint=f"leave out --profile, or make a new one: ecomfs fit … {first}",
        )
    if not labelled.sources:
        raise ConfigError(
            f"{first} without --examples: a guarantee is fitted on labelled examples",
            hint="name the examples with --examples",
        )
    if settings["calibration_size"] < 1:
        raise ConfigError(
            f"{first} with --calibration-size 0: a guarantee is fitted on leave-one-out readings",
            hint="use --calibration-size 48 or more",
        )
    if settings["max_loss"] is not None and not settings["fusion"]:
        raise ConfigError("--max-loss with --no-fusion", hint="leave one of them out")


def without_fit(settings: o.Settings) -> o.Settings:
    """The settings for a plan: without leave-one-out readings and guarantees."""
    kept = {name: value for name, value in settings.items() if OPTIONS[name].group != GUARANTEES}
    return o.Settings({**kept, "calibration_size": 0})


def one_label_only(card: TaskCard) -> None:
    """Refuse a task with several labels per row."""
    if card.multi_label:
        raise ConfigError(
            f"task {card.name!r} has several labels per row; this command takes one",
            hint="use score, plan, explain, fit, serve, ab or eval score",
        )


def classifier(labelled: OptionalExamples, settings: o.Settings) -> FewShotClassifier:
    """The unfitted classifier of a command line."""
    from ecomfs.estimators import FewShotClassifier
    from ecomfs.task import load_task

    one_label_only(load_task(labelled.task))
    return FewShotClassifier(labelled.task, **_given(labelled, settings))


def _given(labelled: OptionalExamples, settings: o.Settings) -> dict[str, Any]:
    return {"seed": labelled.seed, "fields": labelled.fields, **settings}


def classifier_of_task(labelled: OptionalExamples, settings: o.Settings) -> Classifier:
    """The unfitted classifier that the task needs: one label per row, a hierarchy, or several
    labels per row."""
    from ecomfs.estimators import classifier_of
    from ecomfs.task import load_task

    card = load_task(labelled.task)
    if not labelled.sources and (card.multi_label or card.hierarchy is not None):
        raise ConfigError(
            f"task {card.name!r} needs labelled examples", hint="name them with --examples"
        )
    return classifier_of(labelled.task, **_given(labelled, settings))


def fitted_classifier(
    labelled: OptionalExamples, settings: o.Settings, pool: list[Example], phases: Phases
) -> Classifier:
    """Load the model, fit the classifier on the loaded examples, and print the notes of the fit."""
    check_guarantees(settings, labelled)
    if settings["engine"] != NO_MODEL:
        phases(LOADING)
    clf = classifier_of_task(labelled, settings)
    with labelled.to_fit(pool) as examples:
        clf.fit(examples, progress=phases)
    phases.clear()
    print_notes(clf, settings)
    return clf


def print_notes(fitted: Classifier, settings: o.Settings) -> None:
    """Print the notes of a fit: which guarantees hold, labels with few examples, and whether the
    model adds anything to the experts."""
    from ecomfs.cli.present import guarantee_lines, note, notes_of

    if settings.guarantees and fitted.profile_ is not None:
        for line in guarantee_lines(fitted.profile_.found):
            note(line)
    for line in notes_of(fitted):
        note(line)
