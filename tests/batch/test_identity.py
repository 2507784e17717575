"""The identity of a run changes exactly when anything that affects answers changes."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from scripted import classifier

from ecomfs.batch import Selection, find_columns, pipeline_identity, run_identity
from ecomfs.batch.identity import differences

PARTS = st.dictionaries(
    st.sampled_from(["model", "input", "retrieval", "selection"]),
    st.one_of(
        st.none(),
        st.text(),
        st.dictionaries(st.sampled_from(["k", "seed"]), st.integers(1), min_size=1),
    ),
)


@given(PARTS, PARTS)
def test_differences_are_none_only_of_the_same(one: dict, other: dict) -> None:  # type: ignore[type-arg]
    assert differences(one, dict(one)) == []
    same = {k: v for k, v in one.items() if v is not None} == {
        k: v for k, v in other.items() if v is not None
    }
    assert (differences(one, other) == []) == same


def test_a_touched_input_is_the_same_and_a_changed_one_is_named(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("text\ngood\n")
    pipeline = classifier(k=0).pipeline_
    columns = find_columns(source, pipeline.card)

    def identity(**options: int) -> dict[str, object]:
        return run_identity(str(source), pipeline_identity(pipeline), columns, Selection(**options))

    before = identity()
    os.utime(source, (1, 1))
    assert differences(before, identity()) == []
    assert differences(before, identity(limit=1)) == ["the selection (limit: none → 1)"]
    source.write_text("text\ngoods\n")
    assert differences(before, identity()) == ["the input"]


def test_equal_pipelines_have_equal_identities_and_k_is_named() -> None:
    one, same, other = (classifier(k=k).pipeline_ for k in (4, 4, 2))
    assert pipeline_identity(one) == pipeline_identity(same)
    [said] = differences(pipeline_identity(one), pipeline_identity(other))
    assert said.startswith("the retrieval (k: 4 → 2")
