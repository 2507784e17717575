"""A board: several data sets and label budgets, one table each, averaged over runs.

>>> from ecomfs_eval import Predictions
>>> gold = ["a", "b"] * 20
>>> entries = [
...     BoardEntry("shop", 8, [Predictions.of(gold, gold[:k] + ["a"] * (40 - k), name=name)
...                       for name, k in (("ours", 36), ("majority", 0))], seed=seed)
...     for seed in (0, 1)]
>>> board = build_board(entries, metrics=["accuracy"], main="ours", title="Shops")
>>> group = board.groups[0]
>>> group.runs, group.rows, group.averages["ours"]["accuracy"].score.value
(2, 40, 0.95)
>>> group.best_baseline, round(group.differences["majority"]["accuracy"].delta, 2)
('majority', 0.45)
>>> "| ours" in render_markdown(board)
True
"""

from ecomfs_eval.board.files import render_json, write_board
from ecomfs_eval.board.html import render_html
from ecomfs_eval.board.markdown import render_markdown
from ecomfs_eval.board.model import Board, BoardEntry, Group, PublishedResult, build_board

__all__ = [
    "Board",
    "BoardEntry",
    "Group",
    "PublishedResult",
    "build_board",
    "render_html",
    "render_json",
    "render_markdown",
    "write_board",
]
