"""The explanation of one prediction: every step, and the influence of each demonstration."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from ecomfs.calibration import softmax
from ecomfs.errors import EcomfsError
from ecomfs.pipeline.pipeline import Pipeline, RowState
from ecomfs.prompt import PromptInput
from ecomfs.types import Demonstration, Posterior, Prediction, Row, floats

SHOWN = 8
"""Most labels printed, the likeliest first; :meth:`Explanation.to_dict` has all of them."""


@dataclass(frozen=True, slots=True)
class Influence:
    """The influence of one demonstration on the prediction.

    Attributes:
        example_id: id of the demonstration.
        without: the model's probability of the predicted label without the demonstration, before
            calibration and fusion; ``None`` if it could not be read.
        fall: decrease of that probability without the demonstration; negative if it rises.
        answer: the likeliest label without it, after all steps.
        why: why there is no ``without``.
    """

    example_id: str
    without: float | None
    fall: float | None
    answer: str | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Influences:
    """One :class:`Influence` per demonstration, in prompt order; or none, with the reason in
    ``note``."""

    of: tuple[Influence, ...] = ()
    note: str = ""


async def influences(
    pipeline: Pipeline,
    row: Row,
    state: RowState,
    posterior: Posterior | None,
    prediction: Prediction,
) -> Influences:
    """Influence of each demonstration, by leave-one-demonstration-out readings of a row.

    One prompt per demonstration is read, in one engine call. Only the prompt changes; the opinions
    of the experts do not. A demonstration that the token budget left out is not added when another
    one is removed.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline that read the row.
    row : Row
        The fields of the row.
    state, posterior, prediction
        Results of :meth:`Pipeline.trace` for the row.

    Returns
    -------
    Influences
        One per demonstration, in prompt order; or none, with the reason in ``note``.

    Examples
    --------
    >>> from ecomfs.estimators import FewShotClassifier
    >>> clf = FewShotClassifier("review_sentiment", engine=None, embedder="hashed", language="en")
    >>> pipeline = clf.fit(["broke at once", "fits well"], ["negative", "positive"]).pipeline_
    >>> from ecomfs.core import event_loop
    >>> row = {"text": "it broke"}
    >>> (state,) = pipeline.prepare([row], ["r1"])
    >>> alone = Prediction("r1", "negative")
    >>> event_loop.run(influences(pipeline, row, state, None, alone)).note
    'the model was not asked'
    """
    label = prediction.suggestion
    note = _impossible(state, posterior, label)
    if note or posterior is None or label is None:
        return Influences(note=note)
    place = pipeline.space.require(label, "prediction")
    if state.shortlist and place not in state.shortlist:
        return Influences(
            note=f"{label!r} is not on the model's shortlist: its probability is from the experts"
        )
    row, shown = pipeline.screened_row(row), state.demonstrations
    asked: list[RowState] = []
    for at in range(len(shown)):
        asked.append(_without(pipeline, row, state, at))
    before = posterior.probabilities[place]
    return Influences(
        tuple(
            _influence(demonstration, found, after, place, before)
            for demonstration, (_, found, after) in zip(
                shown, await pipeline.answer(asked), strict=True
            )
        )
    )


def _impossible(state: RowState, posterior: Posterior | None, label: str | None) -> str:
    if state.skipped:
        return "the model was not asked"
    if posterior is None or label is None:
        return "the row has no prediction"
    if posterior.label_mass is None and max(posterior.probabilities) == 1:
        return "the engine gives no log-probabilities, so there is no distribution"
    if not state.demonstrations:
        return "the prompt has no demonstrations"
    return ""


def _without(pipeline: Pipeline, row: Row, state: RowState, left_out: int) -> RowState:
    kept = [d for at, d in enumerate(state.demonstrations) if at != left_out]
    asked = PromptInput(row, kept, state.shortlist, state.shared - (left_out < state.shared))
    setup = pipeline.setups[state.language]
    (prompt,) = setup.prompts([asked], pipeline.engine, pipeline.budget)
    if isinstance(prompt, EcomfsError):
        return replace(state, prompt=None, demonstrations=tuple(kept), error=prompt)
    return replace(state, prompt=prompt, demonstrations=prompt.demonstrations)


def _influence(
    left_out: Demonstration,
    found: Posterior | EcomfsError | None,
    after: Prediction,
    place: int,
    before: float,
) -> Influence:
    if not isinstance(found, Posterior) or not found.probabilities:
        return Influence(left_out.example.id, None, None, None, after.error)
    without = found.probabilities[place]
    return Influence(left_out.example.id, without, before - without, after.suggestion)


def facts(pipeline: Pipeline, row: Row, state: RowState) -> tuple[str, ...]:
    """The features of a classified row, in words of its language.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline that classified the row.
    row : Row
        The fields of the row.
    state : RowState
        State of the row; a failed row has no opinion and no facts.

    Returns
    -------
    tuple of str
        Such as ``("liked 7 of 10, disliked 3",)``; empty if no expert uses features.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> without_experts = SimpleNamespace(experts=None)
    >>> facts(without_experts, {"text": "soft"}, RowState("r1", "en"))
    ()
    """
    if pipeline.experts is None or state.opinion is None:
        return ()
    return tuple(pipeline.experts.facts(pipeline.screened_row(row), state.language))


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of one prediction. ``print`` it, or use :meth:`to_dict`.

    Attributes:
        state: language, demonstrations, prompt, shortlist and the experts' opinion.
        posterior: the reading as a distribution; ``None`` if the row failed.
        prediction: the prediction; its ``stages`` are the distributions after each step.
        labels: the label space, aligned with the posterior.
        influences: influence of each demonstration; ``None`` if not requested.
        facts: the features of the row in words, such as "liked 7 of 10, disliked 3"; empty if no
            expert uses features.

    Examples
    --------
    >>> read = (0.8, 0.2)
    >>> prediction = Prediction("r1", "good", {"good": 0.8, "bad": 0.2}, stages={"read": read})
    >>> posterior = Posterior(read, label_mass=0.9)
    >>> found = Explanation(RowState("r1", "en"), posterior, prediction, ("good", "bad"))
    >>> found.stages
    {'read': {'good': 0.8, 'bad': 0.2}}
    >>> found.to_dict()["as_read"]
    {'good': 0.8, 'bad': 0.2}
    >>> print(found)
    label: good  (ok)
    ...
    """

    state: RowState
    posterior: Posterior | None
    prediction: Prediction
    labels: tuple[str, ...]
    influences: Influences | None = field(default=None, kw_only=True)
    facts: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def stages(self) -> dict[str, dict[str, float]]:
        """Step (``read``, ``calibrated``, ``experts``, ``fused``) → label → probability."""
        return {
            step: dict(zip(self.labels, values, strict=True))
            for step, values in self.prediction.stages.items()
        }

    @property
    def experts(self) -> dict[str, dict[str, float]]:
        """Expert → label → probability; empty without experts."""
        scores = {} if self.state.opinion is None else self.state.opinion.scores
        return {
            name: dict(zip(self.labels, floats(softmax(values)), strict=True))
            for name, values in scores.items()
        }

    @property
    def shortlist(self) -> tuple[str, ...]:
        """The labels on the shortlist of the row; empty if all labels were in the prompt."""
        return tuple(self.labels[place] for place in self.state.shortlist)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        prediction, opinion = self.prediction, self.state.opinion
        return {
            "label": prediction.label,
            "suggestion": prediction.suggestion,
            "status": str(prediction.status),
            "error": prediction.error,
            "note": prediction.note,
            "source": prediction.source,
            "prediction_set": list(prediction.prediction_set),
            "novelty": prediction.novelty,
            "suspicious": list(prediction.suspicious),
            "confidence": prediction.confidence,
            "probabilities": dict(prediction.probabilities),
            "as_read": dict(zip(self.labels, self.posterior.probabilities, strict=False))
            if self.posterior
            else {},
            "stages": self.stages,
            "label_mass": prediction.label_mass,
            "shortlist": list(self.shortlist),
            "nearest": None if opinion is None else _number(opinion.similarity),
            "experts": self.experts,
            "facts": list(self.facts),
            "language": self.state.language,
            "template": str(prediction.template) if prediction.template else None,
            "engine": prediction.engine,
            "demonstrations": [
                {
                    "id": d.example.id,
                    "label": d.example.label,
                    "text": d.text,
                    "similarity": _number(d.similarity),
                }
                for d in self.state.demonstrations
            ],
            "nearest_examples": [
                {"id": d.example.id, "label": d.example.label, "similarity": _number(d.similarity)}
                for d in self.state.nearest
            ],
            "influence": self._influence(),
            "prompt": self.state.prompt.text if self.state.prompt else None,
            "turns": [turn._asdict() for turn in self.state.prompt.turns]
            if self.state.prompt
            else [],
            "prompt_tokens": prediction.prompt_tokens,
            "cached_tokens": prediction.cached_tokens,
        }

    def _influence(self) -> dict[str, Any] | None:
        if self.influences is None:
            return None
        return {
            "note": self.influences.note,
            "of": [
                {
                    "id": i.example_id,
                    "without": i.without,
                    "fall": i.fall,
                    "answer": i.answer,
                    "why": i.why,
                }
                for i in self.influences.of
            ],
        }

    def _repr_html_(self) -> str:
        """HTML for notebooks: the distribution after each step, the examples, the prompt."""
        from ecomfs_eval.html_view import bars, folded, paragraph, table, view

        p, steps = self.prediction, self.stages
        ranked = sorted(p.probabilities, key=lambda name: -p.probabilities[name])
        parts = [paragraph(p.error), bars(p.probabilities, p.suggestion)]
        if len(steps) > 1:
            values = [[name, *(steps[step][name] for step in steps)] for name in ranked[:SHOWN]]
            parts.append(table(["after", *steps], values))
        given = [
            [expert, *(found[n] for n in ranked[:3])] for expert, found in self.experts.items()
        ]
        if given:
            parts.append(table(["expert", *ranked[:3]], given))
        if self.facts:
            parts.append(paragraph(f"facts: {'; '.join(self.facts)}"))
        moved = {i.example_id: i.fall for i in self.influences.of} if self.influences else {}
        shown = self.state.nearest or self.state.demonstrations
        examples = [
            [d.example.id, d.example.label, _number(d.similarity), " ".join(d.text.split())]
            + ([moved.get(d.example.id)] if moved else [])
            for d in shown
        ]
        if examples:
            what = "nearest example" if self.state.skipped else "demonstration"
            titles = [what, "label", "similarity", "text", *(["fall without it"] if moved else [])]
            parts.append(table(titles, examples))
        if self.shortlist:
            parts.append(paragraph(f"put to the model: {', '.join(self.shortlist)}", note=True))
        if self.state.prompt:
            parts.append(folded(self._prompt_title(), self.state.prompt.text))
        return view(f"label: {p.label} ({p.status})", *parts)

    def __str__(self) -> str:
        p = self.prediction
        lines = [f"label: {p.label}  ({p.status}{': ' + p.error if p.error else ''})"]
        lines += self._steps()
        if p.label_mass is not None:
            lines.append(f"label mass: {p.label_mass:.3f}  (probability on any valid answer)")
        if self.shortlist:
            lines.append(
                f"put to the model ({len(self.shortlist)} of {len(self.labels)} labels): "
                + ", ".join(self.shortlist)
            )
        lines += self._experts()
        if self.state.skipped:
            why = self.state.unread or "the model was not asked"
            lines.append(f"nearest examples ({len(self.state.nearest)}; {why}):")
        else:
            lines.append(f"demonstrations ({len(self.state.demonstrations)}, as they stand):")
        moved = {i.example_id: i for i in self.influences.of} if self.influences else {}
        for d in self.state.nearest or self.state.demonstrations:
            text = " ".join(d.text.split())
            short = text if len(text) <= 72 else text[:71] + "…"
            near = "shared" if math.isnan(d.similarity) else f"{d.similarity:6.3f}"
            lines.append(f"  {near}  [{d.example.label}] {d.example.id}: {short}")
            if d.example.id in moved:
                i = moved[d.example.id]
                change = (
                    f"not read: {i.why}"
                    if i.fall is None
                    else f"{'−' if i.fall >= 0 else '+'}{abs(i.fall):.3f}"
                    + (f", and the answer is {i.answer}" if i.answer != p.suggestion else "")
                )
                lines.append(f"          without it: {change}")
        if self.influences and self.influences.note:
            lines.append(f"no influences: {self.influences.note}")
        if self.state.prompt:
            lines += [f"{self._prompt_title()}:", self.state.prompt.text]
        return "\n".join(lines)

    def _prompt_title(self) -> str:
        p = self.prediction
        turns = len(self.state.prompt.turns) if self.state.prompt else 0
        chat = f"; {turns} turns, all text in them is plain" if turns else ""
        return f"prompt ({p.prompt_tokens} tokens, {p.template}{chat})"

    def _steps(self) -> list[str]:
        """The likeliest labels, a column for the distribution after each step."""
        steps = self.stages
        ranked = sorted(self.prediction.probabilities.items(), key=lambda item: -item[1])[:SHOWN]
        if len(steps) < 2:
            return [f"  {value:6.3f}  {name}" for name, value in ranked]
        wide = {step: max(len(step), 6) for step in steps}
        lines = ["  " + "  ".join(f"{step:>{wide[step]}}" for step in steps)]
        for name, _ in ranked:
            values = (f"{steps[step][name]:{wide[step]}.3f}" for step in steps)
            lines.append("  " + "  ".join(values) + f"  {name}")
        return lines

    def _experts(self) -> list[str]:
        if self.state.opinion is None:
            return []
        lines = [f"nearest example: similarity {self.state.opinion.similarity:.3f}"]
        for expert, given in self.experts.items():
            ranked = sorted(given.items(), key=lambda item: -item[1])[:3]
            best = ", ".join(f"{label} {p:.3f}" for label, p in ranked if p > 0.0005)
            lines.append(f"expert {expert}: {best}")
        if self.facts:
            lines.append(f"facts: {'; '.join(self.facts)}")
        return lines


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


__all__ = ["Explanation", "Influence", "Influences", "facts", "influences"]
