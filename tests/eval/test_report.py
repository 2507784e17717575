"""The report in three formats and two languages; no text can break out of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ecomfs_eval import Bootstrap, Predictions, compare, compare_many, confusion_matrix
from ecomfs_eval.compare import compare_arms
from ecomfs_eval.errors import OptionError, WriteError
from ecomfs_eval.learning_curve import LearningRun, learning_curve
from ecomfs_eval.metrics import METRICS
from ecomfs_eval.report import (
    Report,
    ReportLanguage,
    build_report,
    render_html,
    render_json,
    render_markdown,
    write_report,
)
from ecomfs_eval.report.words import EN, ZH
from ecomfs_eval.sequential import SequentialTest, decided_by

HOW = Bootstrap(resamples=200)
HOSTILE = '<script>alert("x")</script> | *bold* 差评 {{ 7 * 7 }}'
LANGUAGES: tuple[ReportLanguage, ...] = ("en", "zh")


def system(name: str, share: float, seed: int, n: int = 120, labels: int = 2) -> Predictions:
    rng = np.random.default_rng(seed)
    gold = np.arange(n) % labels
    right = rng.random(n) < share
    answer = np.where(right, gold, (gold + 1) % labels)
    sure = rng.uniform(0.6, 0.95, n)
    table = np.full((n, labels), ((1 - sure) / (labels - 1))[:, None])
    table[np.arange(n), answer] = sure
    names = [f"标签{i}" for i in range(labels)]
    return Predictions.of(
        [names[g] for g in gold],
        [names[a] for a in answer],
        table,
        labels=names,
        name=name,
        slices={"lang": ("en", "zh", "zh") * (n // 3)},
        extra={"prompt": tuple(f"{HOSTILE} {i}" for i in range(n))},
    )


def full(language: ReportLanguage = "en") -> Report:
    a, b = system("short prompt", 0.7, 0), system("长提示", 0.9, 1)
    runs = [LearningRun(n, system("long", s, n), 0) for n, s in ((8, 0.6), (32, 0.8), (128, 0.9))]
    return build_report(
        [b, a],
        comparisons=compare(a, b, how=HOW),
        curves=[learning_curve(runs, "accuracy", how=HOW)],
        title=f"Report & {HOSTILE}",
        language=language,
        how=HOW,
        notes=["Made with seed 0."],
    )


class Tags(HTMLParser):
    """Every tag is closed, and what the page would load."""

    VOID = frozenset({"meta", "br", "img", "input", "link", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_whole_and_loads_nothing(language: ReportLanguage) -> None:
    page = render_html(full(language))
    tags = parsed(page)
    names = [tag for tag, _ in tags.seen]
    assert "script" not in names
    assert "link" not in names
    assert "img" not in names
    assert not any(key in ("src", "href", "onclick") for _, attrs in tags.seen for key in attrs)
    assert "url(" not in page
    assert "http" not in page.replace("http-equiv", "")
    policy = [a["content"] for t, a in tags.seen if a.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_texts_of_the_data_are_shown_and_never_run() -> None:
    page = render_html(full())
    assert "<script" not in page
    assert f"{HOSTILE} 1" in "".join(parsed(page).text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_holds_every_part(language: ReportLanguage) -> None:
    report = full(language)
    tags = parsed(render_html(report))
    text = "".join(tags.text)
    words = ZH if language == "zh" else EN
    for key in (
        "decision",
        "summary",
        "systems",
        "curves",
        "learning",
        "slices",
        "flips",
        "classes",
        "confusion",
        "top_confusions",
        "worst",
        "definitions",
    ):
        assert words[key] in text
    assert [a["lang"] for t, a in tags.seen if t == "html"] == [
        "zh-CN" if language == "zh" else "en"
    ]
    charts = [a for t, a in tags.seen if t == "svg" and a.get("role") == "img"]
    # ROC, PR, reliability of each system, risk–coverage, learning curve
    assert len(charts) == 6
    assert sum(t == "desc" for t, _ in tags.seen) == 6


def test_the_decision_in_both_languages() -> None:
    assert "长提示 is better than short prompt by" in render_html(full("en"))
    assert "长提示 优于 short prompt" in render_html(full("zh"))


def test_the_accuracy_on_the_page_is_the_accuracy() -> None:
    report = full()
    value = METRICS["accuracy"](system("长提示", 0.9, 1)).value
    assert value is not None
    assert f"{100 * value:.1f} %" in render_html(report)
    assert f"| Accuracy | {100 * value:.1f} % " in render_markdown(report)
    assert json.loads(render_json(report))["systems"][0]["scores"]["accuracy"]["value"] == value


@pytest.mark.parametrize("language", LANGUAGES)
def test_markdown_tables_are_whole(language: ReportLanguage) -> None:
    text = render_markdown(full(language))
    width = None
    for line in text.splitlines():
        if line.startswith("|"):
            columns = len(re.findall(r"(?<!\\)\|", line))
            assert width in (None, columns)
            width = columns
        else:
            width = None
    outside = re.sub(r"^(`{3,})text\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert "```" not in outside
    assert "<script" not in outside
    assert text.startswith("# ")


def test_json_is_strict_and_keeps_reasons() -> None:
    def refuse(text: str) -> None:
        raise AssertionError(text)

    data = json.loads(render_json(full()), parse_constant=refuse)
    scores = data["systems"][0]["scores"]
    assert scores["mrr"]["value"] is None
    assert scores["mrr"]["reason"] == "no query column: the rows form no ranked lists"
    assert data["systems"][0]["roc"]["thresholds"][0] is None
    assert data["comparisons"][0]["decision"]["verdict"] == "b better"
    assert data["learning_curves"][0]["points"][0]["size"] == 8


def test_several_labels_without_a_positive_class() -> None:
    report = build_report([system("s", 0.8, 0, labels=3)], how=HOW)
    tags = parsed(render_html(report))
    charts = [a for t, a in tags.seen if t == "svg" and a.get("role") == "img"]
    assert len(charts) == 2  # reliability and risk–coverage; ROC and PR need a class


def test_many_labels_get_a_list_of_confusions_instead_of_a_matrix() -> None:
    page = render_html(build_report([system("s", 0.5, 0, labels=30)], how=HOW))
    assert EN["confusion_note"] not in page
    assert EN["top_confusions"] in page


def test_a_label_called_like_the_column_of_rows_without_an_answer() -> None:
    gold = ["no answer", "busy", "no answer", "busy", "无回答"]
    p = Predictions.of(gold, ["busy", "no answer", None, "no answer", "busy"])
    matrix = confusion_matrix(p)
    assert matrix.columns[-2:] == ("无回答", "[no answer]")
    assert ("no answer", "[no answer]", 1) in matrix.top_confusions()
    for language, column in (("en", "[no answer]"), ("zh", "[无回答]")):
        text = render_markdown(build_report([p], how=HOW, language=language))
        assert column.replace("[", "\\[") in text


def test_labels_only_one_class_and_nothing_answered() -> None:
    p = Predictions.of(["a"] * 5, [None] * 5, labels=["a", "b"], status=["failed"] * 5)
    report = build_report([p], how=HOW)
    text = "".join(parsed(render_html(report)).text)
    assert "system gave no usable answer on 5 rows (failed 5)." in text
    assert "[failed]" in text
    assert render_markdown(report)


def test_a_perfect_system_has_no_errors_to_list() -> None:
    p = Predictions.of(["a", "b"] * 5, ["a", "b"] * 5)
    assert EN["no_errors"] in render_html(build_report([p], how=HOW))


def test_summary_sentences_follow_the_numbers() -> None:
    n = 400
    gold = np.zeros(n, dtype=int)
    wrong = np.arange(n) < 160
    sure = np.where(wrong, 0.8, 0.99)
    answer = np.where(wrong, 1, 0)
    table = np.where(np.arange(2) == answer[:, None], sure[:, None], 1 - sure[:, None])
    p = Predictions.of(
        gold,
        answer,
        table,
        labels=["0", "1"],
        name="S",
        slices={"kind": tuple("bad" if w else "good" for w in wrong)},
    )
    text = render_markdown(build_report([p], how=HOW))
    assert "S is right on 60.0 %" in text
    assert "S is overconfident: its mean confidence is 91.4 %" in text
    assert "Answering only the 60.0 % of rows with confidence of 99.0 % or more" in text
    assert "S is weakest where kind is bad: 0.0 %" in text
    assert "The most frequent error of S: 0 answered as 1, 160 rows." in text


def test_long_lists_are_cut_and_say_so() -> None:
    a, b = system("A", 0.5, 0, n=300), system("B", 0.5, 1, n=300)
    report = build_report([a, b], comparisons=compare_many([a, b], how=HOW), how=HOW, worst=3)
    assert len(report.systems[0].worst) == 3
    left = report.systems[0].wrong - 3
    page = render_html(report)
    assert EN["more"].format(n=left) in page
    kinds = [f.kind for f in report.comparisons[0].flips]
    shown = min(30, kinds.count("broken")) + min(30, kinds.count("fixed"))
    assert page.count('class="tag') == shown


def test_files_are_written(tmp_path: Path) -> None:
    paths = write_report(full(), tmp_path / "new", "ab")
    assert [p.name for p in paths] == ["ab.html", "ab.md", "ab.json"]
    assert all(p.stat().st_size > 1000 for p in paths)
    with pytest.raises(WriteError, match="cannot write the report"):
        write_report(full(), paths[0])


def test_senseless_input_is_refused() -> None:
    p = system("A", 0.5, 0)
    with pytest.raises(OptionError, match="no systems"):
        build_report([])
    with pytest.raises(OptionError, match="share a name"):
        build_report([p, p])
    with pytest.raises(OptionError, match="language 'fr'"):
        build_report([p], language="fr")  # type: ignore[arg-type]


def test_both_languages_have_every_word_with_the_same_blanks() -> None:
    assert set(EN) == set(ZH)
    for key in EN:
        assert set(re.findall(r"{(\w+)}", EN[key])) == set(re.findall(r"{(\w+)}", ZH[key])), key


@pytest.mark.parametrize("name", [name for name in METRICS if "@" not in name])
def test_every_metric_has_a_chinese_title(name: str) -> None:
    assert METRICS[name].title_zh


@pytest.mark.parametrize("language", LANGUAGES)
def test_arms_and_running_tests_say_how_they_were_compared(language: ReportLanguage) -> None:
    a, b = system("A", 0.6, 0), system("B", 0.9, 1)
    right = [(p.gold_index == p.predicted_index).astype(float) for p in (a, b)]
    state = SequentialTest().update(right[1] - right[0])
    watched = decided_by(compare(a, b, how=HOW), state)
    other = Predictions.of(
        b.gold,
        b.predicted,
        b.probabilities,
        labels=b.labels,
        name="B",
        ids=[f"b{i}" for i in range(len(b))],
    )
    arms = compare_arms([a, other], how=HOW)
    told = {"en": ("confidence sequence", "different rows"), "zh": ("置信序列", "不成对")}[language]
    for comparison, words in ((watched, told[0]), (arms, told[1])):
        report = build_report([a, b], comparisons=comparison, language=language, how=HOW)
        page, text = render_html(report), render_markdown(report)
        assert words in page
        assert words in text
        assert "McNemar" not in page + text
        json.loads(render_json(report))


def test_small_slices_say_why_they_have_no_interval() -> None:
    a, b = system("A", 0.6, 0, n=30), system("B", 0.9, 1, n=30)
    report = build_report([a, b], comparisons=compare(a, b, how=HOW), how=HOW)
    assert "10 rows, fewer than 20" in render_html(report)
    assert "10 rows, fewer than 20" in render_markdown(report)


def test_markdown_shows_the_flips_with_both_prompts() -> None:
    a, b = system("A", 0.6, 0), system("B", 0.9, 1)
    hostile = replace(
        b, extra={"prompt": tuple(f"```\n# no heading {i}\n````\n" for i in range(120))}
    )
    report = build_report([a, hostile], comparisons=compare(a, hostile, how=HOW), how=HOW)
    text = render_markdown(report)
    first = report.comparisons[0].flips[0]
    assert f"| {first.id} | broken | {first.gold} | {first.a} | {first.b} |" in text
    assert f"{HOSTILE} {int(first.id) - 1}" in text
    # Fences inside the prompt do not end its code block.
    assert f"`````text\n{first.extra_b['prompt'].rstrip()}\n`````" in text


def test_systems_that_are_right_on_the_same_rows_say_so() -> None:
    a = replace(system("A", 0.8, 0), prompt_tokens=np.full(120, 90.0))
    twin = replace(a, name="B", prompt_tokens=np.full(120, 80.0))
    small = compare(a, twin, margin=0.04, how=HOW).decision
    assert small.verdict == "equivalent"
    assert small.text.endswith("B costs less; ship B.")
    c = compare(a, twin, how=HOW)
    assert c.decision.text == (
        "No difference above 3.0 points of accuracy: A and B are right on the same of all 120 "
        "rows; keep A."
    )
