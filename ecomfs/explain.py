"""The explanation of one prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ecomfs.pipeline import Case
from ecomfs.types import Posterior, Prediction


@dataclass(frozen=True, slots=True)
class Explanation:
    """What led to one prediction. ``print`` it, or take :meth:`to_dict`.

    Attributes:
        case: language, demonstrations and prompt.
        posterior: the reading, as a distribution; ``None`` when the row failed.
        prediction: the answer.
        labels: the label space, aligned with the posterior.
    """

    case: Case
    posterior: Posterior | None
    prediction: Prediction
    labels: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        prediction = self.prediction
        return {
            "label": prediction.label,
            "status": str(prediction.status),
            "error": prediction.error,
            "note": prediction.note,
            "confidence": prediction.confidence,
            "probabilities": dict(prediction.probabilities),
            "as_read": dict(zip(self.labels, self.posterior.probabilities, strict=False))
            if self.posterior
            else {},
            "label_mass": prediction.label_mass,
            "language": self.case.language,
            "template": str(prediction.template) if prediction.template else None,
            "engine": prediction.engine,
            "demonstrations": [
                {
                    "id": d.example.id,
                    "label": d.example.label,
                    "text": d.text,
                    "similarity": None if math.isnan(d.similarity) else round(d.similarity, 4),
                }
                for d in self.case.demonstrations
            ],
            "prompt": self.case.prompt.text if self.case.prompt else None,
            "prompt_tokens": prediction.prompt_tokens,
            "cached_tokens": prediction.cached_tokens,
        }

    def __str__(self) -> str:
        p = self.prediction
        lines = [f"label: {p.label}  ({p.status}{': ' + p.error if p.error else ''})"]
        read = self.posterior.probabilities if self.posterior else ()
        as_read = dict(zip(self.labels, read, strict=False))
        ranked = sorted(p.probabilities.items(), key=lambda item: -item[1])[:8]
        for name, value in ranked:
            raw = as_read.get(name, value)
            before = f"  (as read {raw:.3f})" if abs(raw - value) > 0.0005 else ""
            lines.append(f"  {value:6.3f}  {name}{before}")
        if p.label_mass is not None:
            lines.append(f"label mass: {p.label_mass:.3f}  (probability on any valid answer)")
        lines.append(f"demonstrations ({len(self.case.demonstrations)}, as they stand):")
        for d in self.case.demonstrations:
            text = " ".join(d.text.split())
            short = text if len(text) <= 72 else text[:71] + "…"
            lines.append(f"  {d.similarity:6.3f}  [{d.example.label}] {d.example.id}: {short}")
        if self.case.prompt:
            lines += [f"prompt ({p.prompt_tokens} tokens, {p.template}):", self.case.prompt.text]
        return "\n".join(lines)
