"""Which column of a predictions file holds what."""

from __future__ import annotations

from dataclasses import dataclass

MEASUREMENTS = ("latency", "prompt_tokens", "completion_tokens", "cached_tokens", "cost")


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """Which column holds what.

    A column named here must be in the file; a field left at ``None`` is looked for under its
    usual names and may be absent (gold, predicted and probabilities have their own checks).

    Attributes:
        id: row id; ``""`` numbers the rows 1 … n.
        gold: usual names ``gold``, ``label``.
        predicted: usual names ``predicted``, ``prediction``, ``predicted_label``.
        probability_prefix: columns that start so are probabilities of the label that follows.
        status: usual name ``status``.
        group: the sampled unit (user, query, item); no usual name, since it changes intervals.
        query: the ranked list a row belongs to; usual name none, as for ``group``.
        slices: columns to slice by.
        extra: text columns to keep for the report (input, prompt, demonstrations).
        latency: seconds; usual names ``latency``, ``latency_s``.
        prompt_tokens, completion_tokens, cached_tokens, cost: usual names as they are here.
    """

    id: str = "id"
    gold: str | None = None
    predicted: str | None = None
    probability_prefix: str = "p_"
    status: str | None = None
    group: str | None = None
    query: str | None = None
    slices: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    latency: str | None = None
    prompt_tokens: str | None = None
    completion_tokens: str | None = None
    cached_tokens: str | None = None
    cost: str | None = None


USUAL: dict[str, tuple[str, ...]] = {
    "gold": ("gold", "label"),
    "predicted": ("predicted", "prediction", "predicted_label"),
    "status": ("status",),
    "latency": ("latency", "latency_s"),
    **{name: (name,) for name in MEASUREMENTS if name != "latency"},
}
