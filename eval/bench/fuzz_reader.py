"""Coverage-guided fuzzing of the table reader; not part of the test suite.

    pip install atheris
    python eval/bench/fuzz_reader.py -runs=1000000

Checks that for any bytes of a CSV, TSV, JSON or JSON Lines file the reader returns rows with the
cells of the header, or raises an error of ecomfs; and that rows are unchanged when they are written
and read again.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from pathlib import Path

from fuzzing import fuzz, watched

PARSERS = [f"ecomfs.io.{name}" for name in ("delimited", "jsonlines", "reader", "rows", "writer")]
with watched(*PARSERS):
    from ecomfs.errors import EcomfsError
    from ecomfs.io import AtomicWriter, TableReader

_MEMORY = Path("/dev/shm")
FOLDER = Path(tempfile.mkdtemp(prefix="ecomfs-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None))
ENDS = (".csv", ".tsv", ".txt", ".jsonl", ".json", ".csv.gz")
SEEDS = [
    b"\x00id,text,label\n1,fits well,positive\n2,broke,negative\n",
    b'\x00id;text\n1;"so ""good"", ok"\n2;\n',
    b"\x01id\ttext\n1\tfine\n",
    b"\x00" + "id,text\n1,很好\n".encode("gb18030"),
    b"\x00" + "id,text\n1,fine\n".encode("utf-16"),
    b"\x02sep=|\nid|text\n1|fine\n",
    b'\x03{"id": 1, "text": "fine"}\n{"id": 2, "text": null, "more": [1, {"a": 2}]}\n',
    b'\x04[{"id": 1, "text": "fine"}, {"id": 2}]',
    b"\x00\xef\xbb\xbfid,text\r\n1,a\x00b\r\n",
]


os.fsync = lambda _: None  # type: ignore[assignment]  # nothing here has to survive a crash


def rows_of(
    path: Path, encoding: str | None = "utf-8"
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    reader = TableReader(path, encoding=encoding)
    header = tuple(reader.header)
    found = []
    for row in reader.rows():
        if tuple(row.cells) != header:
            raise AssertionError(f"cells {tuple(row.cells)!r} under the header {header!r}")
        if not row.error:
            found.append(tuple(row.cells.values()))
    return header, found


def test_one_input(data: bytes) -> None:
    if not data:
        return
    path = FOLDER / f"in{ENDS[data[0] % len(ENDS)]}"
    path.write_bytes(data[1:])
    # Finding out the encoding takes most of the time, and writing as long as reading: both for some
    # of the inputs only, which a checksum chooses, lest the fuzzer prefers them.
    chance = zlib.crc32(data)
    try:
        header, found = rows_of(path, None if chance % 32 == 0 else "utf-8")
    except EcomfsError:
        return
    if not found or chance % 4 != 1:
        return
    again = FOLDER / "again.csv"
    with AtomicWriter(again, header) as out:
        out.write(found)
    if rows_of(again) != (header, found):
        raise AssertionError(f"{header!r}, {found!r} are read back as {rows_of(again)!r}")


if __name__ == "__main__":
    fuzz(test_one_input, SEEDS)
