"""lint-task for tasks whose rows may have several labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecomfs.cli import run

POOL = Path(__file__).parents[2] / "samples" / "review_aspects" / "pool.csv"


def test_a_pool_of_several_labels_is_checked_label_by_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert run(["lint-task", "review_aspects", "-e", str(POOL)]) == 0
    assert "no problems found" in capsys.readouterr().out
    wrong = tmp_path / "pool.csv"
    wrong.write_text(POOL.read_text("utf-8").replace("price_good", "price_godo"), "utf-8")
    assert run(["lint-task", "review_aspects", "-e", str(wrong)]) == 1
    assert "price_godo" in capsys.readouterr().out
    assert run(["lint-task", "review_aspects", "-e", str(POOL), "--budget", "200"]) == 1
    assert "tokens, 200 fit" in capsys.readouterr().out
