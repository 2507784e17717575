"""Results of a comparison: equal in every file format, without private texts, and complete or
absent.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecomfs.ab import Outcome, check_page, check_targets, write_pages
from ecomfs.ab.outcome import outcome
from ecomfs.errors import ConfigError, OutputError
from ecomfs_eval import Bootstrap, Predictions
from ecomfs_eval.compare import compare_many

HOW = Bootstrap(resamples=100)
GOLD = ["good", "bad"] * 20
SECRET = "my phone is 555-0100"


def answers(name: str, wrong: int) -> Predictions:
    """Right answers, except for the first ``wrong`` rows."""
    given = ["bad" if g == "good" else "good" for g in GOLD[:wrong]] + GOLD[wrong:]
    table = [[0.9, 0.1] if label == "good" else [0.1, 0.9] for label in given]
    extra = {"row": tuple(f"{SECRET}, row {i}" for i in range(len(GOLD)))}
    return Predictions.of(
        GOLD, given, table, labels=["good", "bad"], name=name, extra=extra, positive="good"
    )


def found(*, texts: bool = True, variants: int = 2) -> Outcome:
    systems = [answers(name, 5 * i) for i, name in enumerate("ABC"[:variants])]
    result = compare_many(systems, how=HOW)
    return outcome(systems, result, HOW, notes=["40 rows."], about={"rows": 40}, texts=texts)


@pytest.mark.parametrize("variants", [2, 3])
def test_the_decision_is_the_same_in_value_json_and_page(tmp_path: Path, variants: int) -> None:
    one = found(variants=variants)
    write_pages(one, page=tmp_path / "ab.json", title="t", how=HOW)
    read = json.loads((tmp_path / "ab.json").read_text(encoding="utf-8"))
    assert read == json.loads(json.dumps(one.to_dict()))
    assert read["decision"] == one.decision
    assert [s["name"] for s in read["systems"]] == list("ABC"[:variants])
    assert [s["scores"]["accuracy"]["value"] for s in read["systems"]] == [
        1 - 5 * i / 40 for i in range(variants)
    ]
    (page,) = write_pages(one, page=tmp_path / "ab.md", title="t", how=HOW)
    assert "40 rows." in page.read_text(encoding="utf-8")


def test_rows_are_taken_out_of_everything_that_is_written(tmp_path: Path) -> None:
    private = found(texts=False)
    write_pages(private, page=tmp_path / "ab.json", title="t", how=HOW)
    pages = write_pages(private, page=tmp_path / "ab.html", folder=tmp_path, title="t", how=HOW)
    assert len(pages) > 1
    texts = [path for path in pages if path.suffix != ".png"]
    for path in (tmp_path / "ab.json", *texts):
        assert "555-0100" not in path.read_text(encoding="utf-8"), path.name
    shown = write_pages(found(), page=tmp_path / "shown.html", title="t", how=HOW)
    assert "555-0100" in shown[0].read_text(encoding="utf-8")


def test_the_comparison_of_the_model_alone_is_included() -> None:
    alone = found()
    both = outcome(
        alone.systems, alone.result, HOW, notes=[], about={"rows": 40}, model_alone=alone
    ).to_dict()
    assert both["model_alone"]["decision"] == alone.decision
    assert "rows" not in both["model_alone"]  # said once


@pytest.mark.parametrize("language", ["en", "zh"])
def test_reports_come_in_both_languages(tmp_path: Path, language: str) -> None:
    written = write_pages(found(), folder=tmp_path / "r", title="t", language=language, how=HOW)
    pages = {p.name for p in written if p.parent == tmp_path / "r"}
    assert pages == {"report.html", "report.md", "report.json"}
    figures = [p for p in written if p.parent.name == "figures"]
    assert figures
    assert {p.suffix for p in figures} <= {".svg", ".png"}
    assert f'lang="{language}' in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")


def test_only_named_files_are_written(tmp_path: Path) -> None:
    assert write_pages(found(), title="t", how=HOW) == ()
    assert list(tmp_path.iterdir()) == []


def test_targets_that_cannot_be_written_are_named_before_any_work(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    check_targets(tmp_path / "ab.json", None, folder=tmp_path / "new")
    with pytest.raises(OutputError, match="is a folder"):
        check_targets(tmp_path)
    with pytest.raises(OutputError, match="no folder"):
        check_targets(tmp_path / "nowhere" / "ab.json")
    with pytest.raises(OutputError, match="is not a folder"):
        check_targets(folder=file)


@pytest.mark.parametrize("name", ["ab.html", "ab.HTM", "ab.md", "ab.json", "-"])
def test_pages_of_known_kinds_pass(name: str) -> None:
    check_page(Path(name), "zh")


@pytest.mark.parametrize("name", ["ab.pdf", "ab", "html"])
def test_pages_of_other_kinds_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="html"):
        check_page(Path(name))


def test_a_language_without_words_is_refused() -> None:
    with pytest.raises(ConfigError, match="report language 'de'"):
        check_page(None, "de")
