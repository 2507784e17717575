"""Notebook views: every text is escaped, colours follow the page, nothing is loaded."""

from __future__ import annotations

import ast
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import ScriptedEngine, classifier, examples

import ecomfs
import ecomfs_eval
from ecomfs import MultiLabelClassifier, Prediction, TaxonomyClassifier, compare, load_task
from ecomfs.batch import AnswerCounts, ScoreResult, Tally
from ecomfs.estimators.multilabel import MultiLabelProfile
from ecomfs.estimators.multilabel.fit import LabelThreshold
from ecomfs.fit import Guarantees, Profile
from ecomfs.fit.fitting import Fitted
from ecomfs.types import Status
from ecomfs_eval import Predictions, summarise
from ecomfs_eval.compare import compare as compare_two
from ecomfs_eval.compare import compare_many
from ecomfs_eval.html_view import bars, folded, paragraph, table, view

EVIL = "<script>alert(1)</script>&\"'"


class Checked(HTMLParser):
    """Collects the text; every tag must be closed, and be one of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] != "style":
            self.text.append(data)


def checked(html: str) -> str:
    """The text of the HTML, which must be whole and harmless."""
    parser = Checked()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    assert parser.attributes <= {"class", "style"}
    assert not re.search(r"<script|https?:|url\(|#[0-9a-f]{3,6}\b", html)
    return " ".join(parser.text)


@given(st.text(), st.text(), st.floats(0, 1))
def test_any_text_comes_out_as_it_is(one: str, other: str, share: float) -> None:
    html = view(one, paragraph(other), bars({one: share}, one), folded(one, other))
    parser = Checked()
    parser.feed(html + table([one], [[other], [None], [share]]))
    parser.close()
    assert parser.open == []
    assert parser.attributes <= {"class", "style"}


def shown(value: Any) -> str:
    return checked(value._repr_html_())


def test_a_prediction() -> None:
    found = Prediction(
        EVIL,
        None,
        {EVIL: 0.7, "b": 0.3},
        Status.ABSTAINED,
        prediction_set=("b", EVIL),
        error=EVIL,
        label_mass=0.5,
        novelty=0.25,
        source="fused",
    )
    text = shown(found)
    assert f"{EVIL}: no label (abstained)" in text
    assert "0.700" in text
    assert "novelty 0.250" in text
    many = Prediction("r", "x0", {f"x{i}": (40 - i) / 820 for i in range(40)})
    assert "and 30 more" in shown(many)


def test_an_explanation_and_a_profile_and_a_task() -> None:
    clf = classifier(ScriptedEngine(), k=2)
    found = clf.explain(f"fine {EVIL}")
    text = shown(found)
    assert f"label: {found.prediction.label} (ok)" in text
    assert EVIL in text  # of the row, in the prompt
    assert all(d.example.id in text for d in found.state.demonstrations)
    profile = Profile.of(clf.pipeline_, Fitted(0, {}, {}), Guarantees(precision=0.95))
    text = shown(profile)
    assert "profile of review_sentiment" in text
    assert "0.95" in text
    text = shown(load_task("address_quality"))
    assert "incomplete / 不完整" in text
    assert "exactly these" in text


def test_several_labels() -> None:
    rows = ["good", "bad", "good bad", "neither"] * 3
    sets = [{"a"}, {"b"}, {"a", "b"}, set()] * 3
    clf = MultiLabelClassifier(
        "customer_intent", ScriptedEngine(), embedder="hashed", calibration_size=0, language="en"
    ).fit(rows, sets)
    assert "threshold" in shown(clf.explain(EVIL))
    assert EVIL in shown(clf.explain(EVIL))
    assert "row" in shown(clf.classify([EVIL], ids=["row"])[0])
    kept = LabelThreshold(value=0.25, best=None, f1=None, yes=2, readings=4)
    profile = MultiLabelProfile(
        task="t", engine="e", pool="p", examples=4, k=2, thresholds={EVIL: kept}
    )
    assert f"{EVIL} 0.250 – 2 4" in shown(profile)


def test_comparisons_and_evaluations() -> None:
    gold = [EVIL, "bad"] * 20
    a = Predictions.of(gold, [EVIL] * 40, labels=[EVIL, "bad"], name="A<b>")
    b = Predictions.of(gold, gold, labels=[EVIL, "bad"], name="B")
    text = shown(compare_two(a, b, metrics=["accuracy"]))
    assert "A<b> only" in text
    assert "and 10 more changed rows" in text
    assert "B is better than A<b>" in shown(compare_many([a, b]))
    text = shown(summarise(b))
    assert "Accuracy" in text
    assert EVIL in text


def test_an_ab_test_of_two_variants() -> None:
    texts, labels = examples()
    frame = pd.DataFrame({"text": texts, "label": labels})
    rows = pd.DataFrame({"text": [f"other {text}" for text in texts], "label": labels})
    found = compare(
        {"two": {"k": 2}, "none": {"k": 0}},
        frame,
        rows,
        task="review_sentiment",
        engine=ScriptedEngine(),
        embedder="hashed",
        language="en",
        calibration_size=0,
    )
    text = shown(found)
    assert found.decision in text
    assert "macro-F1" in text


def test_a_run() -> None:
    answers = AnswerCounts()
    answers.add(Prediction("1", EVIL, {EVIL: 0.9, "b": 0.1}))
    answers.add(Prediction("2", None, {EVIL: 0.6, "b": 0.4}, Status.ABSTAINED))
    tally = Tally(rows=3, status={"ok": 1, "abstained": 1, "failed": 1, "invalid": 0})
    failed = Path("<b>.failed.csv")
    text = shown(ScoreResult(Path("<b>.csv"), tally, answers, None, failed, {"price": EVIL}))
    for part in ("3 rows, written to <b>.csv", "abstained 1", EVIL, "1 need review", str(failed)):
        assert part in text
    assert "invalid" not in text
    empty = ScoreResult(Path("x.csv"), Tally(), AnswerCounts(), None)
    assert shown(empty).split() == ["0", "rows,", "written", "to", "x.csv"]


def test_a_taxonomy() -> None:
    titles = ["desk lamp", "oak chair", "board game", "doll"] * 4
    labels = [f"Home > {EVIL}", "Home > Chairs", "Toys > Games", "Toys > Dolls"] * 4
    clf = TaxonomyClassifier("product_category", None, embedder="hashed", calibration_size=8)
    clf.fit(titles, labels)
    text = shown(clf.explain("a desk lamp"))
    assert "level one: parents" in text
    assert EVIL in text
    assert clf.profile_ is not None
    assert "parents 16" in shown(clf.profile_)


def test_every_result_with_a_view_has_a_test_here() -> None:
    """A new type with a view fails here until it is shown in a test."""
    found = {
        node.name
        for package in (ecomfs, ecomfs_eval)
        for path in Path(package.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        if any(getattr(part, "name", "") == "_repr_html_" for part in node.body)
    }
    assert found == {
        *("PairwiseComparison", "Comparisons", "Explanation", "MultiLabelExplanation", "Outcome"),
        *("MultiLabelProfile", "Prediction", "Profile", "ScoreResult"),
        *("Summary", "TaskCard", "TaxonomyExplanation", "TaxonomyProfile"),
    }


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_are_those_of_the_page(theme: str) -> None:
    html = Prediction("r", "a", {"a": 1.0})._repr_html_()
    assert "color:inherit" in html
    assert "currentColor" in html
    assert theme not in html
