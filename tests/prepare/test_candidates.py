"""Which labels are rare."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.errors import ConfigError, UnknownLabelError
from ecomfs.estimators import FewShotClassifier
from ecomfs.prepare.augment import CandidateFilter, RareLabel, rare_labels
from ecomfs.task import LabelSpace, load_task
from ecomfs.types import Example

CARD = load_task("product_category")


def pool(**counts: int) -> list[Example]:
    return [Example(f"{y}{i}", {"title": "x"}, y) for y, n in counts.items() for i in range(n)]


def rare(examples: list[Example], **options: object) -> list[RareLabel]:
    space = LabelSpace.resolve(CARD, [e.label for e in examples])
    return rare_labels(examples, space, **options)  # type: ignore[arg-type]


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 9), min_size=2), st.integers(1, 12))
def test_every_label_below_the_target(counts: dict[str, int], target: int) -> None:
    expected = {y: target - n for y, n in counts.items() if n < target}
    if not expected:
        with pytest.raises(ConfigError, match=f"no label has fewer than {target}"):
            rare(pool(**counts), target=target)
        return
    assert {need.label: need.missing for need in rare(pool(**counts), target=target)} == expected


def test_a_share_is_of_the_pool() -> None:
    assert rare(pool(a=7, b=1), share=0.25) == [RareLabel("b", 1, 2)]


def test_only_some_labels() -> None:
    assert rare(pool(a=1, b=1, c=9), target=3, only=["B"]) == [RareLabel("b", 1, 3)]
    with pytest.raises(UnknownLabelError, match="--label: unknown label 'd'"):
        rare(pool(a=1, b=1), target=3, only=["d"])
    with pytest.raises(ConfigError, match="no label has fewer than 3") as caught:
        rare(pool(a=1, c=9), target=3, only=["c"])
    assert "c 9" in caught.value.hint


@pytest.mark.parametrize(
    "options",
    [{}, {"target": 3, "share": 0.5}, {"target": 0}, {"share": 0.0}, {"share": 1.5}],
)
def test_invalid_targets_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        rare(pool(a=1, b=2), **options)


def test_candidates_need_a_model_that_reads_them() -> None:
    clf = FewShotClassifier("product_category", None, embedder="hashed")
    clf.fit([{"title": "red mug"}, {"title": "garden hose"}], ["home", "garden"])
    with pytest.raises(ConfigError, match="checked by a model") as caught:
        CandidateFilter(clf.pipeline_, "title")
    assert caught.value.hint == "name a model: --engine auto"
