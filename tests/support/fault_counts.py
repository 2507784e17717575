"""Counts what faults cost: rows that a run lost or wrote twice, over all tests of faults."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Count:
    """The effect of one kind of fault so far."""

    injected: int = 0
    rows: int = 0
    lost: int = 0
    doubled: int = 0


@dataclass
class FaultCounts:
    """A pytest plugin: tests report the result of runs with faults; ``make test-faults`` prints the
    sums.

    Attributes:
        counts: by kind of fault.
        outputs: SHA-256 of what came out, by kind and test.
    """

    counts: dict[str, Count] = field(default_factory=dict)
    outputs: dict[tuple[str, str], str] = field(default_factory=dict)

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, config: pytest.Config
    ) -> None:
        if not self.counts or "faults" not in str(config.option.markexpr):
            return
        terminalreporter.section("faults")
        line = "{:42}{:>10}{:>10}{:>7}{:>9}"
        said = [line.format("fault", "injected", "rows", "lost", "doubled")]
        total = Count()
        for name, count in sorted(self.counts.items()):
            said.append(line.format(name, *_figures(count)))
            for figure in vars(total):
                setattr(total, figure, getattr(total, figure) + getattr(count, figure))
        said.append(line.format("all", *_figures(total)))
        whole = hashlib.sha256(repr(sorted(self.outputs.items())).encode()).hexdigest()
        said.append(f"SHA-256 of all {len(self.outputs)} outputs: {whole}")
        for one in said:
            terminalreporter.write_line(one)


def _figures(count: Count) -> list[str]:
    return [f"{figure:,}" for figure in vars(count).values()]


class Faults:
    """The interface for a test: see :meth:`cost`."""

    def __init__(self, counts: FaultCounts, test: str) -> None:
        self._counts = counts
        self._test = test

    def cost(self, fault: str, output: Path, whole: Path | bytes, *, injected: int = 1) -> None:
        """Count the rows of ``output`` by their ``id``, and check that none is lost or doubled.

        Args:
            fault: its kind.
            output: what a run wrote in spite of it.
            whole: what an undisturbed run writes, or its input.
            injected: how many faults there were.
        """
        written = output.read_bytes()
        found = _ids(written)
        expected = _ids(whole if isinstance(whole, bytes) else whole.read_bytes())
        count = self._counts.counts.setdefault(fault, Count())
        lost = sum((expected - found).values())
        doubled = sum((found - expected).values())
        count.injected += injected
        count.rows += sum(expected.values())
        count.lost += lost
        count.doubled += doubled
        self._counts.outputs[fault, self._test] = hashlib.sha256(written).hexdigest()
        assert (lost, doubled) == (0, 0)

    def held(self, fault: str, *, injected: int = 1) -> None:
        """Count a fault that is refused before any row is written."""
        self._counts.counts.setdefault(fault, Count()).injected += injected


def _ids(content: bytes) -> Counter[str]:
    return Counter(row["id"] for row in csv.DictReader(io.StringIO(content.decode(), newline="")))
