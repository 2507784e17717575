"""What was fitted for several labels a row, in a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field

from ecomfs.calibration import Blend, Calibration
from ecomfs.estimators.multilabel.prompts import YES_NO
from ecomfs.estimators.multilabel.reader import Reader
from ecomfs.estimators.multilabel.threshold import LabelThreshold
from ecomfs.fit import BlendWeights, LanguageCalibration, pool_hash
from ecomfs.fit.profile_file import ProfileFile, StrictRecord
from ecomfs.types import Example, Language


class KeptThreshold(StrictRecord):
    """As :class:`ecomfs.estimators.multilabel.threshold.LabelThreshold`."""

    value: float
    best: float | None
    f1: float | None
    yes: int
    readings: int


class MultiLabelProfile(ProfileFile):
    """What a fit found for several labels a row; a file of JSON.

    Attributes:
        engine: its fingerprint.
        pool: hash of the examples it was fitted on, and how many there were.
        calibration: of yes and no, by language.
        blend: how model and neighbours answer together.
        thresholds: by label.
        accept_from: confidence below which a row abstains.
        found: notes.

    >>> MultiLabelProfile(task="t", engine="e", pool="p", examples=2, k=4).accept_from is None
    True
    """

    format: Literal[1] = 1
    kind: Literal["several labels"] = "several labels"
    task: str
    engine: str
    pool: str
    examples: int
    k: int
    calibration: dict[Language, LanguageCalibration] = Field(default_factory=dict)
    blend: BlendWeights | None = None
    thresholds: dict[str, KeptThreshold] = Field(default_factory=dict)
    accept_from: float | None = None
    guarantees: dict[str, Any] = Field(default_factory=dict)
    found: dict[str, Any] = Field(default_factory=dict)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from ecomfs_eval.html_view import paragraph, table, view

        rows = [[name, t.value, t.f1, t.yes, t.readings] for name, t in self.thresholds.items()]
        return view(
            f"profile of {self.task}",
            paragraph(f"fitted on {self.examples} examples, several labels a row, k = {self.k}"),
            table(["label", "given from", "F1 read", "with it", "read"], rows) if rows else "",
            paragraph(f"engine {self.engine}", note=True),
        )

    @classmethod
    def of(
        cls,
        reader: Reader,
        examples: list[Example],
        thresholds: Mapping[str, LabelThreshold],
        **more: Any,
    ) -> Self:
        """The profile of what was just fitted."""
        names = YES_NO.names
        return cls(
            task=reader.card.name,
            engine=reader.engine.fingerprint,
            pool=pool_hash(examples),
            examples=len(examples),
            k=reader.k,
            calibration={
                language: LanguageCalibration.of(found, names)
                for language, setup in reader.setups.items()
                if (found := setup.calibration) is not None
            },
            blend=BlendWeights.of(reader.blend, names),
            thresholds={
                name: KeptThreshold(
                    value=t.value, best=t.best, f1=t.f1, yes=t.yes, readings=t.readings
                )
                for name, t in thresholds.items()
            },
            **more,
        )

    def differences(self, reader: Reader, examples: list[Example]) -> list[str]:
        """What is no longer as it was when the profile was fitted, one line each."""
        out = []
        if self.task != reader.card.name:
            out.append(f"fitted for task {self.task}, used for {reader.card.name}")
        if self.engine != reader.engine.fingerprint:
            out.append(f"fitted on engine {self.engine}, used with {reader.engine.fingerprint}")
        if other := sorted(set(self.thresholds) ^ set(reader.labels.names)):
            out.append(f"other labels: {', '.join(other[:5])}{' …' if len(other) > 5 else ''}")
        if self.pool != pool_hash(examples):
            out.append(f"fitted on {self.examples} examples, used with {len(examples)} others")
        if self.k != reader.k and reader.has_model:
            out.append(f"fitted with k = {self.k}, used with k = {reader.k}")
        return out

    def calibrations(self) -> dict[Language, Calibration]:
        """The calibration of yes and no, by language."""
        return {language: kept.read(YES_NO.names) for language, kept in self.calibration.items()}

    def own_blend(self) -> Blend | None:
        """How model and neighbours answer together."""
        return None if self.blend is None else self.blend.read(YES_NO.names)

    def own_thresholds(self, names: tuple[str, ...]) -> dict[str, LabelThreshold]:
        """By label; one that the profile does not have has 0.5."""
        kept = {name: LabelThreshold(**t.model_dump()) for name, t in self.thresholds.items()}
        return {name: kept.get(name, LabelThreshold()) for name in names}


__all__ = ["MultiLabelProfile"]
