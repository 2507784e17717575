"""Paired comparisons of systems on the same rows, with their decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ecomfs_eval.compare.decision import Decision, decide
from ecomfs_eval.compare.differences import Difference, differences, p_text
from ecomfs_eval.compare.paired import Flip, McNemar, flips, holm, mcnemar, pair
from ecomfs_eval.compare.plan import minimum_detectable_effect, rows_needed
from ecomfs_eval.compare.slices import SliceDifference, slice_differences
from ecomfs_eval.errors import OptionError
from ecomfs_eval.html_view import paragraph, table, view
from ecomfs_eval.intervals import CONSTANT, Bootstrap
from ecomfs_eval.metrics import get_metric
from ecomfs_eval.metrics.base import Metric
from ecomfs_eval.predictions import Predictions

if TYPE_CHECKING:
    from ecomfs_eval.sequential import SequentialState

COMPARED = (
    "accuracy",
    "level_accuracy@1",
    "f1_hierarchical",
    "jaccard",
    "hamming_loss",
    "f1_macro",
    "balanced_accuracy",
    "roc_auc",
    "log_loss",
    "brier",
    "ece_adaptive",
    "aurc",
    "answered_rate",
    "invalid_rate",
    "ndcg@10",
    "mrr",
    "latency_p50",
    "prompt_tokens",
    "cache_share",
    "cost_per_1000",
)
"""Metrics of a comparison by default."""
_MOST_FLIPS = 10
"""Changed rows that a notebook shows."""


@dataclass(frozen=True, slots=True, eq=False)
class PairwiseComparison:
    """Two systems on the same rows or, if ``mcnemar`` is ``None``, on different rows.

    Attributes:
        a, b: names of the systems; B is the challenger.
        rows: number of rows compared; the total of both systems if the rows differ.
        primary: the metric that decides.
        differences: b − A in every metric, the primary first.
        mcnemar: the paired table and its exact test. The p-value assumes independent rows, so it
            does not decide where rows are grouped. ``None``: the rows are not paired.
        p_value: of the primary difference, after Holm's correction when several variants are
            compared.
        slices: ``class`` and every slicing → its values.
        flips: rows with different answers.
        minimum_effect: the smallest accuracy difference that these rows detect with 80 % power, at
            the observed discordance; ``None`` where it is unknown.
        decision: the decision in plain words.
        sequential: the sequential test that decided, if there was one. P-values and intervals of
            the other metrics are not corrected for repeated looks.

    >>> from ecomfs_eval import Predictions
    >>> gold = ["x", "y"] * 50
    >>> a = Predictions.of(gold, ["x"] * 100, name="A")
    >>> c = compare(a, Predictions.of(gold, gold, name="B"), metrics=["accuracy"])
    >>> c["accuracy"].text(), c.mcnemar.only_b
    ('+50.0 [+41.0, +60.0]', 50)
    """

    a: str
    b: str
    rows: int
    primary: str
    differences: tuple[Difference, ...]
    mcnemar: McNemar | None
    p_value: float | None
    slices: dict[str, tuple[SliceDifference, ...]]
    flips: tuple[Flip, ...]
    minimum_effect: float | None
    decision: Decision
    sequential: SequentialState | None = None

    def __getitem__(self, metric: str) -> Difference:
        for d in self.differences:
            if d.metric == metric:
                return d
        raise KeyError(metric)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        rows = [
            [d.title, d.text(), p_text(d.p_value) if d.p_value is not None else ""]
            for d in self.differences
        ]
        parts = [table(["", f"{self.b} − {self.a}", ""], rows)]
        if (found := self.mcnemar) is not None:
            parts.append(
                table(
                    ["right in", "rows"],
                    [
                        [f"{self.a} only", found.only_a],
                        [f"{self.b} only", found.only_b],
                        ["both", found.both],
                        ["neither", found.neither],
                    ],
                )
            )
        changed = [[f.id, f.gold, f.a, f.b] for f in self.flips[:_MOST_FLIPS]]
        if changed:
            parts.append(table(["row", "true label", self.a, self.b], changed))
        rest = len(self.flips) - len(changed)
        parts.append(paragraph(f"and {rest} more changed rows" if rest else "", note=True))
        return view(f"{self.decision.text} ({self.rows:,} rows)", *parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def to_text(self) -> str:
        """The decision, then a table of the differences."""
        width = max(len(d.title) for d in self.differences)
        lines = [self.decision.text, f"{self.b} − {self.a} on {self.rows:,} rows:"]
        for d in self.differences:
            p = f"  {p_text(d.p_value)}" if d.p_value is not None else ""
            lines.append(f"  {d.title:<{width}}  {d.text()}{p}")
        if (table := self.mcnemar) is not None:
            lines.append(
                f"  right in {self.a} only {table.only_a}, in {self.b} only {table.only_b}, "
                f"both {table.both}, neither {table.neither}; exact McNemar {p_text(table.p_value)}"
            )
        return "\n".join(lines)


def compare(
    a: Predictions,
    b: Predictions,
    *,
    primary: str | Metric = "accuracy",
    metrics: Sequence[str | Metric] | None = None,
    margin: float | None = None,
    how: Bootstrap | None = None,
) -> PairwiseComparison:
    """Compare B with A on the same rows.

    Args:
        a: the system in use.
        b: the challenger; its rows may be in another order.
        primary: the metric that decides; choose it before the comparison.
        metrics: other metrics to report; by default those of :data:`COMPARED` that are defined.
        margin: the smallest difference that matters, in the unit of the primary metric (0.01 is one
            point of accuracy). With it, the verdict can be ``equivalent``.
        how: resamples, level and seed; the decision is taken at 1 − level.

    Raises:
        RowsDifferError: the two do not have the same rows and gold labels.
        OptionError: equal names, an unknown metric, or a margin that is not positive.

    >>> from ecomfs_eval import Predictions
    >>> gold = ["x", "y"] * 50
    >>> a = Predictions.of(gold, ["x"] * 100, name="A")
    >>> b = Predictions.of(gold, ["x", "y"] * 35 + ["x", "x"] * 15, name="B")
    >>> compare(a, b).decision.text
    'B is better than A by 35.0 points of accuracy [26.0, 45.0]; ship B.'
    """
    a, b = pair(a, b)
    how = how or Bootstrap()
    check_margin(margin)
    usual = ("f1_micro", *COMPARED) if a.kind == "sets" else COMPARED
    chosen = chosen_metrics(primary, metrics, usual)
    found = differences(a, b, chosen, how)
    if metrics is None:
        found = defined(found)
    table = mcnemar(a, b)
    if a.groups is None:
        found = tuple(
            replace(d, p_value=table.p_value, test="mcnemar") if d.metric == "accuracy" else d
            for d in found
        )
    effect = None
    if a.groups is None and table.discordance > 0:
        effect = minimum_detectable_effect(len(a), table.discordance, level=how.level)
    result = PairwiseComparison(
        a=a.name,
        b=b.name,
        rows=len(a),
        primary=chosen[0].name,
        differences=found,
        mcnemar=table,
        p_value=found[0].p_value,
        slices=slice_differences(a, b, how),
        flips=flips(a, b),
        minimum_effect=effect,
        decision=Decision("undecided", ""),
    )
    return decided(result, found[0].p_value, margin, how)


def check_names(systems: Sequence[Predictions], what: str) -> None:
    """Check that there are two systems or more, with different names."""
    if len(systems) < 2:
        raise OptionError(f"{len(systems)} {what}", hint="two or more")
    names = [s.name for s in systems]
    if len(set(names)) != len(names):
        raise OptionError(f"{what} share a name: {names}", hint="give each its own name=")


def check_margin(margin: float | None) -> None:
    """Check that a margin is positive."""
    if margin is not None and margin <= 0:
        raise OptionError(f"margin={margin}", hint="more than 0, in the unit of the metric")


def chosen_metrics(
    primary: str | Metric, metrics: Sequence[str | Metric] | None, usual: Sequence[str]
) -> list[Metric]:
    """The primary metric, then the others; each once."""
    rest = metrics if metrics is not None else usual
    return list({m.name: m for m in map(get_metric, (primary, *rest))}.values())


def defined(found: Sequence[Difference]) -> tuple[Difference, ...]:
    """The first difference, and the others that have a value."""
    return (found[0], *(d for d in found[1:] if d.delta is not None))


def decided(
    c: PairwiseComparison, p_value: float | None, margin: float | None, how: Bootstrap
) -> PairwiseComparison:
    """The comparison with its decision at this p-value."""
    needed = None
    table = c.mcnemar
    if margin is not None and c.primary == "accuracy" and table and table.discordance > 0:
        needed = rows_needed(min(margin, 0.999), table.discordance, level=how.level)
    decision = decide(
        c.differences[0],
        c.a,
        c.b,
        p_value=p_value,
        alpha=1 - how.level,
        margin=margin,
        cheaper=_cheaper(c),
        rows=c.rows,
        needed=needed,
        same_rows_right=c.primary == "accuracy" and table is not None and not table.discordance,
    )
    return replace(c, p_value=p_value, decision=decision)


def _cheaper(c: PairwiseComparison) -> str | None:
    """The system that clearly costs less (in cost, else in prompt tokens); ``None`` if neither."""
    for name in ("cost_per_1000", "prompt_tokens"):
        for d in c.differences:
            if d.metric != name or not d.delta:
                continue
            # Two wordings of one prompt differ by the same number of tokens on every row.
            sure = d.note.endswith(CONSTANT) if d.interval is None else 0 not in d.interval
            if sure:
                return c.b if d.delta < 0 else c.a
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """Several challengers compared with one system.

    Attributes:
        baseline: name of the system in use.
        comparisons: one per challenger; p-values and decisions after Holm's correction.
        decision: one line for all of them.
    """

    baseline: str
    comparisons: tuple[PairwiseComparison, ...]
    decision: str

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return view(self.decision, *(c._repr_html_() for c in self.comparisons))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def compare_many(
    systems: Sequence[Predictions],
    *,
    primary: str | Metric = "accuracy",
    metrics: Sequence[str | Metric] | None = None,
    margin: float | None = None,
    how: Bootstrap | None = None,
) -> Comparisons:
    """Compare every system with the first, with Holm's correction over the challengers.

    Args:
        systems: predictions on the same rows; the first is the system in use.
        primary, metrics, margin, how: as for :func:`compare`.

    Raises:
        OptionError: fewer than two systems, or two with one name; or as :func:`compare`.
        RowsDifferError: as :func:`compare`.

    >>> from ecomfs_eval import Predictions
    >>> gold = ["x", "y"] * 50
    >>> systems = [Predictions.of(gold, ["x"] * k + gold[k:], name=f"v{k}") for k in (60, 20, 58)]
    >>> compare_many(systems).decision
    'v20 is better than v60 by 20.0 points of accuracy [14.0, 30.0]; ship v20. Not shown to differ
    from v60: v58.'
    """
    check_names(systems, "systems")
    how = how or Bootstrap()
    base = systems[0]
    found = [
        compare(base, s, primary=primary, metrics=metrics, margin=margin, how=how)
        for s in systems[1:]
    ]
    return with_holm(base.name, found, margin, how)


def with_holm(
    base: str, found: Sequence[PairwiseComparison], margin: float | None, how: Bootstrap
) -> Comparisons:
    """Challengers of one system, with decisions after Holm's correction."""
    tested = [c.p_value for c in found if c.p_value is not None]
    adjusted = iter(holm(tested))
    done = tuple(
        decided(c, None if c.p_value is None else next(adjusted), margin, how) for c in found
    )
    return Comparisons(base, done, overall(base, done))


def overall(base: str, found: Sequence[PairwiseComparison]) -> str:
    """One line for several challengers."""
    by: dict[str, list[PairwiseComparison]] = {}
    for c in found:
        by.setdefault(c.decision.verdict, []).append(c)
    winners = sorted(by.get("b better", []), key=lambda c: -(c.differences[0].gain or 0.0))
    lines = [
        winners[0].decision.text if winners else f"No variant is shown to beat {base}; keep it."
    ]
    if len(winners) > 1:
        others = ", ".join(c.b for c in winners[1:])
        lines.append(
            f"Also better than {base}: {others}; compare them with each other on new rows."
        )
    for verdict, words in (
        ("undecided", f"Not shown to differ from {base}"),
        ("equivalent", f"Equivalent to {base} within the margin"),
        ("a better", f"Worse than {base}"),
    ):
        if by.get(verdict):
            lines.append(f"{words}: {', '.join(c.b for c in by[verdict])}.")
    return " ".join(lines)
