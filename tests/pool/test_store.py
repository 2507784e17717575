from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.errors import DuplicateIdError, PoolError
from ecomfs.pool import Pool
from ecomfs.types import Example


def example(id: str, label: str = "good", **fields: Any) -> Example:
    return Example(id, fields or {"text": f"text of {id}"}, label)


def test_every_change_makes_one_version_and_old_versions_stay(pool: Pool) -> None:
    assert (pool.version, pool.examples()) == (0, [])
    assert pool.add([example("a"), example("b")], note="first") == 1
    assert pool.add([example("c", "bad")]) == 2
    assert pool.relabel("a", "bad", note="misread") == 3
    assert pool.retire(["b"]) == 4
    assert [(e.id, e.label) for e in pool.examples()] == [("a", "bad"), ("c", "bad")]
    assert [(e.id, e.label) for e in pool.examples(1)] == [("a", "good"), ("b", "good")]
    assert [e.id for e in pool.examples(2)] == ["a", "b", "c"]
    assert pool.examples(0) == []
    assert [(c.version, c.action, c.examples, c.note) for c in pool.changes()] == [
        (1, "add", 2, "first"),
        (2, "add", 1, ""),
        (3, "relabel", 1, "misread"),
        (4, "retire", 1, ""),
    ]


def test_history_tells_every_state_of_an_example(pool: Pool) -> None:
    pool.add([example("a")])
    pool.relabel("a", "bad", note="misread")
    pool.retire(["a"])
    pool.add([example("a", "new life")])
    told = [(r.example.label, r.added_in, r.retired_in, r.note) for r in pool.history("a")]
    assert told == [("good", 1, 2, ""), ("bad", 2, 3, "misread"), ("new life", 4, None, "")]
    assert pool.history("nobody") == []


def test_many_are_relabelled_in_one_version(pool: Pool) -> None:
    many = [example(f"e{n}") for n in range(1203)]  # more than one statement's worth of ids
    pool.add([*many, example("last", "bad")])
    wanted = {f"e{n}": "bad" for n in range(0, 1203, 2)} | {"last": "bad", "e1": "odd"}
    assert pool.relabel_many(wanted, note="second opinion") == 2
    changed = [(c.action, c.examples, c.note) for c in pool.changes()][-1]
    assert changed == ("relabel", 603, "second opinion")
    after = [(e.id, e.label) for e in pool.examples()]
    assert after == [(e.id, wanted.get(e.id, "good")) for e in many] + [("last", "bad")]
    assert {e.label for e in pool.examples(1)} == {"good", "bad"}
    assert [r.example.label for r in pool.history("e1")] == ["good", "odd"]
    assert pool.relabel_many(wanted) == pool.relabel_many({}) == pool.version == 2


@pytest.mark.parametrize("wrong", [{"ghost": "bad"}, {"b": " "}])
def test_a_bulk_relabel_that_cannot_be_done_changes_nothing(
    pool: Pool, wrong: dict[str, str]
) -> None:
    pool.add([example("a"), example("b")])
    with pytest.raises(PoolError, match=r"ghost|'b'"):
        pool.relabel_many({"a": "bad"} | wrong)
    assert (pool.version, [e.label for e in pool.examples()]) == (1, ["good", "good"])


def test_a_change_without_effect_makes_no_version(pool: Pool) -> None:
    pool.add([example("a")])
    assert pool.add([]) == pool.relabel("a", "good") == pool.retire([]) == pool.version == 1


def test_stats_count_the_current_version(pool: Pool) -> None:
    pool.add([example("a"), example("b"), example("c", "bad"), example("d", "bad")])
    pool.add([Example("s", {"text": "made up"}, "bad", synthetic=True)])
    pool.retire(["a"])
    stats = pool.stats()
    assert (stats.version, stats.examples, stats.synthetic, stats.retired) == (3, 4, 1, 1)
    assert list(stats.labels.items()) == [("bad", 3), ("good", 1)]


def test_synthetic_examples_can_be_left_out(pool: Pool) -> None:
    pool.add([example("a"), Example("s", {"text": "made up"}, "bad", synthetic=True)])
    assert [e.id for e in pool.examples(synthetic=False)] == ["a"]
    assert [e.synthetic for e in pool.examples()] == [False, True]


def test_a_synthetic_example_keeps_what_it_was_made_from(pool: Pool) -> None:
    made = Example("s", {"text": "made up"}, "bad", True, source_id="a", method="rewrite")
    pool.add([example("a"), made])
    assert pool.examples()[1] == made
    pool.relabel("s", "good")
    assert pool.examples()[1].source_id == "a"
    assert pool.examples()[1].method == "rewrite"


def test_only_synthetic_examples_have_a_source(pool: Pool) -> None:
    with pytest.raises(PoolError, match="'a' has a source or a method but is not synthetic"):
        pool.add([Example("a", {"text": "x"}, "good", source_id="b")])


@pytest.mark.parametrize(
    "batch", [[example("b"), example("a")], [example("b"), example("c"), example("b")]]
)
def test_a_repeated_id_is_refused_and_nothing_is_stored(pool: Pool, batch: list[Example]) -> None:
    pool.add([example("a")])
    with pytest.raises(DuplicateIdError):
        pool.add(batch)
    assert [e.id for e in pool.examples()] == ["a"]
    assert pool.version == 1


def test_the_message_names_the_repeated_examples(pool: Pool) -> None:
    with pytest.raises(DuplicateIdError, match="examples 1 and 3 have the same id 'x'"):
        pool.add([example("x"), example("y"), example("x")])


def test_unknown_ids_are_refused_and_nothing_is_retired(pool: Pool) -> None:
    pool.add([example("a")])
    with pytest.raises(PoolError, match="'ghost'"):
        pool.retire(["a", "ghost"])
    with pytest.raises(PoolError, match="'ghost'"):
        pool.relabel("ghost", "good")
    assert [e.id for e in pool.examples()] == ["a"]


@pytest.mark.parametrize("label", ["", "  ", "a\0b"])
def test_an_unusable_label_is_refused(pool: Pool, label: str) -> None:
    with pytest.raises(PoolError, match="'a'"):
        pool.add([example("a", label)])
    pool.add([example("a")])
    with pytest.raises(PoolError, match="'a'"):
        pool.relabel("a", label)


@pytest.mark.parametrize("version", [-1, 2])
def test_a_version_that_does_not_exist_is_refused(pool: Pool, version: int) -> None:
    pool.add([example("a")])
    with pytest.raises(PoolError, match=f"no version {version}"):
        pool.examples(version)


def test_fields_read_back_equal(pool: Pool) -> None:
    fields = {
        "z first": "好用 👍 \0 \ud83d",
        "n": 3,
        "price": 9.5,
        "none": None,
        "list": [1, {"deep": True}],
    }
    pool.add([Example("a", fields, "good"), Example("b", {"x": np.int64(4)}, "good")])
    first, second = pool.examples()
    assert first.fields == fields
    assert list(first.fields) == list(fields)
    assert second.fields == {"x": 4}


def test_a_field_that_is_not_json_is_named(pool: Pool) -> None:
    with pytest.raises(PoolError, match="example 'a': field 'when'"):
        pool.add([Example("a", {"text": "t", "when": object()}, "good")])


def test_pools_of_one_database_do_not_see_each_other(database_url: str) -> None:
    with Pool.open(database_url, "one") as one, Pool.open(database_url, "two") as two:
        one.add([example("a")])
        assert two.examples() == []
        two.add([example("a", "other")])
        assert (one.version, two.version) == (1, 1)
        assert one.examples()[0].label == "good"


def test_a_reader_sees_a_new_example_at_its_next_look(database_url: str) -> None:
    with Pool.open(database_url) as reader, Pool.open(database_url) as writer:
        assert reader.version == 0
        writer.add([example("a")])
        assert reader.snapshot() == (1, [example("a")])


def test_a_pool_outlives_its_connection(database_url: str) -> None:
    with Pool.open(database_url) as pool:
        pool.add([example("a")])
    with Pool.open(database_url) as pool:
        assert [e.id for e in pool.examples()] == ["a"]


def test_many_ids_at_once(pool: Pool) -> None:
    many = [example(f"e{n}") for n in range(1700)]
    pool.add(many)
    assert pool.retire([e.id for e in many[:1200]]) == 2
    assert [e.id for e in pool.examples()] == [e.id for e in many[1200:]]


together: Barrier


def wait_for_the_others(barrier: Barrier) -> None:
    global together
    together = barrier


def write_some(url: str, writer: int, count: int) -> list[int]:
    with Pool.open(url) as pool:
        together.wait(60)
        return [pool.add([example(f"w{writer}-{n}")], note=str(writer)) for n in range(count)]


def test_two_writers_lose_nothing(database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    with ProcessPoolExecutor(
        2, mp_context=context, initializer=wait_for_the_others, initargs=(barrier,)
    ) as workers:
        jobs = [workers.submit(write_some, database_url, w, 40) for w in (0, 1)]
        versions = [job.result() for job in jobs]
    assert sorted(versions[0] + versions[1]) == list(range(1, 81))
    assert versions[0] == sorted(versions[0])
    with Pool.open(database_url) as pool:
        assert pool.version == 80
        assert {e.id for e in pool.examples()} == {f"w{w}-{n}" for w in (0, 1) for n in range(40)}
        for version in (1, 17, 80):
            assert len(pool.examples(version)) == version


def test_threads_that_share_a_pool_lose_nothing(pool: Pool) -> None:
    def write(thread: int) -> None:
        for n in range(10):
            pool.add([example(f"t{thread}-{n}")])
            pool.examples()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    assert (pool.version, len(pool.examples())) == (40, 40)


actions = st.lists(
    st.tuples(st.sampled_from(["add", "relabel", "retire"]), st.integers(0, 5), st.integers(0, 2)),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(actions)
def test_any_version_can_be_read_again(steps: list[tuple[str, int, int]]) -> None:
    with Pool.in_memory() as pool:
        seen: dict[int, list[Example]] = {0: []}
        for action, number, label in steps:
            id = f"e{number}"
            alive = {e.id for e in pool.examples()}
            if action == "add" and id not in alive:
                pool.add([example(id, f"l{label}")])
            elif action == "relabel" and id in alive:
                pool.relabel(id, f"l{label}")
            elif action == "retire" and id in alive:
                pool.retire([id])
            version, now = pool.snapshot()
            assert seen.setdefault(version, now) == now
        for version, then in seen.items():
            assert pool.examples(version) == then
