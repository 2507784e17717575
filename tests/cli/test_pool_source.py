"""A pool as ``--examples`` of score, ab and serve."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripted import ScriptedEngine
from serving import ask

from ecomfs.cli import run
from ecomfs.cli.ab import ab
from ecomfs.cli.score import score
from ecomfs.cli.serve import serve
from ecomfs.errors import MissingFileError, PoolError, UnknownLabelError
from ecomfs.pool import Pool
from ecomfs.types import Example

TASK = "review_sentiment"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    labels = ["negative" if i % 2 else "positive" for i in range(12)]
    texts = [f"it {'broke' if i % 2 else 'works'} {i}" for i in range(12)]
    lines = [f"p{i},{t},{y}" for i, (t, y) in enumerate(zip(texts, labels, strict=True))]
    Path("pool.csv").write_text("\n".join(["id,text,label", *lines]), encoding="utf-8")
    Path("in.csv").write_text("id,text\n1,it broke 3\n2,it works\n", encoding="utf-8")
    with Pool.open("shop.db", "reviews") as pool:
        pool.add(
            Example(f"p{i}", {"text": t}, y)
            for i, (t, y) in enumerate(zip(texts, labels, strict=True))
        )
        pool.relabel("p0", "negative")
        pool.relabel("p0", "positive")
    return tmp_path


def scored(source: str, **options: Any) -> list[dict[str, str]]:
    context: Any = SimpleNamespace(obj=None)
    score(
        ctx=context,
        sources=["in.csv"],
        task=TASK,
        examples=source,
        output=Path("out.csv"),
        embedder="hashed",
        k=4,
        calibration_size=0,
        engine=ScriptedEngine(),
        **options,
    )
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("source", ["shop.db", "sqlite:///shop.db"])
def test_a_pool_scores_as_its_table_does(folder: Path, source: str) -> None:
    expected = scored("pool.csv")
    assert len(expected) == 2
    assert scored(source, pool_name="reviews") == expected


def test_a_sample_of_a_pool(folder: Path) -> None:
    assert scored("shop.db", pool_name="reviews", shots=4) == scored("pool.csv", shots=4)


def test_ab_takes_a_pool(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for source in ("shop.db", "pool.csv"):
        ab(
            templates=["v1", "v2"],
            task=TASK,
            examples=source,
            data=Path("pool.csv"),
            embedder="hashed",
            k=2,
            calibration_size=0,
            engine=ScriptedEngine(),
            output=Path("ab.json"),
            pool_name="reviews",
        )
        told.append(json.loads(Path("ab.json").read_text(encoding="utf-8")))
    assert told[0] == told[1]
    assert "12 labelled examples" in capsys.readouterr().out


def test_mistakes(folder: Path) -> None:
    with pytest.raises(PoolError, match=r"none\.db: no such pool"):
        scored("none.db")
    with pytest.raises(PoolError, match="pool 'default' holds no examples"):
        scored("shop.db")
    with pytest.raises(MissingFileError, match=r"none\.csv"):
        scored("none.csv")
    with Pool.open("shop.db", "odd") as pool:
        pool.add([Example("a", {"text": "x"}, "meh"), Example("b", {"text": "y"}, "positive")])
    with pytest.raises(UnknownLabelError, match="pool 'odd': unknown label 'meh'"):
        scored("shop.db", pool_name="odd")
    assert not Path("none.db").exists()
    assert not Path("out.csv").exists()


def test_on_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["score", "in.csv", "-t", TASK, "-e", "sqlite:///none.db", "--pool-name", "x"]
    assert run(arguments) == 2
    assert "none.db: no such pool database" in capsys.readouterr().err


def test_serve_follows_the_pool(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What serve hands to the server answers with the pool as another command left it."""
    from serving import serving

    from ecomfs.serve import server

    seen: list[int] = []

    def instead(app: Any, sock: Any, *, on_ready: Any, **_: Any) -> None:
        on_ready()
        with serving(app) as url:
            for _ in range(2):
                answer = ask(url, "POST", "/v1/classify", {"rows": ["it broke"]})
                seen.append(answer.json["predictions"][0]["pool_version"])
                with Pool.open("shop.db", "reviews") as pool:
                    pool.relabel("p1", "positive")

    monkeypatch.setattr(server, "run", instead)
    serve(
        task=TASK,
        examples="shop.db",
        pool_name="reviews",
        port=0,
        embedder="hashed",
        k=2,
        calibration_size=0,
        engine=ScriptedEngine(),
    )
    assert seen == [3, 4]
    assert "changes of the pool count from the next request" in capsys.readouterr().err
