from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ecomfs_eval import Bootstrap, Predictions
from ecomfs_eval.board import Board, BoardEntry, PublishedResult, build_board
from ecomfs_eval.errors import EmptyDataError, OptionError, WriteError
from ecomfs_eval.report import render_html, render_json, render_markdown, write_report
from ecomfs_eval.report.words import ZH

HOW = Bootstrap(resamples=200)
SKILL = {"ours": 1.2, "ours:read": 0.8, "majority": 0.0, "linear": 1.0}


def systems(seed: int, rows: int = 50, **skill: float) -> list[Predictions]:
    gold = np.random.default_rng(3).integers(2, size=rows)
    rng = np.random.default_rng([5, seed])
    out = []
    for name, strength in {**SKILL, **skill}.items():
        p = 1 / (1 + np.exp(-(strength * (2 * gold - 1) + rng.normal(size=rows))))
        table = np.column_stack([1 - p, p])
        out.append(Predictions.of(gold, probabilities=table, labels=[0, 1], name=name))
    return out


def board(**options: object) -> Board:
    entries = [
        BoardEntry(name, size, systems(seed + size), seed, absent={"boosting": "no <b>table</b>"})
        for name in ("商店|A", "shop <B>")
        for size in (32, 8)
        for seed in (0, 1)
    ]
    chosen = {"metrics": ["accuracy", "log_loss"], "main": "ours", "how": HOW, **options}
    return build_board(entries, **chosen)  # type: ignore[arg-type]


def test_runs_are_grouped_by_data_set_and_size() -> None:
    found = board()
    assert [(g.name, g.size, g.runs, g.rows) for g in found.groups] == [
        ("商店|A", 8, 2, 50),
        ("商店|A", 32, 2, 50),
        ("shop <B>", 8, 2, 50),
        ("shop <B>", 32, 2, 50),
    ]
    group = found.groups[0]
    assert list(group.differences) == ["ours:read", group.best_baseline]
    assert group.best_baseline in ("majority", "linear")
    means = {s: group.averages[s]["accuracy"].score.value for s in ("majority", "linear")}
    assert means[group.best_baseline] == max(means.values())
    assert [(o.size, o.tables) for o in found.overall] == [(8, 2), (32, 2), (None, 4)]


def test_the_means_over_tables_are_plain_means() -> None:
    found = board()
    last = found.overall[-1]
    values = [g.averages["ours"]["log_loss"].score.value for g in found.groups]
    assert last.means["ours"]["log_loss"] == pytest.approx(np.mean(values))
    tally = last.against["ours:read"]["log_loss"]
    gains = [g.differences["ours:read"]["log_loss"].gain for g in found.groups]
    clear = [
        0 not in g.differences["ours:read"]["log_loss"].interval and gain > 0
        for g, gain in zip(found.groups, gains, strict=True)
    ]
    assert (tally.better, tally.clearly_better, tally.of) == (
        sum(g > 0 for g in gains),
        sum(clear),
        4,
    )


def test_a_system_that_one_run_lacks_is_left_out() -> None:
    entries = [BoardEntry("a", 8, systems(0), 0), BoardEntry("a", 8, systems(1)[:3], 1)]
    found = build_board(entries, metrics=["accuracy"], main="ours", how=HOW)
    assert list(found.groups[0].averages) == ["ours", "ours:read", "majority"]
    with pytest.raises(OptionError, match="no system 'linear' in every run"):
        build_board(entries, metrics=["accuracy"], main="linear", how=HOW)


def test_variants_are_not_averaged() -> None:
    entries = [BoardEntry("a", 8, systems(n), 0, variant=v) for n, v in enumerate(("x", "y"))]
    found = build_board(entries, metrics=["accuracy"], main="ours", how=HOW)
    assert [(g.variant, g.runs) for g in found.groups] == [("x", 1), ("y", 1)]


def test_published_rows_are_shown_with_ours() -> None:
    row = PublishedResult("Theirs | tuned", "f1_macro", 0.5, "8", "a <paper>", "other rows")
    found = board(published={"shop <B>": [row]}, notes={"": ["all"], "shop <B>": ["one"]})
    for text in (render_html(found), render_markdown(found)):
        assert "50.0 %" in text
        assert "other rows" in text
        assert "this run" in text
    ours = found.groups[2].averages["ours"]["f1_macro"].score.value
    assert f"{100 * ours:.1f} %" in render_markdown(found)


def test_texts_cannot_break_out_of_the_page() -> None:
    found = board(title="<script>x</script>")
    page, text = render_html(found), render_markdown(found)
    assert "<script>x" not in page
    assert "shop &lt;B&gt;" in page
    assert "no &lt;b&gt;table" in page
    assert "商店\\|A" in text
    assert "<b>" not in text
    assert "default-src 'none'" in page


def test_json_holds_every_number_and_reason(tmp_path: Path) -> None:
    bare = [Predictions.of(p.gold, p.predicted, labels=p.labels, name=p.name) for p in systems(0)]
    found = build_board([BoardEntry("a", 8, bare)], main="ours", how=HOW)
    data = json.loads(render_json(found))
    loss = data["groups"][0]["systems"]["ours"]["log_loss"]["score"]
    assert (loss["value"], loss["reason"]) == (None, "no row has probabilities")
    assert "no row has probabilities" in render_html(found)
    assert "no row has probabilities" in render_markdown(found)
    written = write_report(found, tmp_path / "new", "board")
    assert [p.name for p in written] == ["board.html", "board.md", "board.json"]
    assert json.loads(written[2].read_text(encoding="utf-8")) == data
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError, match="cannot write the report"):
        write_report(found, tmp_path / "file" / "below")


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(EmptyDataError):
        build_board([])
    with pytest.raises(OptionError, match="acuracy"):
        build_board([BoardEntry("a", 8, systems(0))], metrics=["acuracy"])
    with pytest.raises(OptionError, match="language 'fr'"):
        build_board([BoardEntry("a", 8, systems(0))], main="ours", language="fr")  # type: ignore[arg-type]


def test_a_board_in_chinese_has_chinese_words_and_metrics() -> None:
    row = PublishedResult("theirs", "accuracy", 0.5, "8", "a paper")
    found = board(language="zh", published={"shop <B>": [row]})
    for text in (render_html(found), render_markdown(found)):
        for key in ("in_short", "learning", "definitions", "published", "this_run", "mean"):
            assert ZH[key] in text
        assert "对数损失" in text
        assert "labelled examples" not in text
