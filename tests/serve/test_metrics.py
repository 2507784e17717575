"""How far the latest predicted labels are from those of the pool."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("prometheus_client")

from ecomfs.serve.metrics import label_drift

LABELS = st.lists(st.sampled_from("abc"), min_size=1, max_size=30)


@given(LABELS, LABELS)
def test_drift_is_a_distance_from_0_to_1(predicted: list[str], labelled: list[str]) -> None:
    found = label_drift(predicted, labelled)
    assert -1e-9 <= found <= 1 + 1e-9
    assert found == pytest.approx(label_drift(labelled, predicted))
    # The most by which the share of any set of labels differs.
    sets = [set(), {"a"}, {"b"}, {"c"}, {"a", "b"}, {"a", "c"}, {"b", "c"}, {"a", "b", "c"}]
    most = max(share(predicted, some) - share(labelled, some) for some in sets)
    assert found == pytest.approx(most, abs=1e-9)


def share(labels: list[str], some: set[str]) -> float:
    return sum(label in some for label in labels) / len(labels)


@given(LABELS, st.integers(1, 4))
def test_only_shares_count_and_labels_that_no_one_has_in_common_are_1_apart(
    labels: list[str], times: int
) -> None:
    assert label_drift(labels * times, labels[::-1]) == pytest.approx(0)
    assert label_drift(labels, ["d", "e"]) == pytest.approx(1)


def test_without_predictions_or_without_examples_there_is_no_drift() -> None:
    assert label_drift([], ["a"]) == label_drift(["a"], []) == 0.0
