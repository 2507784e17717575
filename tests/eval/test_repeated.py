from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.metrics import accuracy_score, f1_score, log_loss

from ecomfs_eval import METRICS, Bootstrap, Predictions, scores
from ecomfs_eval.compare import differences
from ecomfs_eval.errors import EmptyDataError, OptionError, RowsDifferError
from ecomfs_eval.repeated import average, average_difference

NAMES = ["accuracy", "f1_macro", "roc_auc", "log_loss", "ece_adaptive"]
HOW = Bootstrap(resamples=500)


def runs(n: int = 3, rows: int = 60, skill: float = 1.0, name: str = "s") -> list[Predictions]:
    rng = np.random.default_rng(7)
    gold = rng.integers(2, size=rows)
    out = []
    for _ in range(n):
        logits = skill * (2 * gold - 1) + rng.normal(size=rows)
        p = 1 / (1 + np.exp(-logits))
        table = np.column_stack([1 - p, p])
        out.append(Predictions.of(gold, probabilities=table, labels=[0, 1], name=name))
    return out


def test_the_average_of_one_run_equals_its_score() -> None:
    [run] = runs(1)
    found = average([run], NAMES, HOW)
    expected = scores({n: METRICS[n] for n in NAMES}, run, HOW)
    assert {n: a.score for n, a in found.items()} == expected
    other = runs(2, skill=0.2, name="t")[1]
    d = average_difference([other], [run], NAMES, HOW)
    assert tuple(d.values()) == differences(other, run, [METRICS[n] for n in NAMES], HOW)


def test_the_average_is_that_of_scikit_learn() -> None:
    found = average(many := runs(4), NAMES, HOW)
    acc = [accuracy_score(p.gold, p.predicted) for p in many]
    f1 = [f1_score(p.gold, p.predicted, average="macro") for p in many]
    loss = [log_loss(p.gold, p.probabilities, labels=["0", "1"]) for p in many]
    for name, values in (("accuracy", acc), ("f1_macro", f1), ("log_loss", loss)):
        assert found[name].score.value == pytest.approx(np.mean(values))
        assert found[name].spread == pytest.approx(np.std(values, ddof=1))
        assert found[name].values == pytest.approx(values)
        assert found[name].score.value in found[name].score.interval
    assert found["accuracy"].score.n == 60


def test_rows_that_seeds_share_are_not_counted_twice() -> None:
    [run] = runs(1)
    same = average([run] * 4, ["accuracy", "log_loss"], HOW)
    alone = average([run], ["accuracy", "log_loss"], HOW)
    # Four copies tell no more than one: the interval is as wide.
    for name in same:
        wide, one = same[name].score.interval, alone[name].score.interval
        assert wide.high - wide.low == pytest.approx(one.high - one.low, rel=0.15)
    assert same["log_loss"].spread == 0


def test_folds_on_other_rows_add_rows() -> None:
    folds = [
        Predictions.of(
            p.gold, probabilities=p.probabilities, labels=p.labels, ids=[f"{k}-{i}" for i in p.ids]
        )
        for k, p in enumerate(runs(4))
    ]
    found = average(folds, ["accuracy"], HOW)["accuracy"].score
    alone = average(folds[:1], ["accuracy"], HOW)["accuracy"].score
    assert found.n == 240
    ratio = (found.interval.high - found.interval.low) / (alone.interval.high - alone.interval.low)
    assert 0.35 < ratio < 0.7  # about one half


def test_a_difference_of_averages_is_paired() -> None:
    better, worse = runs(3, skill=1.5, name="b"), runs(3, skill=0.3, name="a")
    found = average_difference(worse, better, ["accuracy", "log_loss"], HOW)
    a, b = (average(x, ["accuracy", "log_loss"], HOW) for x in (worse, better))
    for name, d in found.items():
        assert d.delta == pytest.approx(b[name].score.value - a[name].score.value)
        assert d.delta in d.interval
        assert d.gain > 0
    assert found["accuracy"].interval.method == "bca paired cluster"


def test_a_run_without_the_metric_makes_the_average_undefined() -> None:
    [first, second] = runs(2)
    bare = Predictions.of(second.gold, second.predicted, labels=second.labels, name="s")
    found = average([first, bare], ["accuracy", "log_loss"], HOW)
    assert found["accuracy"].score.value is not None
    assert found["log_loss"].score.value is None
    assert found["log_loss"].score.reason == "in one of 2 runs: no row has probabilities"
    others = runs(2, skill=0.1, name="t")
    d = average_difference([first, bare], others, ["log_loss"], HOW)["log_loss"]
    assert d.delta is None
    assert d.note.startswith("s: in one of 2 runs")


def test_unpaired_runs_are_refused() -> None:
    a, b = runs(2), runs(3, name="b")
    with pytest.raises(EmptyDataError):
        average([], NAMES)
    with pytest.raises(OptionError, match="2 runs of A, 3 of B"):
        average_difference(a, b, ["accuracy"])
    with pytest.raises(RowsDifferError):
        average_difference(a, runs(2, rows=50, name="b"), ["accuracy"])
    grouped = Predictions.of(a[0].gold, a[0].predicted, groups=tuple(a[0].ids))
    with pytest.raises(OptionError, match="some runs name groups"):
        average([a[0], grouped], ["accuracy"])


@pytest.mark.slow
def test_the_interval_covers_and_one_of_independent_rows_would_not() -> None:
    def draw(rng: np.random.Generator, rows: int, seeds: int) -> list[Predictions]:
        gold, hard = rng.integers(2, size=rows), rng.normal(size=rows)
        out = []
        for _ in range(seeds):  # a row is hard for every seed
            z = (2 * gold - 1) + 0.9 * hard + 0.5 * rng.normal(size=rows)
            p = 1 / (1 + np.exp(-z))
            table = np.column_stack([1 - p, p])
            out.append(Predictions.of(gold, probabilities=table, labels=[0, 1]))
        return out

    rng = np.random.default_rng(2)
    names = ["accuracy", "log_loss"]
    [many] = draw(rng, 400_000, 1)
    truth = {n: METRICS[n](many).value for n in names}
    covered, naive, times = dict.fromkeys(names, 0), dict.fromkeys(names, 0), 300
    for _ in range(times):
        found = draw(rng, 100, 3)
        flat = Predictions.of(
            [g for p in found for g in p.gold],
            probabilities=np.vstack([p.probabilities for p in found]),
            labels=["0", "1"],
        )
        together = average(found, names, HOW)
        apart = scores({n: METRICS[n] for n in names}, flat, HOW)
        for n in names:
            covered[n] += truth[n] in together[n].score.interval
            naive[n] += truth[n] in apart[n].interval
    for n in names:
        assert 0.90 <= covered[n] / times <= 0.985
        assert naive[n] / times < 0.88
