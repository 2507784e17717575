"""Score a table: every input row comes out, in order, with its prediction beside it.

Rows stream through in chunks; memory does not grow with their number. A row that cannot be read
or classified keeps its place and says why.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ecomfs import aio
from ecomfs.batch.origin import refuse_synthetic_table
from ecomfs.errors import ConfigError, InputError
from ecomfs.pipeline import Pipeline
from ecomfs.table import (
    AtomicWriter,
    IdTracker,
    OutputEncoding,
    TableReader,
    TableRow,
    added_columns,
)
from ecomfs.task import FieldMap, TaskCard
from ecomfs.types import Prediction, Row, Status

COLUMNS = (
    "predicted",
    "confidence",
    "status",
    "error",
    "note",
    "demonstration_ids",
    "template",
)


@dataclass(slots=True)
class Tally:
    """What happened so far; also what the progress bar shows.

    Attributes:
        progress: share of the input read, 0 to 1; ``None`` when unknown.
        seconds: wall time since the first row.
    """

    rows: int = 0
    status: dict[str, int] = field(default_factory=lambda: {str(s): 0 for s in Status})
    prompt_tokens: int = 0
    cached_tokens: int = 0
    progress: float | None = None
    seconds: float = 0.0

    @property
    def cache_share(self) -> float | None:
        """Share of prompt tokens that were not computed again; ``None`` before any."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else None

    def add(self, prediction: Prediction) -> None:
        self.rows += 1
        self.status[str(prediction.status)] += 1
        self.prompt_tokens += prediction.prompt_tokens
        self.cached_tokens += prediction.cached_tokens


@dataclass(frozen=True, slots=True)
class Gold:
    """What the harness needs when the input names its true labels, one entry a row."""

    ids: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """Outcome of :func:`score_table`."""

    output: Path
    tally: Tally
    gold: Gold | None


def score_table(
    source: str | Path,
    output: str | Path,
    pipeline: Pipeline,
    *,
    fields: Mapping[str, str] | None = None,
    id_column: str | None = None,
    gold_column: str | None = None,
    probabilities: bool = False,
    encoding: OutputEncoding = "utf-8",
    chunk_rows: int = 256,
    limit: int | None = None,
    on_progress: Callable[[Tally], None] = lambda tally: None,
) -> ScoreResult:
    """Classify every row of ``source`` into ``output``.

    Args:
        fields: card field → column, where names differ.
        gold_column: column with the true labels; collected for the harness, never shown to the
            model.
        probabilities: add a column ``p_<label>`` for every label.
        limit: stop after this many rows.

    Raises:
        InputError: the file or its columns; nothing is written then.
        EngineError: the engine is gone; rows so far are kept beside the output.
        OutputError: the output cannot be written.
    """
    source, output = Path(source), Path(output)
    columns = find_columns(
        source, pipeline.card, fields=fields, id_column=id_column, gold_column=gold_column
    )
    if output.exists() and output.samefile(source):
        raise ConfigError(f"{output}: output and input are the same file", hint="choose another -o")
    reader = TableReader(source, chunk_rows=min(chunk_rows, limit) if limit else chunk_rows)
    mapping, id_name, gold_name, name = columns.fields, columns.id, columns.gold, source.name
    names = [*COLUMNS, *([f"p_{n}" for n in pipeline.space.names] if probabilities else [])]
    added = added_columns(reader.header, names)
    tally, started = Tally(), time.monotonic()
    gold = Gold() if gold_name is not None else None
    seen = IdTracker()
    with AtomicWriter(output, [*reader.header, *added], encoding=encoding) as writer:
        for chunk in reader:
            rows = chunk.rows if limit is None else chunk.rows[: limit - tally.rows]
            ids = [_row_id(r, id_name, chunk.first + i) for i, r in enumerate(rows)]
            values = [mapping.fields(r.cells, pipeline.card) for r in rows]
            predictions = aio.run(_classify(pipeline, rows, values, ids))
            for row, value, id_, prediction in zip(rows, values, ids, predictions, strict=True):
                notes = [row.note, prediction.note]
                if id_name is not None and not seen.add(id_):
                    notes.append(f"id {id_!r} occurs more than once")
                if row.extra:
                    notes.append(
                        f"cells beyond the header: {json.dumps(row.extra, ensure_ascii=False)}"
                    )
                note = "; ".join(n for n in notes if n)
                cells = _cells(prediction, note, pipeline.space.names if probabilities else ())
                writer.write([[*(row.cells[c] for c in reader.header), *cells]])
                tally.add(prediction)
                if gold is not None and gold_name is not None:
                    gold.ids.append(id_)
                    gold.rows.append(value)
                    gold.labels.append(_gold(row, gold_name, pipeline, name))
                    gold.predictions.append(prediction)
            writer.flush()
            tally.progress, tally.seconds = chunk.progress, time.monotonic() - started
            on_progress(tally)
            if limit is not None and tally.rows >= limit:
                break
    return ScoreResult(output, tally, gold)


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a table keeps what scoring needs."""

    fields: FieldMap
    id: str | None
    gold: str | None


def find_columns(
    source: Path,
    card: TaskCard,
    *,
    fields: Mapping[str, str] | None = None,
    id_column: str | None = None,
    gold_column: str | None = None,
) -> Columns:
    """Open a table and find its columns: a quick check before a model is loaded.

    Raises:
        InputError: the file or its columns, or true labels of synthetic rows.
    """
    reader = TableReader(source)
    for named in (id_column, gold_column):
        if named is not None:
            reader.require(named)
    mapping = FieldMap.resolve(card, reader.header, fields, source.name)
    found = id_column or next((c for c in reader.header if c.casefold() == "id"), None)
    if gold_column is not None:
        refuse_synthetic_table(source, {*mapping.columns.values(), gold_column, found or ""})
    return Columns(mapping, found, gold_column)


async def _classify(
    pipeline: Pipeline, rows: Sequence[TableRow], values: Sequence[Row], ids: Sequence[str]
) -> list[Prediction]:
    """Predictions for the readable rows, failures for the others, identical rows asked once."""
    first: dict[str, int] = {}
    asked: list[int] = []
    same: list[int] = []
    for i, (row, value) in enumerate(zip(rows, values, strict=True)):
        key = json.dumps(value, sort_keys=True, default=str) if not row.error else f"\0{i}"
        if key not in first:
            first[key] = i
            if not row.error:
                asked.append(i)
        same.append(first[key])
    answers = await pipeline.classify([values[i] for i in asked], [ids[i] for i in asked])
    by_position = dict(zip(asked, answers, strict=True))
    out = []
    for i, row in enumerate(rows):
        if row.error:
            out.append(Prediction(ids[i], None, status=Status.FAILED, error=row.error))
        elif same[i] == i:
            out.append(by_position[i])
        else:
            out.append(_copy(by_position[same[i]], ids[i]))
    return out


def _copy(prediction: Prediction, id_: str) -> Prediction:
    """The same answer for an identical row; no tokens were spent on it."""
    return replace(prediction, id=id_, prompt_tokens=0, cached_tokens=0)


def _row_id(row: TableRow, id_name: str | None, position: int) -> str:
    return row.cells[id_name] if id_name else str(position)


def _gold(row: TableRow, column: str, pipeline: Pipeline, name: str) -> str:
    """The true label in the pool's spelling; an empty one is kept empty and not scored."""
    text = row.cells[column].strip()
    if not text:
        return ""
    try:
        return pipeline.space.names[pipeline.space.require(text, f"{name}, line {row.line}")]
    except InputError:
        return text  # a true label the pool has no example of: scored, and always wrong


def _cells(prediction: Prediction, note: str, names: Sequence[str]) -> list[str]:
    confidence = prediction.confidence
    template = prediction.template
    return [
        prediction.label or "",
        "" if confidence is None else f"{confidence:.6f}",
        str(prediction.status),
        prediction.error,
        note,
        " ".join(prediction.demonstration_ids),
        str(template) if template else "",
        *(f"{prediction.probabilities[n]:.6f}" if prediction.probabilities else "" for n in names),
    ]
