"""Progress of a command on standard error, and its duration."""

from __future__ import annotations

import time

from ecomfs.core.progress import Display, Phases, display

clock = time.monotonic
_began: float | None = None
_shown: Phases | None = None
_quiet = False


def begin(at: float | None = None) -> None:
    """Note when the command began, by :data:`clock`: now, or earlier."""
    global _began, _quiet
    _began = clock() if at is None else at
    _quiet = False


def be_quiet(*, quiet: bool) -> None:
    """Whether the command shows its progress (``--quiet``)."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether the command shows no progress."""
    return _quiet


def show(phase: str, *, quiet: bool = False) -> Phases:
    """Show the phases of a command on standard error (nothing with ``quiet``), and time them from
    the beginning of the command. A verb calls this before any slow import;
    the display is cleared when the verb returns or fails.

    Args:
        phase: the first one.
    """
    global _shown
    _shown = Phases(Display() if quiet or _quiet else display(), started=_began, clock=clock)
    _shown(phase)
    return _shown


def clear() -> None:
    """Clear the display for other output."""
    if _shown is not None:
        _shown.clear()


__all__ = ["be_quiet", "begin", "clear", "is_quiet", "show"]
