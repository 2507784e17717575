"""How many tables in each encoding are read correctly, refused, or read wrongly?

    python eval/bench/encodings.py

Writes reviews in 13 languages (eval/bench/encodings.yaml) as tables of 1, 20 and 200 rows in the
encodings that shops export, and reads them back without naming the encoding. Tables that are read
wrongly with a note are counted separately from those read wrongly without one.
"""

from __future__ import annotations

import argparse
import logging
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from ecomfs.errors import DecodingError
from ecomfs.io import TableReader

SENTENCES = Path(__file__).with_suffix(".yaml")
ROWS = 200
SIZES = (1, 20, 200)
OUTCOMES = ("right", "refused", "wrong, noted", "wrong, silent")
WRITTEN = (  # name, Python's codec, languages
    ("UTF-8", "utf-8", "de fr pt es pl cs ru el tr ko ja zh-hant zh-hans"),
    ("UTF-8-SIG", "utf-8-sig", "de fr pt es pl cs ru el tr ko ja zh-hant zh-hans"),
    ("UTF-16", "utf-16", "de fr pt es pl cs ru el tr ko ja zh-hant zh-hans"),
    ("GBK", "gbk", "zh-hans"),
    ("GB18030", "gb18030", "zh-hans"),
    ("Big5", "cp950", "zh-hant"),
    ("Shift-JIS", "cp932", "ja"),
    ("EUC-KR", "cp949", "ko"),
    ("cp1250", "cp1250", "pl cs"),
    ("cp1251", "cp1251", "ru"),
    ("cp1252", "cp1252", "de fr pt es"),
    ("cp1253", "cp1253", "el"),
    ("cp1254", "cp1254", "tr"),
    ("KOI8-R", "koi8-r", "ru"),
)


def sentences(languages: Sequence[str], n: int) -> list[str]:
    """``n`` different reviews, alternating between the languages."""
    parts = yaml.safe_load(SENTENCES.read_text(encoding="utf-8"))
    drawn: list[list[str]] = []
    for language in languages:
        comma = "，" if language in ("ja", "zh-hant", "zh-hans") else ", "
        first, second = parts[language]["first"], parts[language]["second"]
        made = [f"{a}{comma}{b}" for a in first for b in second]
        drawn.append(random.Random(language).sample(made, n // len(languages) + 1))
    return [text for texts in zip(*drawn, strict=True) for text in texts][:n]


def tables(texts: Sequence[str], size: int) -> Iterator[str]:
    """CSV tables of ``size`` rows each."""
    for start in range(0, len(texts) - size + 1, size):
        rows = [f'{i},"{text}"\n' for i, text in enumerate(texts[start : start + size], 1)]
        yield "id,text\n" + "".join(rows)


def outcome(table: str, codec: str, folder: Path) -> str:
    """The outcome of reading a table whose encoding is not given."""
    path = folder / "reviews.csv"
    path.write_bytes(table.encode(codec))
    try:
        reader = TableReader(path)
        read = "".join(f'{r.cells["id"]},"{r.cells["text"]}"\n' for r in reader.rows())
    except DecodingError:
        return "refused"
    if "id,text\n" + read == table:
        return "right"
    return "wrong, noted" if reader.note else "wrong, silent"


def measured(codec: str, languages: str, rows: int, size: int) -> Counter[str]:
    """Outcomes of all tables of a size."""
    texts = sentences(languages.split(), rows)
    with tempfile.TemporaryDirectory() as folder:
        return Counter(outcome(table, codec, Path(folder)) for table in tables(texts, size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="sentences an encoding")
    rows = parser.parse_args().rows
    logging.getLogger("ecomfs.io.files").setLevel(logging.ERROR)  # the notes are counted
    heads = [f"{size} row{'s' if size > 1 else ''}" for size in SIZES]
    print(f"| encoding | languages | {' | '.join(heads)} |")
    print("|---|---|" + "---|" * len(SIZES))
    total: Counter[str] = Counter()
    for name, codec, languages in WRITTEN:
        each = [languages] if codec.startswith("utf") else languages.split()
        for spoken in each:
            cells = []
            for size in SIZES:
                found = measured(codec, spoken, rows, min(size, rows))
                total += found
                n = found.total()
                told = [f"{found[o] / n:.0%} {o}" for o in OUTCOMES if found[o]]
                cells.append(", ".join(told))
            shown = spoken if len(spoken) < 10 else "all 13"
            print(f"| {name} | {shown} | {' | '.join(cells)} |", flush=True)
    print(f"\n{total.total()} tables: " + ", ".join(f"{total[o]} {o}" for o in OUTCOMES))


if __name__ == "__main__":
    main()
