"""Forked processes with a fitted classifier: it answers, or raises one error at once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted import ScriptedEngine, classifier, examples

from ecomfs.core import event_loop
from ecomfs.engine import shared
from ecomfs.errors import EngineUnavailableError
from ecomfs.estimators import FewShotClassifier
from ecomfs.pool import Pool
from ecomfs.types import Example

TEXTS, LABELS = examples(8)
OPTIONS: dict[str, Any] = {"k": 2, "embedder": "hashed", "language": "en", "calibration_size": 4}
pytestmark = [
    pytest.mark.skipif(
        "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this platform"
    ),
    # Python 3.12 and later warn of every fork of a process with threads.
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
]
_inherited: list[Callable[[Any], Any]] = []


def _call(argument: Any) -> Any:
    return _inherited[-1](argument)


def in_child(function: Callable[[Any], Any], argument: Any, *, pickled: bool = False) -> Any:
    """What a forked process answers: with what it inherited, or with what it is sent."""
    _inherited.append(function)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        call = pool.map_async(function if pickled else _call, [argument])
        [found] = call.get(timeout=120)
    return found


@pytest.mark.parametrize("pickled", [False, True])
def test_an_engine_that_cannot_be_opened_again_is_one_error_at_once(pickled: bool) -> None:
    clf = classifier()
    clf.predict(TEXTS)  # the loop and its thread are there
    with pytest.raises(EngineUnavailableError, match="'scripted' cannot be opened in this process"):
        in_child(clf.predict, TEXTS, pickled=pickled)
    assert len(clf.predict(TEXTS)) == 8  # the parent goes on


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("stored", [False, True])
def test_an_engine_with_a_name_is_opened_again_in_the_child(
    pickled: bool, stored: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shared, "open_engine", lambda spec: ScriptedEngine())
    monkeypatch.setattr(shared, "_checked", lambda engine: ())  # it has no context to exceed
    monkeypatch.setenv("ECOMFS_READING_CACHE", "off")
    shared.close_shared()
    made = [
        Example(str(i), {"text": t}, y) for i, (t, y) in enumerate(zip(TEXTS, LABELS, strict=True))
    ]
    pool = Pool.open(tmp_path / "pool.db") if stored else Pool.in_memory()
    pool.add(made)
    clf = FewShotClassifier("review_sentiment", "scripted", **OPTIONS).fit(pool)
    found = in_child(clf.predict_proba, TEXTS, pickled=pickled)
    np.testing.assert_array_equal(found, clf.predict_proba(TEXTS))
    pool.retire(["3"])  # the child had no hold on the parent's database
    assert clf.classify(TEXTS)[0].pool_version == 2
    shared.close_shared()
    pool.close()


async def _one() -> int:
    return 1


def test_the_loop_is_the_childs_own() -> None:
    assert event_loop.run(_one()) == 1
    assert in_child(lambda _: event_loop.run(_one()), None) == 1


@pytest.mark.model
def test_a_real_model_answers_the_same_in_forked_and_new_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ECOMFS_READING_CACHE", "off")
    clf = FewShotClassifier("review_sentiment", "gguf:smollm2", **OPTIONS).fit(TEXTS, LABELS)
    expected = clf.predict_proba(TEXTS)
    np.testing.assert_array_equal(in_child(clf.predict_proba, TEXTS), expected)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        [found] = pool.map_async(clf.predict_proba, [TEXTS]).get(timeout=200)
    np.testing.assert_array_equal(found, expected)
    shared.close_shared()
