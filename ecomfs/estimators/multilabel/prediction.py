"""From the readings of a row to its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ecomfs.errors import EcomfsError
from ecomfs.estimators.multilabel.neighbours import evidence
from ecomfs.estimators.multilabel.prompts import YES
from ecomfs.estimators.multilabel.reader import LabelReadings, Reader, RowPrompts, YesNoSetup
from ecomfs.types import Posterior, Prompt, Status, TemplateRef, floats


@dataclass(frozen=True, slots=True)
class MultiLabelPrediction:
    """The answer for one row of a task whose rows may have several labels.

    Attributes
    ----------
    id : str
        The row's id.
    labels : tuple of str, optional
        The labels it has, perhaps none, in the order of the label space; ``None`` unless ``status``
        is ok.
    probabilities : mapping
        Label → probability that the row has it, each read by itself: they do not sum to one. Empty
        when there are none.
    status : Status
        Ok, invalid or failed; one label that cannot be read fails the row.
    error : str
        One line for a person; empty when ok.
    note : str
        What was left out to fit the context; empty when nothing was.
    label_mass : float, optional
        The least probability, of all labels, that the model puts on yes or no.
    demonstration_ids : tuple of str
        Examples that stand in the prompts, in their order; without a model those that vote.
    template, engine, pool_version, prompt_tokens, cached_tokens
        As in :class:`ecomfs.types.Prediction`; tokens are those of all labels' prompts.
    suspicious : tuple of str
        Why the row looks like an attack on the model.

    Examples
    --------
    >>> each = {"price": 0.9, "size": 0.7, "smell": 0.1}
    >>> found = MultiLabelPrediction("r1", ("price", "size"), each)
    >>> found.labels, str(found.status)
    (('price', 'size'), 'ok')
    """

    id: str
    labels: tuple[str, ...] | None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    status: Status = Status.OK
    error: str = ""
    note: str = ""
    label_mass: float | None = None
    demonstration_ids: tuple[str, ...] = ()
    template: TemplateRef | None = None
    engine: str = ""
    pool_version: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    suspicious: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from ecomfs_eval.html_view import paragraph, table, view

        own = self.labels or ()
        ranked = sorted(self.probabilities.items(), key=lambda item: -item[1])
        marks = [at for at, (name, _) in enumerate(ranked) if name in own]
        shown = "none" if self.labels is None else ", ".join(own) or "no label"
        return view(
            f"{self.id}: {shown} ({self.status})",
            paragraph(self.error),
            table(["label", "probability"], ranked, chosen=marks) if ranked else "",
            paragraph(self.note, note=True),
        )


def answer(
    reader: Reader, asked: RowPrompts, read: LabelReadings, thresholds: Mapping[str, float]
) -> MultiLabelPrediction:
    """The answer for one row.

    Args:
        thresholds: label → probability from which on it is given.
    """
    base = MultiLabelPrediction(
        asked.id,
        None,
        status=Status.FAILED,
        engine=reader.engine.fingerprint,
        suspicious=asked.suspicious,
    )
    if asked.error is not None:
        return replace(base, error=str(asked.error))
    if not reader.has_model:
        shown = tuple(d.example.id for d in asked.nearest)
        return replace(_decided(base, reader, asked.votes, thresholds), demonstration_ids=shown)
    setup = reader.setups[asked.language]
    first = asked.prompts[0]
    good = [found for found in read if isinstance(found, Posterior)]
    base = replace(
        base,
        template=first.template,
        demonstration_ids=setup.builders[0].standing(first.demonstrations),
        note=_note(asked.prompts),
        prompt_tokens=sum(p.prompt_tokens for p in good),
        cached_tokens=sum(p.cached_tokens for p in good),
    )
    names = reader.labels.names
    for name, found in zip(names, read, strict=True):
        if isinstance(found, EcomfsError):
            return replace(base, error=f"label {name!r}: {found}")
        if not found.probabilities:
            answer_text = " ".join((found.raw or "").split())[:80]
            error = f"label {name!r}: the model answered {answer_text!r}, neither yes nor no"
            if found.raw is None:
                error = f"label {name!r}: the model gives yes and no the same probability, near 0"
            return replace(base, status=Status.INVALID, error=error)
    chances = yes(reader, setup, good, asked.votes)
    masses = [found.label_mass for found in good if found.label_mass is not None]
    decided = _decided(base, reader, chances, thresholds)
    return replace(decided, label_mass=min(masses, default=None))


def _decided(
    base: MultiLabelPrediction,
    reader: Reader,
    chances: Sequence[float],
    thresholds: Mapping[str, float],
) -> MultiLabelPrediction:
    """With the labels whose probability reaches their threshold."""
    p = dict(zip(reader.labels.names, chances, strict=True))
    given = tuple(name for name in p if p[name] >= thresholds[name])
    return replace(base, labels=given, probabilities=p, status=Status.OK)


def yes(
    reader: Reader, setup: YesNoSetup, found: Sequence[Posterior], votes: Sequence[float]
) -> list[float]:
    """The probability of yes, by the model and, where the reader has a blend, the neighbours.

    Args:
        found: readings of cells, each a pair of no and yes.
        votes: the neighbours' probability of yes, one a reading; empty: they were not asked.
    """
    model = [calibrated(setup, posterior) for posterior in found]
    if reader.blend is None or not votes:
        return [p[YES] for p in model]
    both: list[float] = reader.blend.apply(evidence(model, votes))[:, YES].tolist()
    return both


def calibrated(setup: YesNoSetup, found: Posterior) -> tuple[float, ...]:
    """No and yes, calibrated."""
    p = found.probabilities
    return p if setup.calibration is None else floats(setup.calibration.apply(p))


def _note(prompts: tuple[Prompt, ...]) -> str:
    """What was left out of the prompt that lost most (they differ in the label asked about)."""
    parts = []
    if dropped := max(p.dropped for p in prompts):
        parts.append(f"{dropped} demonstrations left out to fit the context")
    if cut := max(p.cut for p in prompts):
        parts.append(f"the last {cut} characters of the text left out to fit the context")
    return "; ".join(parts)


__all__ = ["MultiLabelPrediction", "answer", "calibrated", "yes"]
