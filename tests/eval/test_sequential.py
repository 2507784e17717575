"""Sequential tests keep their error rate for any number of looks."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import quick

from ecomfs_eval import Bootstrap, Predictions, compare, compare_many
from ecomfs_eval.errors import DataError, OptionError
from ecomfs_eval.sequential import (
    SequentialTest,
    all_decided_by,
    decided_by,
)


def _bench() -> Any:
    path = Path(__file__).parents[2] / "eval" / "bench" / "ab_errors.py"
    spec = importlib.util.spec_from_file_location("ab_errors", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ab_errors"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


BENCH = _bench()


def test_two_thousand_tests_without_a_difference() -> None:
    s = BENCH.simulate(trials=2000, rows=500, every=50, discordance=0.2, seed=0)
    assert s.fixed <= 0.05
    assert s.sequential <= 0.05
    assert s.covered >= 0.95
    assert s.peeking > 0.10  # what the sequential test is there to prevent


def test_power_grows_with_the_effect_and_stops_early() -> None:
    small = BENCH.simulate(trials=150, rows=1000, every=50, discordance=0.15, effect=0.03)
    large = BENCH.simulate(trials=150, rows=1000, every=50, discordance=0.15, effect=0.07)
    assert small.sequential < large.sequential
    assert large.sequential >= 0.95
    assert large.sequential_rows < 600
    assert min(small.covered, large.covered) >= 0.95


def test_the_confidence_sequence_covers_means_of_any_bounded_differences() -> None:
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(100):
        d = rng.beta(2, 3, 120) * 2 - 1  # mean −0.2, not three-valued
        test = SequentialTest()
        for start in range(0, 120, 40):
            state = test.update(d[start : start + 40])
        missed += not state.low <= -0.2 <= state.high
    assert missed <= 5


@quick
@given(
    d=st.lists(st.sampled_from([-1.0, -0.5, 0.0, 1.0]), min_size=1, max_size=60),
    cut=st.integers(0, 60),
)
def test_the_wager_does_not_depend_on_the_order_or_the_looks(d: list[float], cut: int) -> None:
    once = SequentialTest().update(d)
    test = SequentialTest()
    test.update(d[cut:])
    again = test.update(d[:cut])
    assert again.e_value == pytest.approx(once.e_value, rel=1e-9)
    assert again.rows == once.rows == len(d)
    # More looks may only narrow the interval and lower the p-value.
    assert again.low >= once.low - 1e-7
    assert again.high <= once.high + 1e-7
    assert again.p_value <= once.p_value + 1e-12


@quick
@given(d=st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=80))
def test_mirror_images(d: list[float]) -> None:
    one, two = SequentialTest().update(d), SequentialTest().update([-x for x in d])
    assert one.low == pytest.approx(-two.high, abs=1e-7)
    assert one.e_value == pytest.approx(two.e_value)
    mirrored = {"b better": "a better", "a better": "b better", "continue": "continue"}
    assert two.decision == mirrored[one.decision]


def test_the_e_value_is_a_fair_wager() -> None:
    # Under no difference the wealth has expectation one, exactly: sum over all sequences.
    total = 0.0
    for code in range(3**6):
        d = [(code // 3**i) % 3 - 1.0 for i in range(6)]
        chance = np.prod([0.4 if x == 0 else 0.3 for x in d])
        total += float(chance) * SequentialTest().update(d).e_value
    assert total == pytest.approx(1)


def test_all_rows_one_way() -> None:
    state = SequentialTest().update([-1.0] * 50)
    assert state.decision == "a better"
    assert (state.low, state.mean) == (-1, -1)
    assert -1 < state.high < -0.7
    assert "B is worse than A by 100.0 points" in state.text()


def test_a_margin_stops_a_test_that_goes_nowhere() -> None:
    state = SequentialTest(margin=0.1).update([0.0] * 400 + [1.0, -1.0] * 5)
    assert state.decision == "equivalent"
    assert "no difference above the margin" in state.text()
    assert SequentialTest().update([0.0] * 400).decision == "continue"


def test_before_any_row_nothing_is_known() -> None:
    state = SequentialTest().look()
    assert (state.rows, state.low, state.high, state.p_value) == (0, -1, 1, 1)
    assert state.text().startswith("After 0 rows nothing is decided")


def test_senseless_input_is_refused() -> None:
    with pytest.raises(DataError, match=r"difference 1.5 of row 2"):
        SequentialTest().update([0.0, 1.5])
    with pytest.raises(DataError):
        SequentialTest().update([float("nan")])
    with pytest.raises(OptionError):
        SequentialTest(level=0.2)
    with pytest.raises(OptionError):
        SequentialTest(margin=0)
    with pytest.raises(ValueError, match="larger than discordance"):
        BENCH.simulate(effect=0.5, discordance=0.1)
    with pytest.raises(ValueError, match="there is no look"):
        BENCH.simulate(every=200, rows=100)


def test_a_running_test_decides_a_comparison() -> None:
    rng = np.random.default_rng(3)
    gold = rng.integers(0, 2, 300)
    a = Predictions.of(gold, np.where(rng.random(300) < 0.6, gold, 1 - gold), name="A")
    b = Predictions.of(gold, np.where(rng.random(300) < 0.9, gold, 1 - gold), name="B")
    right_a, right_b = a.gold_index == a.predicted_index, b.gold_index == b.predicted_index
    state = SequentialTest().update(right_b.astype(float) - right_a)
    once = compare(a, b, how=Bootstrap(resamples=200))
    c = decided_by(once, state)
    assert c.sequential is state
    assert c.decision.verdict == "b better"
    assert c.decision.text == state.text("A", "B")
    assert c.p_value == c["accuracy"].p_value == state.p_value
    interval, narrow = c["accuracy"].interval, once["accuracy"].interval
    assert interval is not None
    assert narrow is not None
    assert (interval.low, interval.high) == (state.low, state.high)
    assert interval.high - interval.low > narrow.high - narrow.low
    assert c["f1_macro"] == once["f1_macro"]
    both = all_decided_by(compare_many([a, b], how=Bootstrap(resamples=200)), [state])
    assert both.decision == state.text("A", "B")
    json.dumps(both.to_dict(), allow_nan=False)
    with pytest.raises(OptionError, match="300 rows cannot decide f1_macro"):
        decided_by(compare(a, b, primary="f1_macro", how=Bootstrap(resamples=200)), state)
    with pytest.raises(OptionError, match="100 rows"):
        decided_by(once, SequentialTest().update([0.0] * 100))


def test_the_bench_prints_errors_and_power(capsys: pytest.CaptureFixture[str]) -> None:
    BENCH.main(["--trials", "200", "--rows", "300", "--discordances", "0.1"])
    lines = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[4:]]
    null, planned = ([cell.strip() for cell in line] for line in lines)
    assert null[:2] == ["10%", "none"]
    assert float(null[2].rstrip("%")) <= 7  # 5 % of 200 tests, with its noise
    assert float(null[4].rstrip("%")) <= 5
    assert float(null[3].rstrip("%")) > float(null[2].rstrip("%"))
    assert 70 < float(planned[2].rstrip("%")) < 90
    assert float(planned[4].rstrip("%")) > float(null[4].rstrip("%"))
    assert float(planned[5]) < float(null[5])


def test_three_challengers_share_the_error_rate() -> None:
    """Against one baseline, watched together at a third of the level each, none of them better:
    any decision is false."""
    rng = np.random.default_rng(9)
    wrong = 0
    for _ in range(400):
        right = rng.random((4, 400)) < 0.8
        tests = [SequentialTest(1 - 0.05 / 3) for _ in range(3)]
        decided = False
        for start in range(0, 400, 50):
            part = right[:, start : start + 50].astype(float)
            states = [t.update(row - part[0]) for t, row in zip(tests, part[1:], strict=True)]
            decided |= any(s.decision != "continue" for s in states)
        wrong += decided
    assert wrong / 400 <= 0.05
