"""Recommendation as ranking: candidates in the order of P(like), by user."""

from ecomfs.rank.evaluate import METRICS, rankings
from ecomfs.rank.order import (
    Ranked,
    UserRanking,
    candidates_of,
    pair_row,
    positive_label,
    rank,
    rank_users,
)
from ecomfs.rank.pairs import Pairs, read_pairs, score_pairs
from ecomfs.rank.parties import Catalogue, Item, User, read_parties

__all__ = [
    "METRICS",
    "Catalogue",
    "Item",
    "Pairs",
    "Ranked",
    "User",
    "UserRanking",
    "candidates_of",
    "pair_row",
    "positive_label",
    "rank",
    "rank_users",
    "rankings",
    "read_pairs",
    "read_parties",
    "score_pairs",
]
