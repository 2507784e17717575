"""What happened in a run, counted."""

from __future__ import annotations

from dataclasses import dataclass, field

from ecomfs.core.progress import READING, Progress
from ecomfs.types import Prediction, Status


@dataclass(slots=True)
class Tally:
    """What happened so far; also what the progress bar shows.

    Attributes:
        rows: rows that have their answer.
        status: how they ended.
        prompt_tokens, cached_tokens: of the prompts sent by this process; how many of these
            tokens the engine did not compute again. Readings that came from the reading cache
            count in neither.
        read: answers of this process that the engine gave.
        remembered: answers of this process that came from the reading cache.
        copied: rows identical to another one, which were not asked.
        resumed: rows that an earlier, interrupted run had done.
        left_out: rows that ``where`` or ``sample`` passed over.
        progress: share of the input read, 0 to 1; ``None`` when unknown.
        seconds: wall time since the first row.
        reading_seconds: of these, while prompts were at the engine.
        total: rows in all; ``None`` until the input was read to its end.
    """

    rows: int = 0
    status: dict[str, int] = field(default_factory=lambda: {str(s): 0 for s in Status})
    prompt_tokens: int = 0
    cached_tokens: int = 0
    read: int = 0
    remembered: int = 0
    copied: int = 0
    resumed: int = 0
    left_out: int = 0
    progress: float | None = None
    seconds: float = 0.0
    reading_seconds: float = 0.0
    total: int | None = None

    @property
    def cache_share(self) -> float | None:
        """Share of prompt tokens that the engine did not compute again; ``None`` before any."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else None

    @property
    def rate(self) -> float | None:
        """Rows a second that the engine read, while it was read; ``None`` before any."""
        return self.read / self.reading_seconds if self.read and self.reading_seconds else None

    @property
    def expected(self) -> int | None:
        """Rows in all: known, or as the share of the input that was read has it; ``None`` before
        anything is known."""
        if self.total is not None or not self.progress:
            return self.total
        return max(self.rows, round(self.rows / self.progress))

    def report(self, progress: Progress) -> None:
        """Say how far the reading is."""
        told = []
        if self.rate is not None:
            told = [f"{self.rate:.1f} rows/s", f"{self.prompt_tokens:,} tokens"]
        if self.cache_share:
            told.append(f"{self.cache_share:.0%} reused")
        progress(READING, self.rows, self.expected, ", ".join(told))

    def add(self, prediction: Prediction) -> None:
        """Count a row that was asked."""
        self.rows += 1
        self.status[str(prediction.status)] += 1
        self.prompt_tokens += prediction.prompt_tokens
        self.cached_tokens += prediction.cached_tokens
