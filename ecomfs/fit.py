"""What is fitted on the pool, leave-one-out and without gradients.

Each of a few labelled examples is read as if it were new, with demonstrations from the rest of
the pool. The readings show the model's label bias (:mod:`ecomfs.read.calibrate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ecomfs.pipeline import Pipeline
from ecomfs.read import fit_label_bias
from ecomfs.types import Example, Language, Status


async def calibrate(pipeline: Pipeline, examples: Sequence[Example]) -> Pipeline:
    """The pipeline with the label bias of each language's voice, where one can be estimated.

    Args:
        examples: examples of the pool to read leave-one-out; one reading each. Readings that
            fail, and text read-outs (whose posterior says nothing of the others), are left out.
    """
    traces = await pipeline.trace(
        [e.fields for e in examples],
        [e.id for e in examples],
        exclude_ids=[{e.id} for e in examples],
        leave_self_out=True,
    )
    posteriors: dict[Language, list[tuple[float, ...]]] = {lang: [] for lang in pipeline.voices}
    labels: dict[Language, list[int]] = {lang: [] for lang in pipeline.voices}
    for example, (case, posterior, prediction) in zip(examples, traces, strict=True):
        if posterior is None or prediction.status != Status.OK or posterior.label_mass is None:
            continue
        posteriors[case.language].append(posterior.probabilities)
        labels[case.language].append(pipeline.space.require(example.label, example.id))
    voices = {
        language: replace(voice, bias=fit_label_bias(posteriors[language], labels[language]))
        for language, voice in pipeline.voices.items()
    }
    return replace(pipeline, voices=voices)


__all__ = ["calibrate"]
