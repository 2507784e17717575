"""The drawings of a report as files, and the section on the source of its numbers."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from ecomfs_eval import Bootstrap, Predictions, compare_many
from ecomfs_eval.board import BoardEntry, build_board
from ecomfs_eval.report import build_report, render_html, render_markdown, write_figures
from ecomfs_eval.report.figures import figures, standalone_svg

HOW = Bootstrap(resamples=100)
GOLD = ["no", "yes"] * 20


def system(name: str, sure: float) -> Predictions:
    table = [[sure, 1 - sure] if g == "no" else [1 - sure, sure] for g in GOLD]
    table[0] = [0.4, 0.6]
    return Predictions.of(GOLD, None, table, labels=["no", "yes"], name=name)


THREE = [system(name, sure) for name, sure in (("in use", 0.9), ("<short>", 0.8), ("长", 0.7))]


def test_every_drawing_is_a_file_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    report = build_report(THREE, how=HOW)
    written = write_figures(report, tmp_path / "figures")
    assert len(written) == 2 * len(figures(report))
    for path in written:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
            assert len(path.read_bytes()) > 5000
            continue
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(" not in path.read_text(encoding="utf-8")


def test_a_drawing_has_its_title_and_legend() -> None:
    roc = figures(build_report(THREE, how=HOW))[0]
    words = "".join(ElementTree.fromstring(standalone_svg(roc)).itertext())
    assert all(text in words for text in (roc.title, "in use", "<short>", "长"))


def test_each_system_has_its_own_reliability_diagram() -> None:
    titles = [f.title for f in figures(build_report(THREE, how=HOW))]
    assert [t for t in titles if "Reliability" in t] == [f"Reliability of {p.name}" for p in THREE]
    one = [f.title for f in figures(build_report(THREE[:1], how=HOW))]
    assert "Reliability" in one


def test_a_report_without_drawings_writes_none(tmp_path: Path) -> None:
    plain = Predictions.of(GOLD, GOLD, name="labels only")
    report = build_report([plain], how=HOW)
    assert write_figures(report, tmp_path / "none") == ()
    assert not (tmp_path / "none").exists()


def test_the_last_section_has_the_source_of_the_numbers() -> None:
    source = {"command": "ecomfs ab v1 v2", "data": "test.csv", "versions": "ecomfs 1"}
    report = build_report(THREE, comparisons=compare_many(THREE, how=HOW), how=HOW, source=source)
    for text in (render_html(report), render_markdown(report)):
        end = text[text.index("Where the numbers come from") :]
        assert all(value in end for value in source.values())
        assert "95 %, 100 resamples, seed 0" in end
    assert report.to_dict()["source"]["command"] == "ecomfs ab v1 v2"


def test_main_and_minus_are_words_no_more() -> None:
    board = build_board(
        [BoardEntry("reviews", 8, THREE)], metrics=["accuracy"], main="in use", how=HOW
    )
    text = render_markdown(board)
    assert "How in use differs from each other system, on the same rows" in text
    assert "| in use compared with | Accuracy |" in text
    assert " minus " not in text
    assert "| Main |" not in text
    report = build_report(THREE, comparisons=compare_many(THREE, how=HOW), how=HOW)
    assert "&lt;short> compared with in use" in render_markdown(report)
