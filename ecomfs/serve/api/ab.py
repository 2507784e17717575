"""``/v1/ab``: the variants of a task with split traffic, and their comparison so far."""

from __future__ import annotations

from collections import Counter

from fastapi import APIRouter, Request
from pydantic import Field

from ecomfs.errors import EmptyInputError, NotFoundError
from ecomfs.serve.api.context import Context, Predicts, TaskQuery
from ecomfs.serve.schemas import Out, VariantOut
from ecomfs.serve.split import ComparisonSummary
from ecomfs.serve.tasks import ServedTask


class AbOut(Out):
    """A split of traffic and its results."""

    variants: list[VariantOut]
    predictions: dict[str, int] = Field(description="variant → logged predictions")
    labelled: int = Field(description="logged rows that were labelled in a review")
    scores: dict[str, dict[str, str]] = Field(description="variant → metric → score")
    decision: str = Field(description="the decision in words, or why there is none yet")
    decided: bool = Field(description="whether there were enough labels to compare")
    notes: list[str]


def routes(context: Context) -> APIRouter:
    """The route."""
    router = APIRouter(responses=context.refusals(), tags=["a/b"])

    @router.get("/v1/ab")
    def ab(request: Request, caller: Predicts, task: TaskQuery = None) -> AbOut:
        """Compare the variants on the rows that people labelled in reviews. Rows are matched by the
        ids that callers gave them."""
        return results(context, context.task(task, request))

    return router


def results(context: Context, task: ServedTask) -> AbOut:
    """The results of a split.

    Raises:
        NotFoundError: the task's traffic is not split.
    """
    if task.split is None or context.compare is None:
        raise NotFoundError(
            f"the traffic of task {task.name!r} is not split",
            hint="ecomfs serve --variant … --variant … --log FILE",
        )
    log = task.split.record()
    gold = task.reviews.labelled()
    variants = task.split.variants()
    notes = ["The labels are from reviewed rows, which may not be a representative sample."]
    try:
        found = context.compare(log, gold, task.card)
    except EmptyInputError as error:
        found = ComparisonSummary({}, f"No comparison yet: {error.message}.", ())
        decided = False
    else:
        decided = True
    return AbOut(
        variants=variants,
        predictions=dict.fromkeys((v.name for v in variants), 0)
        | Counter(entry.variant for entry in log.entries),
        labelled=sum(entry.id in gold for entry in log.entries),
        scores={variant: dict(scores) for variant, scores in found.scores.items()},
        decision=found.decision,
        decided=decided,
        notes=[*notes, *found.notes],
    )
