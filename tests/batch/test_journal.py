"""The journal: keys of rows, answers that read back equal, and the file on disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.batch.journal import Entry, Journal, drop_journal, pack, row_key, unpack
from ecomfs.errors import JournalError
from ecomfs.types import Prediction

CELLS = st.one_of(
    st.text(st.characters()), st.integers(), st.floats(), st.none(), st.lists(st.text())
)
ROWS = st.dictionaries(st.text(min_size=1), CELLS, max_size=4)


@given(ROWS, ROWS)
def test_rows_share_a_key_only_when_they_are_identical(one: dict, other: dict) -> None:  # type: ignore[type-arg]
    assert row_key(one) == row_key(dict(one))
    if list(map(repr, one.items())) != list(map(repr, other.items())):
        assert row_key(one) != row_key(other)


def test_half_a_surrogate_pair_has_a_key_of_its_own() -> None:
    keys = {row_key({"text": text}) for text in ("\ud83d", "\ude00", "\\ud83d", "?", "")}
    assert len(keys) == 5


def test_an_answer_over_other_labels_is_refused() -> None:
    packed = pack(Prediction("r1", "a", {"a": 0.5, "b": 0.5}), ["a", "b"])
    with pytest.raises(JournalError, match="2 numbers for 3 labels"):
        unpack(*packed, ["a", "b", "c"], "r1")


def test_committed_answers_survive_reopening(tmp_path: Path) -> None:
    path = tmp_path / "out.csv.journal"
    entries = [Entry(n, b"key %d" % n, "[]", b"") for n in range(1_000)]
    with Journal(path) as journal:
        journal.commit(entries[500:], through=0)
        journal.commit(entries[:500], through=1_000, chosen=[9, 8, 7])
        journal.commit([Entry(3, b"key 3", "another", b"")], through=1_000)  # the first one stays
    with Journal(path) as journal:
        assert (journal.through, len(journal), journal.get("chosen")) == (1_000, 1_000, [9, 8, 7])
        assert journal.between(2, 5) == entries[2:5]
        keys = [e.key for e in entries] + [b"unknown"]
        assert journal.known(keys) == set(keys[:-1])
        assert journal.by_key([b"key 7", b"unknown"]) == {b"key 7": entries[7]}
        journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_commit_that_fails_leaves_nothing_of_itself(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        with pytest.raises(TypeError):
            journal.commit([Entry(0, b"k", "[]", b"")], through=1, place=object())
        assert (len(journal), journal.through) == (0, 0)
        journal.commit([Entry(0, b"k", "[]", b"")], through=1)
        assert len(journal) == 1


def test_an_open_journal_is_neither_opened_nor_dropped_by_another(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path):
        with pytest.raises(JournalError, match="another run"):
            drop_journal(path)
        assert path.exists()
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 1")
    with pytest.raises(JournalError, match="not a journal of this version"):
        Journal(path)
    drop_journal(path)
    assert not path.exists()


def test_answers_with_lists_and_long_notes_are_stored() -> None:
    """Neither is kept in memory as a text that many rows share."""
    given = Prediction(
        "r1",
        "a",
        {"a": 1.0},
        note="x" * 100_000,
        demonstration_ids=["1", "2"],  # type: ignore[arg-type]
    )
    found = unpack(*pack(given, ["a"]), ["a"], "r1")
    assert (found.note, found.demonstration_ids) == (given.note, ("1", "2"))
    assert found.label_mass is None


@given(
    st.integers(0, 2**40),
    st.one_of(st.none(), st.floats(0, 1)),
    st.one_of(st.none(), st.floats(0, 1)),
    st.sampled_from(["", "a", "b"]),
    st.booleans(),
)
def test_stored_answers_read_back_equal(
    tokens: int, mass: float | None, novelty: float | None, source: str, steps: bool
) -> None:
    given = Prediction(
        "r1",
        "yes",
        {"yes": 0.75, "no": 0.25},
        prompt_tokens=tokens,
        cached_tokens=tokens // 2,
        label_mass=mass,
        novelty=novelty,
        source=source,
        stages={"read": (0.5, 0.5)} if steps else {},
        prediction_set=("yes",),
    )
    names = ["yes", "no"]
    assert unpack(*pack(given, names, stages=True), names, "r1") == given
