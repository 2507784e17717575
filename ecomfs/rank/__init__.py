"""Users and items to lists ranked by the probability of the positive label."""

from ecomfs.rank.order import (
    candidates_of,
    check_top,
    list_order,
    pair_row,
    positive_label,
    rank,
    rank_users,
)
from ecomfs.rank.pairs import METRICS, PairTable, rankings, read_pairs, score_pairs
from ecomfs.rank.users_and_items import Catalogue, User, read_users_and_items

__all__ = [
    "METRICS",
    "Catalogue",
    "PairTable",
    "User",
    "candidates_of",
    "check_top",
    "list_order",
    "pair_row",
    "positive_label",
    "rank",
    "rank_users",
    "rankings",
    "read_pairs",
    "read_users_and_items",
    "score_pairs",
]
