from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted import ScriptedEngine
from small_suite import SAMPLES, go, small

from ecomfs.errors import ConfigError, EngineUnavailableError, InputError
from ecomfs.suites import ResultsFolder, load_suite
from ecomfs.suites.cell import Cell, ScoredRows, answers
from ecomfs.suites.config import SYSTEMS
from ecomfs.suites.data import read_data
from ecomfs.task import load_task
from ecomfs.types import Prediction, Status
from ecomfs_eval.manifest import read_results


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and "predictions" in p.parts
    }


def test_every_cell_leaves_all_its_systems_on_the_same_rows(tmp_path: Path) -> None:
    outcome = go(small(systems=SYSTEMS), tmp_path / "out")
    assert [c.folder for c in outcome.run] == [
        "cells/reviews/n16-s0",
        "cells/next/n16-s0",
        "cells/reviews/n16-s1",
        "cells/next/n16-s1",
    ]
    for cell in outcome.run:
        found = read_results(tmp_path / "out" / cell.folder)
        names = [p.name for p in found.systems]
        assert names[:2] == ["ecomfs", "ecomfs:read"]
        assert {"knn", "majority", "prior_random", "tfidf_logistic"} <= set(names)
        assert ("repeat_last" in names) == (cell.dataset.name == "next")
        assert len({p.ids for p in found.systems}) == 1
        assert len({p.labels for p in found.systems}) == 1
        who = found.manifest.settings["cell"]
        assert who["engine_fingerprint"] == "scripted-1"
        assert who["pool_rows"] == 16
        assert who["templates"]["en"].startswith(f"{cell.dataset.task}/en.v1@")
        assert len(found.manifest.inputs) == 2
    rows = {read_results(tmp_path / "out" / c.folder).systems[0].ids for c in outcome.run}
    assert len(rows) == 2  # one set of test rows a data set, whatever the seed


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    go(small(), whole)
    seen: list[str] = []

    def stop(phase: str, done: int = 0, total: int | None = None, detail: str = "") -> None:
        seen.append(phase)
        if phase.startswith("cell 3 of 4, ") and phase.endswith(": measuring"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(small(), part, progress=stop)
    assert {phase.rpartition(": ")[2] for phase in seen} >= {"loading the model", "embedding"}
    assert len(list(part.glob("cells/*/*/manifest.json"))) == 2
    engine = ScriptedEngine()
    outcome = go(small(), part, engine=engine)
    assert [len(outcome.kept), len(outcome.run)] == [2, 2]
    assert files(part) == files(whole)
    again = ScriptedEngine()
    outcome = go(small(), part, engine=again)
    assert [len(outcome.kept), len(outcome.run), again.calls] == [4, 0, []]


def test_a_torn_cell_is_run_again(tmp_path: Path) -> None:
    go(small(seeds=[0]), tmp_path)
    before = files(tmp_path)
    (tmp_path / "cells/reviews/n16-s0/manifest.json").unlink()
    outcome = go(small(seeds=[0]), tmp_path)
    assert [c.dataset.name for c in outcome.run] == ["reviews"]
    assert files(tmp_path) == before


def test_changed_inputs_are_refused_and_redone_when_asked(tmp_path: Path) -> None:
    data, output = tmp_path / "data", tmp_path / "out"
    (data / "review_sentiment").mkdir(parents=True)
    for name in ("pool.csv", "test.csv"):
        source = SAMPLES / "review_sentiment" / name
        (data / "review_sentiment" / name).write_bytes(source.read_bytes())
    suite = small(seeds=[0])
    go(suite, output, data=data, only=["reviews"])
    table = data / "review_sentiment" / "pool.csv"
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    rows[1][1] += " Indeed."
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    says = r"n16-s0 has other inputs or options: review_sentiment/pool.csv has changed \(.*--redo"
    with pytest.raises(ConfigError, match=says):
        go(suite, output, data=data, only=["reviews"])
    outcome = go(suite, output, data=data, only=["reviews"], redo=True)
    assert len(outcome.run) == 1
    assert len(go(suite, output, data=data, only=["reviews"]).kept) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"options": {"k": 3, "embedder": "hashed", "language": "en"}}, "options was"),
        ({"systems": ["ecomfs", "majority"]}, "systems was"),
    ],
)
def test_changed_options_are_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    go(small(seeds=[0]), tmp_path, only=["reviews"])
    with pytest.raises(ConfigError, match=says):
        go(small(seeds=[0], **changes), tmp_path, only=["reviews"])


def test_a_cell_that_is_redone_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    go(small(seeds=[0]), tmp_path, only=["reviews"])
    fewer = small(seeds=[0], systems=["ecomfs", "majority"])
    go(fewer, tmp_path, only=["reviews"], redo=True)
    assert [Path(name).stem for name in files(tmp_path)] == ["01-ecomfs", "02-majority"]


def test_fewer_rows_or_another_engine_are_another_result(tmp_path: Path) -> None:
    suite = small(seeds=[0])
    go(suite, tmp_path, only=["reviews"])
    with pytest.raises(ConfigError, match="test_rows was 12, is 5"):
        go(suite, tmp_path, only=["reviews"], rows=5)
    other = ScriptedEngine()
    other.fingerprint = "scripted-2"
    with pytest.raises(ConfigError, match="engine_fingerprint was 'scripted-1', is 'scripted-2'"):
        go(suite, tmp_path, only=["reviews"], engine=other)
    with pytest.raises(ConfigError, match="has results of the suite 'small'"):
        go(small(name="other"), tmp_path)


def test_too_few_examples_are_found_before_anything_runs(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    with pytest.raises(InputError, match="1000 labelled examples wanted"):
        go(small(shots=[16, 1000]), tmp_path / "out", engine=engine)
    assert engine.calls == []
    assert not (tmp_path / "out").exists()


def test_rows_that_fail_stay_in_as_failed(tmp_path: Path) -> None:
    with (SAMPLES / "review_sentiment" / "test.csv").open(encoding="utf-8", newline="") as file:
        text = next(csv.DictReader(file))["text"]
    suite = small(seeds=[0], datasets=[small().datasets[0].model_dump()])
    suite = suite.model_copy(
        update={
            "datasets": tuple(
                d.model_copy(update={"test": d.test.model_copy(update={"rows": None})})
                for d in suite.datasets
            )
        }
    )
    go(suite, tmp_path, engine=ScriptedEngine(fails_on=text))
    systems = {p.name: p for p in read_results(tmp_path / "cells/reviews/n16-s0").systems}
    for name in ("ecomfs", "ecomfs:read"):
        assert systems[name].status.count("failed") == 1
        assert np.isnan(systems[name].probabilities[0]).all()
    assert systems["ecomfs"].extra["error"][0] == "no answer for this prompt"
    assert set(systems["knn"].status) == {"ok"}


def test_a_cell_that_cannot_run_does_not_stop_the_others(tmp_path: Path) -> None:
    suite = small(seeds=[0])
    broken = suite.datasets[0].model_copy(update={"options": {"k": -1}})
    suite = suite.model_copy(update={"datasets": (broken, suite.datasets[1])})
    outcome = go(suite, tmp_path)
    assert [c.dataset.name for c in outcome.run] == ["next"]
    [(cell, error)] = outcome.failed
    assert (cell.dataset.name, str(error)) == ("reviews", "k = -1 (k is a whole number, 0 or more)")


def test_an_engine_that_is_gone_stops_the_run_and_says_where(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError) as caught:
        go(small(), tmp_path, engine=ScriptedEngine(gone=True))
    assert "reviews · 16 labelled · seed 0" in caught.value.__notes__[0]


def test_variants_are_cells_of_their_own(tmp_path: Path) -> None:
    suite = small(seeds=[0], variants={"two": {"k": 2}, "none": {"k": 0}})
    outcome = go(suite, tmp_path, only=["reviews"])
    assert [c.folder for c in outcome.run] == [
        "cells/reviews/n16-s0-two",
        "cells/reviews/n16-s0-none",
    ]
    stored = {c.identity["variant"]: c for c in ResultsFolder(tmp_path).cells()}
    assert stored["two"].measured["k"] == 2
    assert stored["none"].measured["k"] == 0


def test_skipped_stages_equal_the_previous_stage() -> None:
    from scripted import classifier

    pipeline = classifier().pipeline_
    data = read_data(small().datasets[0], SAMPLES)
    test = data.test[:3]
    base = {"positive": 0.6, "negative": 0.4}
    read, fused = (0.1, 0.9), (0.6, 0.4)
    names = pipeline.space.names
    assert set(names) == set(base)
    found = [
        Prediction(
            "a", "positive", base, stages={"read": read, "calibrated": (0.3, 0.7), "fused": fused}
        ),
        Prediction(
            "b",
            None,
            base,
            status=Status.ABSTAINED,
            stages={"read": read, "fused": fused, "experts": (0.5, 0.5)},
        ),
        Prediction("c", None, status=Status.FAILED, error="gone"),
    ]
    systems, absent = answers(ScoredRows(pipeline, test, None), found, stages=True)
    by_name = {p.name: p for p in systems}
    assert list(by_name) == ["ecomfs", "ecomfs:read", "ecomfs:calibrated", "ecomfs:fused"]
    assert by_name["ecomfs"].status == ("ok", "abstained", "failed")
    assert by_name["ecomfs:read"].status == ("ok", "ok", "failed")
    column = list(by_name["ecomfs"].labels).index("negative")
    at = list(base).index("negative")
    assert by_name["ecomfs:calibrated"].probabilities[0, column] == pytest.approx((0.3, 0.7)[at])
    assert by_name["ecomfs:calibrated"].probabilities[1, column] == pytest.approx(read[at])
    assert absent == {"ecomfs:experts": "some rows were answered without this step"}


def test_the_plain_record_of_a_run_can_be_read_by_people(tmp_path: Path) -> None:
    go(small(seeds=[0]), tmp_path, only=["reviews"])
    manifest = json.loads((tmp_path / "cells/reviews/n16-s0/manifest.json").read_text())
    assert manifest["settings"]["measured"]["status"] == {"ok": 12}
    assert manifest["settings"]["measured"]["parameters"]["strategy"] == "balanced"
    assert manifest["settings"]["absent"] == {}
    assert ResultsFolder(tmp_path).suite() == small(seeds=[0])


def test_a_cell_has_a_title_and_a_folder() -> None:
    cell = Cell(small().datasets[0], "all", 3, "raw")
    assert cell.title == "reviews · all labelled · seed 3 · raw"
    assert cell.folder == "cells/reviews/nall-s3-raw"
    assert replace(cell, variant="").folder == "cells/reviews/nall-s3"
    assert load_task(cell.dataset.task).name == "review_sentiment"
    assert load_suite("samples").datasets
