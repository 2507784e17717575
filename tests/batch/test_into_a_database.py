"""Scoring a database table into a table: killed, resumed, and never replacing another table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from postgres import new_database
from scripted import ScriptedEngine, classifier

from ecomfs.batch import score_table
from ecomfs.batch.runlog import RunLog, read_run
from ecomfs.errors import EngineUnavailableError, OutputError

ROWS = 60


class Leaving(ScriptedEngine):
    """An engine that becomes unavailable after a number of prompts."""

    limit: float = 32

    async def read(self, prompts: Any, questions: Any) -> Any:
        self.gone = sum(self.calls) + len(prompts) > self.limit
        return await super().read(prompts, questions)


@pytest.fixture(params=["sqlite", "duckdb", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    if request.param == "postgres":
        made = new_database(request.getfixturevalue("postgres_url"))
    else:
        if request.param == "duckdb":
            pytest.importorskip("duckdb_engine")
        made = f"{request.param}:///{tmp_path / 'shop.db'}"
    shop = sa.Table(
        "reviews", sa.MetaData(), sa.Column("id", sa.Integer), sa.Column("text", sa.Text)
    )
    engine = sa.create_engine(made)
    with engine.begin() as connection:
        shop.create(connection)
        rows = [{"id": i, "text": f"row {i} 很好" if i % 20 else ""} for i in range(ROWS)]
        connection.execute(shop.insert(), rows)
    engine.dispose()
    return made


def query(url: str, sql: str) -> list[Any]:
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(sql))]
    finally:
        engine.dispose()


def test_a_lost_engine_leaves_no_table_and_the_same_call_goes_on(url: str) -> None:
    engine = Leaving(batch=8)
    source = f"sql:{url}#SELECT * FROM reviews ORDER BY id"
    target = f"sql:{url}#scored"
    pipeline = classifier(engine, k=0).pipeline_
    with pytest.raises(EngineUnavailableError):
        score_table(source, target, pipeline, chunk_rows=8)
    assert Path("scored.table.journal").exists()
    with pytest.raises(sa.exc.DBAPIError):
        query(url, "SELECT * FROM scored")
    engine.gone, engine.limit = False, float("inf")
    asked = sum(engine.calls)
    result = score_table(source, target, pipeline, chunk_rows=8)
    assert result.tally.resumed
    assert sum(engine.calls) < ROWS + asked - 8  # what was answered is not asked again
    found = query(
        url,
        "SELECT r.id, s.status, s.confidence FROM reviews r JOIN scored s ON r.id = s.id "
        "ORDER BY r.id",
    )
    assert [row[0] for row in found] == list(range(ROWS))
    assert [row[1] for row in found] == ["ok" if i % 20 else "failed" for i in range(ROWS)]
    assert all(isinstance(row[2], float) for row in found if row[1] == "ok")
    assert not Path("scored.table.journal").exists()
    assert result.failed == Path("scored.table.failed.csv")
    again = {"chunk_rows": 8}
    with pytest.raises(OutputError, match="exists already"):
        score_table(source, target, pipeline, **again)  # type: ignore[arg-type]
    score_table(f"{source} LIMIT 3", target, pipeline, replace_table=True)
    assert query(url, "SELECT count(*) FROM scored") == [(3,)]


def test_a_table_that_came_meanwhile_stays_and_the_answers_are_kept(url: str) -> None:
    source, target = "in.csv", f"sql:{url}#scored"
    Path(source).write_text("text\n" + "".join(f"row {i}\n" for i in range(ROWS)))
    pipeline = classifier(k=0).pipeline_

    def intrude(tally: Any) -> None:
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE IF NOT EXISTS scored (mine TEXT)"))
        engine.dispose()

    with pytest.raises(OutputError, match="exists already"):
        score_table(source, target, pipeline, on_progress=intrude)
    assert query(url, "SELECT * FROM scored") == []
    score_table(source, f"sql:{url}#scored", pipeline, replace_table=True)
    assert query(url, "SELECT count(*) FROM scored") == [(ROWS,)]


def test_passwords_are_in_no_log_and_no_message(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as refused:
        score_table(
            "in.csv",
            "sql:postgresql+psycopg://me:hunter2@127.0.0.1:1/shop#scored",
            classifier(k=0).pipeline_,
        )
    assert "hunter2" not in str(refused.value)
    log = RunLog(tmp_path, "20260501-091200-000ab")
    log.write("start", command=["score"], folder="/", process=0)
    from ecomfs.io import SqlTable

    log.input(SqlTable.parse("sql:postgresql+psycopg://me:hunter2@h/shop#scored"), {})
    assert log.path is not None
    assert "hunter2" not in log.path.read_text()
    assert read_run(log.path).outputs
