"""A pipeline for the pool as it is now, made from the one for the pool as it was; and a pipeline
made again in another process.

A running classifier sees an example that was added, relabelled or retired, by whichever process,
at its next call. What the change does not touch is kept: the engine, the vectors of texts that
stay, what was fitted on readings.
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
    """The pipeline of the pool's current version; ``old`` goes on working.

    Parameters
    ----------
    old : Pipeline
        Of an earlier version.
    pool : Pool
        The labelled examples.
    embedder, options, task
        What ``old`` was built with.

    Returns
    -------
    Pipeline
        With the engine, the calibration and the policy of ``old``.

    Raises
    ------
    PoolError
        The examples are of no use any more (none or one label left, a label that is not on a closed
        card), or the database cannot be read.

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
    if not examples and old.retriever is not None:  # zero-shot answers would be a silent change
        raise PoolError(f"{where}: no examples are left", hint="add some")
    try:
        space = LabelSpace.resolve(old.card, (e.label for e in examples), where)
        same = space.labels == old.space.labels
        plain = old.retriever is not None and old.label_shortlist is None
        if same and examples and plain and not old.card.tabular:
            return _updated(old, examples, version)
        # Other labels are other answers to read; how a tabular row is put into words and the
        # recall of shortlists are learnt from the whole pool. All change what is built on them.
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
        # The caller's rows are not at fault.
        raise PoolError(error.message, hint=error.hint) from error
    setups = {
        language: replace(setup, calibration=_carried(old.setups[language], setup))
        for language, setup in new.setups.items()
    }
    # The experts' weights and the thresholds do not name labels: they go on. The probe is solved
    # again on the new pool when it is first asked.
    policy = _relabelled(old.policy, old.space.names, new.space.names)
    return replace(new, setups=setups, policy=policy, experts=_experts(old, new))


@dataclass(frozen=True, slots=True)
class StoredPipeline:
    """What a pipeline is made of, without what belongs to one process: it can be stored.

    Attributes
    ----------
    card : TaskCard
        With what was learned of its columns.
    pool_version : int
        Of the examples.
    fingerprint : str
        Of the engine that was read.
    calibrations : mapping
        Language → calibration.
    policy : DecisionPolicy
        Fusion and thresholds.
    experts : bool
        Whether the experts are asked.
    block : tuple of str
        Ids of the demonstrations that all rows share.

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
        """What there is to keep of a pipeline."""
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
            ConfigError: the engine is another one than the one that was read in ``fit``.
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
    """Refuse an engine that what was fitted does not belong to.

    Parameters
    ----------
    engine : Engine
        Of this process.
    fingerprint : str
        Of the engine that was read in ``fit``.

    Raises
    ------
    ConfigError
        The engine's fingerprint is another one.

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
    fusion, cheap = policy.fusion, policy.cheap
    return replace(
        policy,
        fusion=None if fusion is None else fusion.relabelled(before, after),
        cheap=None if cheap is None else cheap.relabelled(before, after),
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
    """The shared demonstrations that go on: those that something was fitted with. Where nothing
    was, they are chosen again, as they would be in another process."""
    fitted = old.policy != DecisionPolicy() or any(s.calibration for s in old.setups.values())
    return _block(old) if fitted else ()


def _block(pipeline: Pipeline) -> tuple[str, ...]:
    return () if pipeline.layout is None else pipeline.layout.block


def _experts(old: Pipeline, new: Pipeline) -> Experts | None:
    if old.experts is None or new.retriever is None:
        return None
    return Experts(new.retriever, new.space.names, new.card)


def _carried(old: LanguageSetup, new: LanguageSetup) -> Calibration | None:
    """The old calibration for the new labels; a label it never saw gets none (the mean).

    ``None`` when the answers that stand for the labels are others now, as permuted codes are: the
    model's bias for one answer does not carry over to another.
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
