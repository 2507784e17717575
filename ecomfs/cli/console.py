"""Rich's console for what others wrote: its colours are its own."""

from __future__ import annotations

from typing import Any

from rich import console
from rich.text import Text

from ecomfs.errors import printable


class Console(console.Console):
    """Control characters in a text, a cell, a title or a heading become visible escapes."""

    def render_str(self, text: str, *args: Any, **options: Any) -> Text:
        """Rich calls it for every text that it shows."""
        return super().render_str(printable(text), *args, **options)


__all__ = ["Console"]
