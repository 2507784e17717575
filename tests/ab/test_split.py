"""Assignment: sticky, seeded, in the shares that were asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2_contingency

from ecomfs.ab import Split
from ecomfs.errors import ConfigError

IDS = [f"row {i}" for i in range(20_000)]


@given(
    weights=st.dictionaries(st.text(min_size=1), st.floats(1e-6, 1e6), min_size=1, max_size=6),
    seed=st.integers(-(2**63), 2**63),
    id_=st.text(),
)
def test_every_id_has_one_variant(weights: dict[str, float], seed: int, id_: str) -> None:
    split = Split(weights, seed)
    assert split.of(id_) in weights
    assert split.of(id_) == Split(dict(weights), seed).of(id_)
    assert sum(split.shares.values()) == pytest.approx(1)
    # Only the proportion of the weights counts.
    doubled = Split({n: 2 * w for n, w in weights.items()}, seed)
    assert doubled.of(id_) == split.of(id_)


def test_another_process_assigns_the_same() -> None:
    code = (
        "from ecomfs.ab import Split; "
        "print(''.join(Split({'A': 1, 'B': 2}, 5).of(str(i)) for i in range(200)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "".join(Split({"A": 1, "B": 2}, 5).of(str(i)) for i in range(200))


def test_shares_are_those_of_the_weights() -> None:
    split = Split({"A": 7, "B": 2, "C": 1}, seed=3)
    for name, share in split.shares.items():
        n = sum(split.of(i) == name for i in IDS)
        assert binomtest(n, len(IDS), share).pvalue > 1e-4


def test_another_seed_assigns_independently() -> None:
    one, two = Split({"A": 1, "B": 1}, 1), Split({"A": 1, "B": 1}, 2)
    table = [[0, 0], [0, 0]]
    for id_ in IDS:
        table[one.of(id_) == "B"][two.of(id_) == "B"] += 1
    assert chi2_contingency(table).pvalue > 1e-4


def test_a_changed_weight_moves_as_few_ids_as_it_can() -> None:
    before, after = Split({"A": 9, "B": 1}), Split({"A": 8, "B": 2})
    moved = sum(before.of(i) != after.of(i) for i in IDS) / len(IDS)
    assert 0.08 < moved < 0.12
    assert not any(before.of(i) == "B" and after.of(i) == "A" for i in IDS)


@pytest.mark.parametrize("weights", [{}, {"A": 0.0}, {"A": 1, "B": -1}, {"A": float("inf")}])
def test_senseless_weights_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Split(weights)
