"""A cache may be deleted, damaged, full or shared without stopping or changing the work."""

from __future__ import annotations

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.core.cache import ByteCache

KEYS = st.binary(max_size=8)


@given(
    first=st.dictionaries(KEYS, st.binary(max_size=20), max_size=8),
    second=st.dictionaries(KEYS, st.binary(max_size=20), max_size=8),
    asked=st.lists(KEYS, max_size=8),
)
def test_the_first_stored_value_is_returned_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory,
    first: dict[bytes, bytes],
    second: dict[bytes, bytes],
    asked: list[bytes],
) -> None:
    cache = ByteCache(tmp_path_factory.mktemp("cache") / "c.sqlite")
    cache.put("model", first)
    cache.put("model", second)
    known = second | first
    keys = [*asked, *known]
    assert cache.get("model", keys) == {k: known[k] for k in keys if k in known}
    assert cache.get("another", keys) == {}
    assert len(cache) == len(known)
    cache.close()


def test_more_keys_than_one_query_holds(tmp_path: Path) -> None:
    cache = ByteCache(tmp_path / "c.sqlite")
    values = {f"{i}".encode(): f"value {i}".encode() for i in range(2_000)}
    cache.put("m", values)
    assert cache.get("m", list(values)) == values
    cache.close()


def test_values_outlive_the_cache_and_discarded_ones_do_not(tmp_path: Path) -> None:
    cache = ByteCache.open(tmp_path / "new" / "folder")
    cache.put("m", {b"a": b"1", b"b": b"2"})
    cache.put("n", {b"a": b"3"})
    cache.discard("m", [b"a", b"never there"])
    cache.close()
    again = ByteCache.open(tmp_path / "new" / "folder")
    assert again.get("m", [b"a", b"b"]) == {b"b": b"2"}
    assert again.get("n", [b"a"]) == {b"a": b"3"}
    again.close()
    assert again.get("n", [b"a"]) == {b"a": b"3"}  # it opens again
    again.close()


@pytest.mark.parametrize("kind", ["damaged", "folder", "below a file"])
def test_an_unusable_cache_is_reported_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    path = tmp_path / "c.sqlite"
    if kind == "damaged":
        path.write_bytes(b"not a database " * 400)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"")
        path = path / "c.sqlite"
    cache = ByteCache(path)
    with caplog.at_level(logging.WARNING):
        cache.put("m", {b"k": b"v"})
        assert cache.get("m", [b"k"]) == {}
        cache.discard("m", [b"k"])
        assert len(cache) == 0
    assert [
        record.getMessage() for record in caplog.records if "is not used" in record.getMessage()
    ]
    assert len(caplog.records) == 1
    cache.close()
    if kind == "damaged":
        assert path.read_bytes() == b"not a database " * 400  # left as it was found


def test_threads_share_one_cache(tmp_path: Path) -> None:
    cache = ByteCache(tmp_path / "c.sqlite")

    def work(number: int) -> bool:
        own = {f"{number}/{i}".encode(): bytes([number]) for i in range(50)}
        cache.put("m", own)
        return cache.get("m", list(own)) == own

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))
    assert len(cache) == 16 * 50
    cache.close()


def test_processes_share_one_file(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    cache = ByteCache(path)
    cache.put("m", {b"parent": b"1"})
    code = (
        "import sys, pathlib; from ecomfs.core.cache import ByteCache\n"
        "cache = ByteCache(pathlib.Path(sys.argv[1]))\n"
        "assert cache.get('m', [b'parent']) == {b'parent': b'1'}\n"
        "cache.put('m', {b'child': b'2'}); cache.close()"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)
    assert cache.get("m", [b"parent", b"child"]) == {b"parent": b"1", b"child": b"2"}
    cache.close()


def test_a_rolled_back_write_leaves_no_position_behind(tmp_path: Path) -> None:
    one, other = ByteCache(tmp_path / "c.sqlite"), ByteCache(tmp_path / "c.sqlite")
    with pytest.raises(TypeError):
        one.put("A", {b"k": "no bytes"})  # type: ignore[dict-item]
    other.put("B", {b"k": b"b"})
    one.put("A", {b"k": b"a"})
    assert one.get("A", [b"k"]) == {b"k": b"a"}
    assert other.get("B", [b"k"]) == {b"k": b"b"}
    one.close()
    other.close()
