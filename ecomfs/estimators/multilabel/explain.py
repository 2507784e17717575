"""The explanation of one row of a multi-label task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ecomfs.estimators.multilabel.pipeline import LabelReadings, MultiLabelPipeline, RowPrompts
from ecomfs.estimators.multilabel.prompts import YES
from ecomfs.types import Demonstration, Posterior, Prediction


@dataclass(frozen=True, slots=True)
class LabelResult:
    """The result for one label of one row.

    Attributes:
        read: the model's probability of yes; ``None`` if it could not be read.
        votes: the neighbours' probability of the label; ``None`` if they were not used.
        probability: the probability after calibration and fusion.
        threshold: the least probability with which a row gets the label.
    """

    read: float | None
    votes: float | None
    probability: float | None
    threshold: float

    @property
    def given(self) -> bool:
        """Whether the row has the label."""
        return self.probability is not None and self.probability >= self.threshold


@dataclass(frozen=True, slots=True)
class MultiLabelExplanation:
    """How the labels of one row were found. ``print`` it, or use :meth:`to_dict`.

    Attributes:
        prediction: the prediction.
        language: the language of the prompts.
        labels: label → its result, in the order of the label space.
        demonstrations: the demonstrations, in prompt order.
        prompt: the prompt of the first label; the others differ in their last line. ``None`` if
            the row failed before it was read.
    """

    prediction: Prediction
    language: str
    labels: Mapping[str, LabelResult]
    demonstrations: tuple[Demonstration, ...]
    prompt: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        p = self.prediction
        return {
            "labels": None if p.labels is None else list(p.labels),
            "status": str(p.status),
            "error": p.error,
            "note": p.note,
            "probabilities": dict(p.probabilities),
            "readings": {
                name: asdict(label) | {"given": label.given} for name, label in self.labels.items()
            },
            "label_mass": p.label_mass,
            "language": self.language,
            "template": str(p.template) if p.template else None,
            "engine": p.engine,
            "demonstrations": [
                {
                    "id": d.example.id,
                    "label": d.example.label,
                    "text": d.text,
                    "similarity": d.similarity,
                }
                for d in self.demonstrations
            ],
            "prompt": self.prompt,
            "prompt_tokens": p.prompt_tokens,
            "cached_tokens": p.cached_tokens,
        }

    @property
    def _labels(self) -> str:
        labels = self.prediction.labels
        return "none" if labels is None else ", ".join(labels) or "no label"

    def _repr_html_(self) -> str:
        """HTML for notebooks."""
        from ecomfs_eval.html_view import folded, paragraph, table, view

        p = self.prediction
        found = [[n, x.read, x.votes, x.probability, x.threshold] for n, x in self.labels.items()]
        marks = [at for at, x in enumerate(self.labels.values()) if x.given]
        examples = [
            [d.example.id, d.example.label, d.similarity, " ".join(d.text.split())]
            for d in self.demonstrations
        ]
        return view(
            f"labels: {self._labels} ({p.status})",
            paragraph(p.error),
            table(["label", "read", "votes", "final", "threshold"], found, chosen=marks),
            table(["demonstration", "labels", "similarity", "text"], examples) if examples else "",
            folded("prompt of the first label", self.prompt) if self.prompt else "",
        )

    def __str__(self) -> str:
        p = self.prediction
        lines = [f"labels: {self._labels}  ({p.status}{': ' + p.error if p.error else ''})"]
        lines.append("    read   votes   final  threshold")
        for name, label in self.labels.items():
            values = (label.read, label.votes, label.probability)
            cells = "  ".join("     –" if v is None else f"{v:6.3f}" for v in values)
            lines.append(f"  {cells}     {label.threshold:.3f}  {name}")
        lines.append(f"demonstrations ({len(self.demonstrations)}, in prompt order):")
        for d in self.demonstrations:
            text = " ".join(d.text.split())
            short = text if len(text) <= 72 else text[:71] + "…"
            lines.append(f"  {d.similarity:6.3f}  [{d.example.label}] {d.example.id}: {short}")
        if self.prompt is not None:
            lines += [f"prompt of the first label ({p.template}):", self.prompt]
        return "\n".join(lines)


def explanation(
    rows: MultiLabelPipeline, asked: RowPrompts, read: LabelReadings
) -> MultiLabelExplanation:
    """The explanation of one row that was read."""
    prediction = rows.prediction(asked, read)
    labels = {}
    for place, name in enumerate(rows.space.names):
        found = read[place] if place < len(read) else None
        labels[name] = LabelResult(
            found.probabilities[YES]
            if isinstance(found, Posterior) and found.probabilities
            else None,
            asked.votes[place] if asked.votes else None,
            prediction.probabilities.get(name),
            rows.thresholds[name],
        )
    prompt = asked.prompts[0].text if asked.prompts else None
    return MultiLabelExplanation(prediction, asked.language, labels, asked.shown, prompt)


__all__ = ["LabelResult", "MultiLabelExplanation", "explanation"]
