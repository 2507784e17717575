"""Prometheus metrics. Their labels are names of the configuration, never ids or texts of rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ecomfs.serve.service import ServedPrediction
from ecomfs.serve.tasks import ServedTask

_LATEST = 1000
"""Number of latest predictions whose labels are compared with the pool's."""
_PARTS = (0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0)
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(slots=True)
class TaskTotals:
    """Counts of one task since the service started, for the overview."""

    predictions: int = 0
    status: dict[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    labels: deque[str] = field(default_factory=lambda: deque(maxlen=_LATEST))
    nearest: deque[float] = field(default_factory=lambda: deque(maxlen=_LATEST))


class ServiceMetrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, labelnames=["task"], registry=registry)
        share = partial(Histogram, labelnames=["task"], buckets=_PARTS, registry=registry)
        self._seconds = Histogram(
            "ecomfs_request_seconds",
            "time of a request",
            ["route", "method", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        labels = ["task", "status", "label"]
        self._predictions = counter("ecomfs_predictions", "predictions", labels)
        about = "prompt tokens; cached ones were not computed again"
        self._tokens = counter("ecomfs_prompt_tokens", about, ["task", "kind"])
        about = "probability that the model gives to any valid answer"
        self._mass = share("ecomfs_label_mass", about)
        self._confidence = share("ecomfs_confidence", "probability of the likeliest label")
        about = "mean similarity of the latest rows to their nearest example; it falls for new text"
        self._nearest = gauge("ecomfs_nearest_similarity", about)
        about = "total variation distance of the latest predicted labels from the pool's: 0 to 1"
        self._drift = gauge("ecomfs_label_drift", about)
        self._pool = gauge("ecomfs_pool_examples", "labelled examples")
        self._version = gauge("ecomfs_pool_version", "version of the pool in use")
        self._waiting = gauge("ecomfs_rows_waiting", "rows that wait for the engine")
        about = "seconds of waiting and running work, at the pace of the latest batches"
        self._backlog = gauge("ecomfs_seconds_waiting", about)
        labels = ["task", "state"]
        self._queue = Gauge("ecomfs_reviews", "reviews by state", labels, registry=registry)
        self._stale = gauge("ecomfs_pool_stale", "1: the current pool cannot be used")
        self.totals: dict[str, TaskTotals] = {}

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._seconds.labels(route, method, str(status)).observe(seconds)

    def answered(self, task: str, answers: Iterable[ServedPrediction]) -> None:
        """Count predictions that were returned."""
        totals = self.totals.setdefault(task, TaskTotals())
        for answer in answers:
            p, opinion = answer.explanation.prediction, answer.explanation.state.opinion
            self._predictions.labels(task, str(p.status), p.label or "").inc()
            self._tokens.labels(task, "computed").inc(p.prompt_tokens - p.cached_tokens)
            self._tokens.labels(task, "cached").inc(p.cached_tokens)
            if p.label_mass is not None:
                self._mass.labels(task).observe(p.label_mass)
            if p.confidence is not None:
                self._confidence.labels(task).observe(p.confidence)
            totals.predictions += 1
            totals.status[str(p.status)] = totals.status.get(str(p.status), 0) + 1
            totals.prompt_tokens += p.prompt_tokens
            totals.cached_tokens += p.cached_tokens
            if p.suggestion is not None:
                totals.labels.append(p.suggestion)
            if opinion is not None:
                totals.nearest.append(float(opinion.similarity))

    def text(self, tasks: Iterable[ServedTask]) -> bytes:
        """All metrics in the Prometheus text format."""
        for task in tasks:
            name, totals = task.key, self.totals.get(task.key, TaskTotals())
            version, examples = task.examples()
            self._pool.labels(name).set(len(examples))
            self._version.labels(name).set(task.pipeline.pool_version)
            self._stale.labels(name).set(bool(task.problem) or version < 0)
            self._waiting.labels(name).set(sum(s.batcher.waiting for s in task.services))
            self._backlog.labels(name).set(max(s.batcher.backlog for s in task.services))
            for state, n in task.reviews.counts().items():
                self._queue.labels(name, state).set(n)
            if totals.nearest:
                self._nearest.labels(name).set(float(np.mean(totals.nearest)))
            if totals.labels:
                self._drift.labels(name).set(
                    label_drift(totals.labels, [e.label for e in examples])
                )
        return generate_latest(self.registry)


def label_drift(predicted: Iterable[str], labelled: Iterable[str]) -> float:
    """Total variation distance of two samples of labels: 0 for equal shares, 1 for no common label.

    >>> label_drift(["a", "a", "b", "b"], ["a", "b"]), label_drift(["a"], ["b"])
    (0.0, 1.0)
    """
    one, two = list(predicted), list(labelled)
    if not one or not two:
        return 0.0
    names = set(one) | set(two)
    return 0.5 * sum(abs(one.count(n) / len(one) - two.count(n) / len(two)) for n in names)
