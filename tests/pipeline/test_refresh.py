"""A pool that changes while it is used: the new pipeline equals a rebuilt one, and the old one
still works.
"""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
from scripted import ScriptedEngine

from ecomfs.calibration import Calibration, DecisionPolicy
from ecomfs.core import event_loop
from ecomfs.embed import HashedEmbedder
from ecomfs.errors import ConfigError, PoolError
from ecomfs.pipeline import (
    Options,
    Pipeline,
    StoredPipeline,
    build_pipeline,
    refreshed,
    same_engine,
)
from ecomfs.pool import Pool
from ecomfs.task import load_task
from ecomfs.types import Example, Prediction

TASK = "product_category"  # an open label space
OPTIONS = Options(k=2, language="en")
ROWS = [{"title": "warm coat"}, {"title": "steel pan"}, {"title": "toy car"}]
START = [
    Example("1", {"title": "red coat"}, "Clothes"),
    Example("2", {"title": "wool coat"}, "Clothes"),
    Example("3", {"title": "iron pan"}, "Kitchen"),
    Example("4", {"title": "big pan"}, "Kitchen"),
]


def build(pool: Pool) -> Pipeline:
    version, examples = pool.snapshot()
    return build_pipeline(
        load_task(TASK),
        examples,
        ScriptedEngine(),
        HashedEmbedder(),
        OPTIONS,
        task=TASK,
        pool_version=version,
    )


def refresh(old: Pipeline, pool: Pool) -> Pipeline:
    return refreshed(old, pool, HashedEmbedder(), OPTIONS, TASK)


def answers(pipeline: Pipeline) -> list[Prediction]:
    return event_loop.run(pipeline.classify(ROWS, ["a", "b", "c"]))


def test_a_refreshed_pipeline_equals_a_rebuilt_one() -> None:
    with Pool.in_memory(START) as pool:
        old = build(pool)
        before = answers(old)
        pool.add([Example("5", {"title": "steel pan with lid"}, "Kitchen")])
        pool.relabel("2", "Kitchen")
        new = refresh(old, pool)
        assert answers(new) == answers(build(pool))
        assert answers(new) != before
        assert answers(old) == before  # the old one goes on
        assert new.engine is old.engine


def test_a_new_label_can_be_answered_and_keeps_what_was_fitted() -> None:
    with Pool.in_memory(START) as pool:
        old = build(pool)
        fitted = Calibration(offsets=(0.5, -0.5), strength=1.0, temperature=2.0, readings=40)
        old = replace(
            old,
            setups={"en": replace(old.setups["en"], calibration=fitted)},
            policy=DecisionPolicy(accept_from=0.8),
        )
        pool.add([Example("0", {"title": "toy train"}, "Toys")])
        new = refresh(old, pool)
        assert set(new.space.names) == {"Clothes", "Kitchen", "Toys"}
        kept = new.setups["en"].calibration
        assert kept is not None
        by_label = dict(zip(new.space.names, kept.offsets, strict=True))
        before = dict(zip(old.space.names, fitted.offsets, strict=True))
        assert by_label == before | {"Toys": 0.0}
        assert (kept.temperature, new.policy) == (2.0, old.policy)


def test_an_emptied_pool_does_not_become_zero_shot() -> None:
    with Pool.in_memory(START) as pool:
        old = build(pool)
        pool.retire([e.id for e in START])
        with pytest.raises(PoolError, match="no examples are left"):
            refresh(old, pool)


def test_a_pool_with_one_label_left_is_the_pools_fault_not_the_rows() -> None:
    with Pool.in_memory(START) as pool:
        old = build(pool)
        pool.retire(["3", "4"])
        with pytest.raises(PoolError):
            refresh(old, pool)


def test_a_stored_pipeline_answers_as_before_in_another_process() -> None:
    with Pool.in_memory(START) as pool:
        old = build(pool)
        stored = pickle.loads(pickle.dumps(StoredPipeline.of(old)))
        pool.relabel("1", "Kitchen")  # after it was stored: it belongs to the version before
        made = stored.pipeline(pool, ScriptedEngine(), HashedEmbedder(), OPTIONS, TASK)
        assert answers(made) == answers(old)


def test_another_engine_than_the_one_that_was_read_is_refused() -> None:
    other = ScriptedEngine()
    other.fingerprint = "scripted-2"
    with Pool.in_memory(START) as pool:
        stored = StoredPipeline.of(build(pool))
        with pytest.raises(ConfigError, match="fitted with the engine scripted-1"):
            stored.pipeline(pool, other, HashedEmbedder(), OPTIONS, TASK)
    same_engine(other, "scripted-2")
