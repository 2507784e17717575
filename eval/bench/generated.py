"""Pages of the documentation that a command makes: written, or compared with the file."""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(page: Path, text: str, make: str) -> None:
    """Write a page; with ``--check`` on the command line, exit with a message where it is not up
    to date.

    Args:
        make: the command that writes it.
    """
    if "--check" not in sys.argv:
        page.write_text(text, encoding="utf-8")
    elif not page.exists() or page.read_text(encoding="utf-8") != text:
        sys.exit(f"{page.name} is not up to date ({make})")
