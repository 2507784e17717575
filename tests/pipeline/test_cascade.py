"""The model is not asked about rows whose label it could not change."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pools import reviews
from scripted import ScriptedEngine

from ecomfs.batch import (
    Selection,
    find_columns,
    pipeline_identity,
    plan_table,
    run_identity,
    score_table,
)
from ecomfs.calibration import EXPERTS, EXPERTS_ALONE, MODEL, MODEL_ALONE, Blend, Fusion
from ecomfs.core import event_loop
from ecomfs.estimators import FewShotClassifier, TaxonomyClassifier
from ecomfs.pipeline import DECIDED, Pipeline
from ecomfs.types import Example, Prediction

TEXTS = [example.fields["text"] for example in reviews(24, seed=3)] + ["grey", "a lovely torn hat"]
TOGETHER = Fusion({MODEL: 0.3, EXPERTS: 0.9})
FUSIONS = {
    "as fitted": None,
    "experts lead": ((TOGETHER, EXPERTS_ALONE, MODEL_ALONE), (0.02, 0.9, 0.02, 0.06)),
    "experts lead, other shares": ((TOGETHER, EXPERTS_ALONE, MODEL_ALONE), (0.2, 0.5, 0.2, 0.1)),
    "together": ((TOGETHER, EXPERTS_ALONE, MODEL_ALONE), (0.97, 0.01, 0.01, 0.01)),
    "model alone": ((TOGETHER, EXPERTS_ALONE, MODEL_ALONE), (0.0, 0.0, 0.99, 0.01)),
    "no model": ((TOGETHER, EXPERTS_ALONE, MODEL_ALONE), (0.0, 1.0, 0.0, 0.0)),
}


def fitted(engine: ScriptedEngine | None = None, **options: Any) -> FewShotClassifier:
    return FewShotClassifier(
        "review_sentiment",
        engine or ScriptedEngine(),
        embedder="hashed",
        language="en",
        k=2,
        **{"calibration_size": 16, **options},
    ).fit(reviews(40))


def with_fusion(pipeline: Pipeline, name: str, shares: tuple[float, ...] = (0.5, 0.5)) -> Pipeline:
    chosen = FUSIONS[name]
    if chosen is None:
        return pipeline
    return replace(pipeline, policy=replace(pipeline.policy, fusion=Blend(*chosen, shares)))


def classify(pipeline: Pipeline) -> list[Prediction]:
    rows = [{"text": text} for text in TEXTS]
    return event_loop.run(pipeline.classify(rows, [str(n) for n in range(len(rows))]))


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return fitted().pipeline_


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1)])
@pytest.mark.parametrize("name", FUSIONS)
def test_labels_are_those_of_a_run_that_reads_every_row(
    pipeline: Pipeline, name: str, shares: tuple[float, ...]
) -> None:
    answers = with_fusion(pipeline, name, shares)
    every = classify(replace(answers, cascade=False))
    found = classify(answers)
    assert [p.label for p in found] == [p.label for p in every]
    assert {p.source for p in every} == {"fused"}
    for p, read in zip(found, every, strict=True):
        if p.source == "experts":
            assert (p.note, p.prompt_tokens) == (DECIDED, 0)
            assert tuple(p.probabilities.values()) == pytest.approx(read.stages["experts"])
        else:
            assert replace(p, template=None) == replace(read, template=None)
    unread = sum(p.source == "experts" for p in found)
    if name == "no model":
        assert unread == len(TEXTS)
    if name == "experts lead":
        assert unread > len(TEXTS) / 2
    if name == "model alone":
        assert not unread


def test_only_the_label_may_depend_on_it(pipeline: Pipeline) -> None:
    alone = with_fusion(pipeline, "no model")
    assert alone.skips_decided
    for name in ("accept_from", "set_from", "novel_below"):
        promised = replace(alone, policy=replace(alone.policy, **{name: 0.1}))
        assert {p.source for p in classify(promised)} == {"fused"}
    assert {p.source for p in classify(replace(alone, suspicious="review"))} == {"fused"}


def test_no_cascade_reads_every_row_of_a_profile_with_a_loss() -> None:
    lossy = fitted(max_loss=0.05)
    assert lossy.profile_.skip_from is not None
    found = fitted(profile=lossy.profile_, cascade=False)
    assert {p.source for p in found.classify(TEXTS)} == {"fused"}


def table(folder: Path) -> Path:
    source = folder / "in.csv"
    with source.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text"])
        writer.writerows([text] for text in [*TEXTS, TEXTS[0]])
    return source


def test_a_run_and_its_plan_say_how_many_rows_were_not_read(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    alone, source = with_fusion(pipeline, "experts lead"), table(tmp_path)
    columns = find_columns(source, alone.card)
    identity = run_identity(str(source), pipeline_identity(alone), columns, Selection())
    output = source.with_name("out.csv")
    plan = plan_table(str(source), output, alone, columns, Selection(), identity)
    result = score_table(source, output, alone)
    with output.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    unread = [row for row in rows if row["note"] == DECIDED]
    assert {row["source"] for row in unread} == {"experts"}
    assert result.answers.decided == len(unread) > 1
    said = (
        f"{len(unread)} of {len(rows)} rows were not read: the model could not change their label"
    )
    assert result.answers.unread(len(rows)) == said
    copies = sum(row["text"] == TEXTS[0] and row["note"] == DECIDED for row in rows) - 1
    assert plan.decided == plan.skipped
    assert plan.decided.value == len(unread) - max(copies, 0)
    assert result.tally.read == len(TEXTS) - plan.decided.value


def test_a_run_that_reads_every_row_is_another_run(pipeline: Pipeline) -> None:
    assert pipeline_identity(pipeline) != pipeline_identity(replace(pipeline, cascade=False))


def test_a_fit_says_how_many_examples_it_could_leave_unread() -> None:
    assert 0 <= fitted().profile_.found["decided"] <= 40
    assert fitted(precision=0.8).profile_.found["decided"] is None


def test_levels_of_a_hierarchy_are_read() -> None:
    pool = [
        Example(e.id, e.fields, f"clothes > {e.label}" if n % 3 else "other > thing")
        for n, e in enumerate(reviews(30))
    ]
    clf = TaxonomyClassifier(
        "product_category", ScriptedEngine(), embedder="hashed", calibration_size=0
    ).fit([Example(e.id, {"title": e.fields["text"]}, e.label) for e in pool])
    rows = clf.refresh()
    assert rows.levels
    assert not any(level.cascade for level in rows.levels.values())


def test_probabilities_of_decided_rows_are_distributions(pipeline: Pipeline) -> None:
    for p in classify(with_fusion(pipeline, "no model")):
        assert np.isclose(sum(p.probabilities.values()), 1.0)


def test_an_explanation_reads_a_decided_row_also_with_a_loss() -> None:
    clf = fitted(max_loss=0.3, calibration_size=40)
    assert clf.pipeline_.policy.skip_from is not None
    decided = [t for t, p in zip(TEXTS, clf.classify(TEXTS), strict=True) if p.note == DECIDED]
    assert decided
    shown = clf.explain(decided[0]).prediction
    assert (shown.source, shown.note) == ("fused", "")
    assert shown.label == clf.classify(decided[:1])[0].label


def test_an_explanation_of_a_row_that_is_read_shows_the_reading() -> None:
    clf = fitted(max_loss=0.3, calibration_size=40, cascade=False)
    assert clf.pipeline_.policy.skip_from is not None
    for text in TEXTS[:6]:
        [answered] = clf.classify([text])
        shown = clf.explain(text).prediction
        assert shown.source == answered.source == "fused"
        assert shown.probabilities == answered.probabilities
