"""The board as files."""

from __future__ import annotations

import json
from pathlib import Path

from ecomfs_eval._files import write_texts
from ecomfs_eval.board.html import render_html
from ecomfs_eval.board.markdown import render_markdown
from ecomfs_eval.board.model import Board


def render_json(board: Board) -> str:
    """The board as JSON text: every number, undefined ones as ``null`` with a reason."""
    return json.dumps(board.to_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def write_board(board: Board, folder: str | Path, stem: str = "report") -> tuple[Path, ...]:
    """Write ``stem.html``, ``stem.md`` and ``stem.json`` into a folder, made if need be.

    Raises:
        WriteError: the folder cannot be written.
    """
    return write_texts(
        folder,
        {
            f"{stem}.html": render_html(board),
            f"{stem}.md": render_markdown(board),
            f"{stem}.json": render_json(board),
        },
    )
