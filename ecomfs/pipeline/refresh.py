"""Updates a pipeline for a new version of the pool, and rebuilds it in another process.

A running classifier uses examples that any process added, relabelled or retired from its next call
on. Unaffected parts are kept: the engine, the vectors of unchanged texts, and fitted parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from ecomfs.calibration import Calibration, DecisionPolicy
from ecomfs.embed import Embedder
from ecomfs.engine.canary import same_model
from ecomfs.engine.protocol import Engine
from ecomfs.errors import ConfigError, InputError, PoolError
from ecomfs.experts import Experts
from ecomfs.pipeline.build import build_pipeline
from ecomfs.pipeline.options import Options
from ecomfs.pipeline.pipeline import LanguageSetup, Pipeline
from ecomfs.pool import Pool
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import Example, Language


def refreshed(
    old: Pipeline, pool: Pool, embedder: Embedder, options: Options, task: str | Path
) -> Pipeline:
    """A pipeline for the current version of the pool; ``old`` remains usable.

    Parameters
    ----------
    old : Pipeline
        The pipeline of an earlier version.
    pool : Pool
        The labelled examples.
    embedder, options, task
        Arguments with which ``old`` was built.

    Returns
    -------
    Pipeline
        The new pipeline, with the engine, the calibration and the policy of ``old``.

    Raises
    ------
    PoolError
        The examples cannot be used any more (fewer than two labels left, or a label that a closed
        card does not have), or the database cannot be read.

    Examples
    --------
    >>> from ecomfs.estimators import FewShotClassifier
    >>> clf = FewShotClassifier("review_sentiment", engine=None, embedder="hashed", language="en")
    >>> pipeline = clf.fit(["broke at once", "fits well"], ["negative", "positive"]).pipeline_
    >>> from ecomfs.embed import HashedEmbedder
    >>> with Pool.in_memory(pipeline.retriever.examples) as examples:
    ...     version = examples.add([Example("3", {"text": "torn sleeve"}, "negative")])
    ...     new = refreshed(pipeline, examples, HashedEmbedder(), Options(language="en"),
    ...                     "review_sentiment")
    >>> len(pipeline.retriever), len(new.retriever), new.pool_version == version
    (2, 3, True)
    """
    version, examples = pool.snapshot()
    where = f"pool {pool.name!r}, version {version}"
    if not examples and old.retriever is not None:  # do not silently change to zero-shot
        raise PoolError(f"{where}: no examples are left", hint="add labelled examples")
    try:
        space = LabelSpace.resolve(old.card, (e.label for e in examples), where)
        same = space.labels == old.space.labels
        plain = old.retriever is not None and old.label_shortlist is None
        if same and examples and plain and not old.card.tabular:
            return _updated(old, examples, version)
        # Changed labels, column statistics of tabular rows, and the recall of shortlists depend on
        # the whole pool, so everything is built again.
        new = build_pipeline(
            old.card,
            examples,
            old.engine,
            embedder,
            options,
            task=task,
            pool_version=version,
            where=where,
            block=_kept_block(old),
        )
    except InputError as error:
        # The pool is the cause, not the rows of the caller.
        raise PoolError(error.message, hint=error.hint) from error
    setups = {
        language: replace(setup, calibration=_carried(old.setups[language], setup))
        for language, setup in new.setups.items()
    }
    # Expert weights and thresholds do not depend on labels, so they are kept. The linear probe is
    # fitted again on the new pool at its first use.
    policy = _relabelled(old.policy, old.space.names, new.space.names)
    # A shortlist, which more labels may need now, brings its own experts.
    experts = _experts(old, new) or new.experts
    return replace(new, setups=setups, policy=policy, experts=experts)


@dataclass(frozen=True, slots=True)
class StoredPipeline:
    """The parts of a pipeline that can be pickled.

    Attributes
    ----------
    card : TaskCard
        The card with its column statistics.
    pool_version : int
        Version of the examples.
    fingerprint : str
        Fingerprint of the engine.
    calibrations : mapping
        Language → calibration.
    policy : DecisionPolicy
        Fusion and thresholds.
    experts : bool
        Whether the experts are used.
    block : tuple of str
        Ids of the shared block.

    Examples
    --------
    >>> from ecomfs.estimators import FewShotClassifier
    >>> clf = FewShotClassifier("review_sentiment", engine=None, embedder="hashed", language="en")
    >>> pipeline = clf.fit(["broke at once", "fits well"], ["negative", "positive"]).pipeline_
    >>> import pickle
    >>> stored = pickle.loads(pickle.dumps(StoredPipeline.of(pipeline)))
    >>> stored.fingerprint, stored.experts
    ('none', True)
    >>> from ecomfs.embed import HashedEmbedder
    >>> with Pool.in_memory(pipeline.retriever.examples) as examples:
    ...     old = StoredPipeline.of(replace(pipeline, pool_version=1))
    ...     made = old.pipeline(examples, pipeline.engine, HashedEmbedder(),
    ...                         Options(language="en"), "review_sentiment")
    >>> made.space.names == pipeline.space.names
    True
    """

    card: TaskCard
    pool_version: int
    fingerprint: str
    calibrations: Mapping[Language, Calibration | None]
    policy: DecisionPolicy
    experts: bool
    block: tuple[str, ...] = ()

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self:
        """The stored parts of a pipeline."""
        return cls(
            pipeline.card,
            pipeline.pool_version,
            pipeline.engine.fingerprint,
            {language: setup.calibration for language, setup in pipeline.setups.items()},
            pipeline.policy,
            pipeline.experts is not None,
            _block(pipeline),
        )

    def pipeline(
        self, pool: Pool, engine: Engine, embedder: Embedder, options: Options, task: str | Path
    ) -> Pipeline:
        """The same pipeline with an engine of this process.

        Raises:
            ConfigError: the engine differs from that of ``fit``.
        """
        same_engine(engine, self.fingerprint)
        new = build_pipeline(
            self.card,
            pool.examples(self.pool_version),
            engine,
            embedder,
            options,
            task=task,
            pool_version=self.pool_version,
            block=self.block,
        )
        setups = {
            language: replace(setup, calibration=self.calibrations[language])
            for language, setup in new.setups.items()
        }
        experts = new.experts
        if experts is None and self.experts and new.retriever is not None:
            experts = Experts(new.retriever, new.space.names, new.card)
        return replace(new, setups=setups, policy=self.policy, experts=experts)


def same_engine(engine: Engine, fingerprint: str) -> None:
    """Refuse an engine that differs from the one of the fit.

    Parameters
    ----------
    engine : Engine
        The engine of this process.
    fingerprint : str
        Fingerprint of the engine of ``fit``.

    Raises
    ------
    ConfigError
        The fingerprints differ.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> same_engine(SimpleNamespace(spec="gguf:small", fingerprint="b2"), "a1")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: the classifier was fitted with the engine a1, and gguf:small is ...
    """
    if not same_model(engine.fingerprint, fingerprint):
        raise ConfigError(
            f"the classifier was fitted with the engine {fingerprint}, and {engine.spec} is "
            f"{engine.fingerprint} here",
            hint="fit again, or name the engine that it was fitted with",
        )


def _relabelled(
    policy: DecisionPolicy, before: Sequence[str], after: Sequence[str]
) -> DecisionPolicy:
    """The policy with the label shares of its blends for other labels."""
    fusion, experts_only = policy.fusion, policy.experts_only
    return replace(
        policy,
        fusion=None if fusion is None else fusion.relabelled(before, after),
        experts_only=None if experts_only is None else experts_only.relabelled(before, after),
    )


def _updated(old: Pipeline, examples: Sequence[Example], version: int) -> Pipeline:
    names = old.space.names
    named = [replace(e, label=names[old.space.require(e.label, e.id)]) for e in examples]
    if old.mask is not None:
        named = old.mask.examples(named, old.card)
    texts = [old.rows.render(e.fields, "en") for e in named]
    retriever = None if old.retriever is None else old.retriever.updated(named, texts)
    layout = old.layout
    if layout is not None and retriever is not None:
        layout = layout.updated(retriever, _kept_block(old))
    screen = None if old.screen is None else old.screen.updated(named)
    new = replace(old, retriever=retriever, layout=layout, pool_version=version, screen=screen)
    return replace(new, experts=_experts(old, new))


def _kept_block(old: Pipeline) -> tuple[str, ...]:
    """The shared block to keep, if something was fitted with it; otherwise it is chosen again, like
    in another process."""
    fitted = old.policy != DecisionPolicy() or any(s.calibration for s in old.setups.values())
    return _block(old) if fitted else ()


def _block(pipeline: Pipeline) -> tuple[str, ...]:
    return () if pipeline.layout is None else pipeline.layout.block


def _experts(old: Pipeline, new: Pipeline) -> Experts | None:
    if old.experts is None or new.retriever is None:
        return None
    return Experts(new.retriever, new.space.names, new.card)


def _carried(old: LanguageSetup, new: LanguageSetup) -> Calibration | None:
    """The old calibration for the new labels; a new label gets the mean offset. ``None`` if the
    verbalizer changed, such as permuted codes: the model's bias for one answer does not apply to
    another.
    """
    kept = old.calibration
    if kept is None or old.readout.name != new.readout.name:
        return None
    offsets = [0.0] * len(new.builder.space)
    for name, answer, offset in zip(
        old.builder.space.names, old.builder.answers, kept.offsets, strict=True
    ):
        position = new.builder.space.index(name)
        if position is None:
            continue
        if new.builder.answers[position] != answer:
            return None
        offsets[position] = offset
    return replace(kept, offsets=tuple(offsets))


__all__ = ["StoredPipeline", "refreshed", "same_engine"]
