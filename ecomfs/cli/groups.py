"""The options that verbs have in common, in groups, and what is made of them.

    MaybeLabelled, Labelled   which task, which labelled examples (:mod:`ecomfs.cli.labelled`)
    Reading                   how a row is read
    Fitting                   what is fitted on the examples before rows are read
    Promises                  what is promised about the answers

A verb takes a group as one parameter (:func:`ecomfs.cli.unfold.unfolded`). :func:`classifier`
makes a classifier of them, whose own checks judge the values.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from ecomfs.cli import options as o
from ecomfs.cli.labelled import Labelled, MaybeLabelled, is_pool
from ecomfs.errors import ConfigError

if TYPE_CHECKING:
    from ecomfs.estimators import FewShotClassifier


@dataclass(frozen=True, slots=True)
class AnyTemplate:
    """How a row is read, but for the template: variants have their own."""

    PANEL: ClassVar[str] = "How a row is read"

    engine: o.Engine = "auto"
    k: o.K = None
    embedder: o.Embedder = "auto"
    language: o.Language = None
    readout: o.Readout = "auto"
    strategy: o.Strategy = "balanced"
    similarity: o.Similarity = "auto"
    sharing: o.Sharing = "none"
    shortlist: o.Shortlist = None
    passes: o.Passes = 1

    def options(self) -> dict[str, Any]:
        """As the classifier calls them."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class Reading(AnyTemplate):
    """How a row is read."""

    template: o.Template = None


@dataclass(frozen=True, slots=True)
class Fitting:
    """What is fitted on the labelled examples before rows are read."""

    PANEL: ClassVar[str] = "What is fitted on the examples"

    calibrate: o.Calibrate = 48
    fusion: o.Fusion = True
    profile: o.Profile = None

    def options(self) -> dict[str, Any]:
        """As the classifier calls them."""
        return {
            "calibration_size": self.calibrate,
            "fusion": self.fusion,
            "profile": self.profile,
        }


@dataclass(frozen=True, slots=True)
class Promises:
    """What is promised about the answers, with thresholds fitted on the examples."""

    PANEL: ClassVar[str] = "Promises"

    precision: Annotated[
        float | None,
        typer.Option(help="of rows accepted without a person, such as 0.95; others abstain"),
    ] = None
    coverage: Annotated[
        float | None, typer.Option(help="of prediction sets, such as 0.9: adds the sets")
    ] = None
    max_loss: Annotated[
        float | None,
        typer.Option(help="accuracy that may be lost by not asking the model, such as 0.01"),
    ] = None
    novel_below: Annotated[
        float | None,
        typer.Option(help="abstain on rows that look this unlikely to fit any label (0.05)"),
    ] = None

    def options(self) -> dict[str, Any]:
        """As the classifier calls them."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def asked(self) -> list[str]:
        """The options that were given, as on the command line."""
        return [f"--{k.replace('_', '-')}" for k, v in self.options().items() if v is not None]

    def check(self, labelled: MaybeLabelled, fitting: Fitting) -> None:
        """A promise for which nothing would be fitted is refused, not forgotten.

        Raises:
            ConfigError: without examples, without readings of them, or beside a profile; a
                number out of range.
        """
        if not self.asked:
            return
        from ecomfs.fit import Guarantees

        Guarantees(fitting.fusion, **self.options())
        first = self.asked[0]
        if fitting.profile is not None:
            raise ConfigError(
                f"{first} beside --profile {fitting.profile}, which keeps the promises that it "
                "was fitted for",
                hint=f"leave out --profile, or make it anew: ecomfs fit … {first}",
            )
        if not labelled.sources:
            raise ConfigError(
                f"{first} without --examples: a promise is fitted on labelled examples",
                hint="name them",
            )
        if fitting.calibrate < 1:
            raise ConfigError(
                f"{first} with --calibrate {fitting.calibrate}: a promise is fitted on examples "
                "that are read leave-one-out",
                hint="read 48 or more",
            )


def options(labelled: MaybeLabelled, *groups: AnyTemplate | Fitting | Promises) -> dict[str, Any]:
    """What the command line says, by the names of the classifier's options (but the task)."""
    said = {name: value for group in groups for name, value in group.options().items()}
    return {**said, "seed": labelled.seed}


def classifier(
    labelled: MaybeLabelled, *groups: AnyTemplate | Fitting | Promises, **more: Any
) -> FewShotClassifier:
    """A classifier of what the command line says.

    Args:
        more: options of the classifier that stand in no group, or other values than theirs.
    """
    from ecomfs.estimators import FewShotClassifier

    said = {**options(labelled, *groups), "fields": labelled.fields, **more}
    return FewShotClassifier(labelled.task, **said)


def tell(promises: Promises, fitted: FewShotClassifier) -> None:
    """Say which promises a fit can keep and which it cannot, and what it found that a person
    should hear of: labels that the examples make unlikely, a model that adds nothing."""
    from ecomfs.cli.present import note, notes_of, promised

    if promises.asked and fitted.profile_ is not None:
        for line in promised(fitted.profile_.found):
            note(line)
    for line in notes_of(fitted):
        note(line)


__all__ = [
    "AnyTemplate",
    "Fitting",
    "Labelled",
    "MaybeLabelled",
    "Promises",
    "Reading",
    "classifier",
    "is_pool",
    "options",
    "tell",
]
