"""Errors of ``ecomfs score --runner ray`` before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecomfs.cli import run


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--runner", "spark"], "use plain or ray"),
        (["--actors", "2"], "--actors without --runner ray"),
        (["--partition-rows", "9"], "--partition-rows without --runner ray"),
        (["--runner", "ray", "--actors", "0"], "--actors 0"),
        (["--runner", "ray", "--ray-address", "nobody"], "HOST:PORT"),
        (["--runner", "ray", "--ray-address", "127.0.0.1:1"], "no Ray cluster answers"),
    ],
)
def test_a_runner_that_cannot_be_used(
    more: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    Path("in.csv").write_text("id,text\n1,fits\n")
    Path("pool.csv").write_text("text,label\nfits,positive\nbroke,negative\n")
    assert run(["score", "in.csv", "-t", "review_sentiment", "-e", "pool.csv", *more]) == 2
    assert says in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "pool.csv"]
