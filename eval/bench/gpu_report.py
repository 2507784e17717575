"""Results of ``gpu.py``: its turns, the JSON file, the table."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from gpu_model import limit

LAYOUTS = ("retrieved", "shared")
GENERATOR, SERVED, BENCH = "load generator", "ecomfs, HTTP", "vllm bench serve"
GENERATE, LOCAL = "LLM.generate", "ecomfs, in process"
REFERENCE = {SERVED: GENERATOR, BENCH: GENERATOR, LOCAL: GENERATE}
"""System → what it is divided by."""


def turned(systems: Sequence[str], number: int) -> list[str]:
    """The systems, rotated so that each round begins with another one."""
    shift = number % len(systems)
    return [*systems[shift:], *systems[:shift]]


@dataclass(frozen=True, slots=True)
class Turn:
    """One measurement.

    Attributes:
        cached: share of the prompt tokens found in the prefix cache; ``None``: unknown.
        failed: rows without an answer.
    """

    model: str
    layout: str
    system: str
    round: int
    rows: int
    seconds: float
    cached: float | None = None
    failed: int = 0

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds


@dataclass(slots=True)
class Report:
    """The measurements: everything that the table needs and the JSON file stores.

    Attributes:
        machine: what it ran on.
        rates: model → measured floating-point operations per second.
        parameters: model → weights that every prompt token passes.
        tokens: model → layout → mean tokens of a prompt.
        notes: what was left out, and why.
    """

    machine: dict[str, str] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, dict[str, float]] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def of(self, model: str, layout: str, system: str) -> list[Turn]:
        """The turns of a system, in order."""
        wanted = (model, layout, system)
        return [t for t in self.turns if (t.model, t.layout, t.system) == wanted]

    def limit(self, model: str, layout: str, cached: float) -> float | None:
        """The upper limit in rows per second; ``None`` if unknown."""
        if model not in self.rates or model not in self.tokens:
            return None
        tokens = self.tokens[model][layout]
        return limit(self.rates[model], self.parameters[model], tokens, cached)

    def save(self, path: Path) -> None:
        """Write the JSON file."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` wrote."""
        found = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**found, "turns": [Turn(**turn) for turn in found["turns"]]})


def ratios(ours: Sequence[Turn], theirs: Sequence[Turn]) -> list[float]:
    """Our rate divided by theirs, for each round that has both."""
    other = {turn.round: turn.rate for turn in theirs}
    return [turn.rate / other[turn.round] for turn in ours if turn.round in other]


def spread(values: Sequence[float], form: str) -> str:
    """Median, minimum and maximum.

    >>> spread([1.0, 3.0, 2.0], ".1f"), spread([2.0], ".1f"), spread([], ".1f")
    ('2.0 [1.0, 3.0]', '2.0', '–')
    """
    if not values:
        return "–"
    middle = format(statistics.median(values), form)
    if len(values) == 1:
        return middle
    return f"{middle} [{format(min(values), form)}, {format(max(values), form)}]"


def table(report: Report) -> str:
    """The report as Markdown: medians over rounds, minimum and maximum in brackets."""
    lines = [
        "| model | layout | tokens | system | rows × rounds | rows/s | ÷ reference | cached "
        "| limit, rows/s | of the limit |",
        "|---|---|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    systems = (GENERATOR, SERVED, BENCH, GENERATE, LOCAL)
    for model in dict.fromkeys(turn.model for turn in report.turns):
        for layout in LAYOUTS:
            for system in systems:
                turns = report.of(model, layout, system)
                if turns:
                    lines.append(_line(report, turns))
    lines.append("")
    for model in dict.fromkeys(turn.model for turn in report.turns):
        for system in systems:
            shared, own = (report.of(model, layout, system) for layout in reversed(LAYOUTS))
            if times := ratios(shared, own):
                lines.append(f"- {model}, {system}: shared ÷ retrieved {spread(times, '.2f')}")
    lines += [f"- {model}: F·MFU {rate:.4g} FLOP/s" for model, rate in report.rates.items()]
    lines += [f"- {key}: {value}" for key, value in report.machine.items()]
    lines += [f"- {note}" for note in report.notes]
    return "\n".join(lines) + "\n"


def _line(report: Report, turns: list[Turn]) -> str:
    first = turns[0]
    rate = statistics.median(turn.rate for turn in turns)
    known = [turn.cached for turn in turns if turn.cached is not None]
    cached = statistics.median(known) if known else None
    most = None if cached is None else report.limit(first.model, first.layout, cached)
    reference = REFERENCE.get(first.system)
    share = ratios(turns, report.of(first.model, first.layout, reference)) if reference else []
    tokens = report.tokens.get(first.model, {}).get(first.layout)
    cells = [
        first.model,
        first.layout,
        "–" if tokens is None else f"{tokens:.0f}",
        first.system,
        f"{first.rows} × {len(turns)}",
        spread([turn.rate for turn in turns], ".1f"),
        spread(share, ".3f"),
        "–" if cached is None else f"{cached:.1%}",
        "–" if most is None else f"{most:,.1f}",
        "–" if most is None else f"{rate / most:.1%}",
    ]
    return f"| {' | '.join(cells)} |"
