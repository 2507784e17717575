"""What is fitted on the examples, leave-one-out: calibration of yes and no, and thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ecomfs.calibration import Blend, Threshold, accept_threshold, fit_calibration
from ecomfs.core.progress import FITTING, Progress, silent
from ecomfs.estimators.multilabel.neighbours import fit_cells
from ecomfs.estimators.multilabel.prediction import answer, calibrated, yes
from ecomfs.estimators.multilabel.prompts import NO, YES
from ecomfs.estimators.multilabel.reader import LabelReadings, Reader, RowPrompts, YesNoSetup
from ecomfs.estimators.multilabel.rows import MultiLabelRows
from ecomfs.estimators.multilabel.threshold import PRIOR, LabelThreshold, fit_threshold
from ecomfs.types import Example, Language, Posterior

CHUNK = 8
"""Examples between two reports of progress."""


class _Cell(NamedTuple):
    """One label of one example, read as if it were new."""

    language: Language
    label: int
    truth: int
    read: Posterior
    vote: float | None


async def fit_thresholds(
    reader: Reader,
    examples: Sequence[Example],
    sets: Mapping[str, frozenset[int]],
    progress: Progress = silent,
) -> tuple[Reader, dict[str, LabelThreshold], tuple[str, ...]]:
    """Read examples as if they were new, each for every label.

    Calibration of yes and no, and the weight of the neighbours beside the model, are fitted for
    all labels together, since few examples have any one label. Each label has its own threshold.

    Args:
        examples: of the pool.
        sets: example id → positions of its labels.

    Returns:
        The reader with its calibration and blend, the thresholds by label, and notes for the user.
    """
    if not reader.has_model:
        return await _fit_votes(reader, examples, sets, progress)
    names = reader.labels.names
    found: list[_Cell] = []
    for example, asked, read in await _left_out(reader, examples, progress):
        for label, posterior in enumerate(read):
            # Text read-outs and failures have no probabilities.
            if isinstance(posterior, Posterior) and posterior.label_mass is not None:
                truth = YES if label in sets[example.id] else NO
                vote = asked.votes[label] if asked.votes else None
                found.append(_Cell(asked.language, label, truth, posterior, vote))
    setups = dict(reader.setups)
    for language, setup in reader.setups.items():
        mine = [cell for cell in found if cell.language == language]
        calibration = fit_calibration(
            [cell.read.probabilities for cell in mine], [cell.truth for cell in mine]
        )
        setups[language] = replace(setup, calibration=calibration)
    reader = replace(reader, setups=setups, blend=_blend(setups, found))
    thresholds = {}
    for label, name in enumerate(names):
        own = [cell for cell in found if cell.label == label]
        chances = []
        for cell in own:
            votes = [] if cell.vote is None else [cell.vote]
            chances += yes(reader, setups[cell.language], [cell.read], votes)
        thresholds[name] = fit_threshold(chances, [cell.truth == YES for cell in own])
    return reader, thresholds, _notes(thresholds, len(examples))


async def _left_out(
    reader: Reader, examples: Sequence[Example], progress: Progress
) -> list[tuple[Example, RowPrompts, LabelReadings]]:
    """Examples, each read for every label as if it were new."""
    out: list[tuple[Example, RowPrompts, LabelReadings]] = []
    for start in range(0, len(examples), CHUNK):
        progress(FITTING, start, len(examples))
        part = examples[start : start + CHUNK]
        answered = await reader.read(
            [e.fields for e in part],
            [e.id for e in part],
            exclude_ids=[{e.id} for e in part],
            leave_self_out=True,
        )
        out += [(e, asked, read) for e, (asked, read) in zip(part, answered, strict=True)]
    progress(FITTING, len(examples), len(examples))
    return out


async def _fit_votes(
    reader: Reader,
    examples: Sequence[Example],
    sets: Mapping[str, frozenset[int]],
    progress: Progress,
) -> tuple[Reader, dict[str, LabelThreshold], tuple[str, ...]]:
    """As :func:`fit_thresholds`, of the neighbours alone: they cost no reading."""
    answered = await _left_out(reader, examples, progress)
    voted = [(asked.votes, sets[e.id]) for e, asked, _ in answered if asked.votes]
    thresholds = {
        name: fit_threshold([v[label] for v, _ in voted], [label in own for _, own in voted])
        for label, name in enumerate(reader.labels.names)
    }
    return reader, thresholds, _notes(thresholds, len(examples))


async def fit_acceptance(
    rows: MultiLabelRows,
    examples: Sequence[Example],
    sets: Mapping[str, frozenset[int]],
    precision: float,
    progress: Progress = silent,
) -> tuple[Threshold | None, tuple[str, ...]]:
    """From which confidence on rows have exactly the right labels so often, and a note where no
    confidence shows it.

    Args:
        examples: of the pool; each is read as if it were new.
        sets: example id → positions of its labels.
    """
    reader, names = rows.reader, rows.reader.labels.names
    confidence, right = [], []
    for example, asked, read in await _left_out(reader, examples, progress):
        found = rows.prediction(answer(reader, asked, read, rows.thresholds))
        if found.labels is not None and found.confidence is not None:
            confidence.append(found.confidence)
            right.append({*found.labels} == {names[i] for i in sets[example.id]})
    accept = accept_threshold(confidence, right, precision)
    if accept is not None:
        return accept, ()
    return None, (
        f"{len(right)} examples do not show a precision of {precision:.0%} at any threshold: "
        "every row abstains and needs review; label more, or ask for less",
    )


def _blend(setups: Mapping[Language, YesNoSetup], found: Sequence[_Cell]) -> Blend | None:
    asked = [cell for cell in found if cell.vote is not None]
    if not asked:
        return None
    return fit_cells(
        [calibrated(setups[cell.language], cell.read) for cell in asked],
        [cell.vote for cell in asked if cell.vote is not None],
        [cell.truth for cell in asked],
    )


def _notes(thresholds: Mapping[str, LabelThreshold], read: int) -> tuple[str, ...]:
    if not any(t.readings for t in thresholds.values()):
        why = "no reading gave probabilities" if read else "no example was read leave-one-out"
        return (f"{why}: every threshold is 0.5",)
    out = []
    never = [name for name, t in thresholds.items() if not t.yes]
    few = [f"{name} ({t.yes})" for name, t in thresholds.items() if 0 < t.yes < PRIOR]
    if never:
        out.append(
            f"no example that was read has {', '.join(never)}: F1 is undefined there, and the "
            "threshold is 0.5"
        )
    if few:
        out.append(
            f"fewer than {PRIOR} of the examples that were read have {', '.join(few)}: the "
            "threshold lies nearer to 0.5 than to the one with the best F1"
        )
    return tuple(out)


__all__ = ["fit_acceptance", "fit_thresholds"]
