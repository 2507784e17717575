"""Boards: tables of results, one for each data set and label budget of a suite's runs.

Write one with :func:`ecomfs_eval.report.write_report`.

>>> from ecomfs_eval import Predictions
>>> from ecomfs_eval.report import render_markdown
>>> gold = ["a", "b"] * 20
>>> entries = [
...     BoardEntry("shop", 8, [Predictions.of(gold, gold[:k] + ["a"] * (40 - k), name=name)
...                            for name, k in (("ours", 36), ("majority", 0))], seed=seed)
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

from ecomfs_eval.board.model import Board, BoardEntry, PublishedResult, build_board

__all__ = ["Board", "BoardEntry", "PublishedResult", "build_board"]
