"""What is excluded by label is excluded as if it were listed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.embed import HashedEmbedder
from ecomfs.retrieve import Retriever
from ecomfs.retrieve.candidates import Groups
from ecomfs.retrieve.excluded import Excluded
from ecomfs.types import Example


@given(st.data())
def test_it_is_the_set_of_its_positions(data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=20))
    _, numbers = np.unique(labels, return_inverse=True)
    groups = Groups(numbers)
    places = st.integers(0, len(labels) - 1)
    single, more = data.draw(st.sets(places)), data.draw(st.sets(places))
    allowed = data.draw(st.none() | st.lists(st.integers(0, len(groups.members) - 1)))
    excluded = Excluded(single, groups, allowed)
    listed = set(single)
    if allowed is not None:
        listed |= {p for p, number in enumerate(numbers.tolist()) if number not in allowed}
    everything = np.arange(len(labels))
    assert set(excluded) == listed == set(excluded.places().tolist())
    assert len(excluded) == len(listed) == len(excluded.places())
    assert [p in excluded for p in everything] == [p in listed for p in everything.tolist()]
    assert excluded.free(everything).tolist() == [p not in listed for p in everything.tolist()]
    left = [sum(p not in listed for p in members.tolist()) for members in groups.members]
    assert excluded.left(groups).tolist() == left
    assert set(excluded | more) == listed | more
    excluded.update(more)
    assert set(excluded) == listed | more


def test_a_label_named_twice_allows_no_other() -> None:
    rows = [("soft", "good"), ("torn", "bad"), ("blue", "other")]
    examples = [Example(f"e{n}", {"text": t}, label) for n, (t, label) in enumerate(rows)]
    retriever = Retriever(examples, [t for t, _ in rows], HashedEmbedder(64), strategy="top_k")
    (shown,) = retriever.retrieve(["blue"], 3, labels=[["good", "good", "bad"]])
    assert {d.example.label for d in shown} == {"good", "bad"}
