"""Users and items to ranked lists, in the order of the probability of a like."""

from ecomfs.rank.evaluate import METRICS, rankings
from ecomfs.rank.order import (
    Ranked,
    UserRanking,
    candidates_of,
    check_top,
    pair_row,
    positive_label,
    rank,
    rank_users,
)
from ecomfs.rank.pairs import Pairs, list_order, read_pairs, score_pairs
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
    "check_top",
    "list_order",
    "pair_row",
    "positive_label",
    "rank",
    "rank_users",
    "rankings",
    "read_pairs",
    "read_parties",
    "score_pairs",
]
