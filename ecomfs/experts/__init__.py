"""A row to a distribution over the labels without a language model."""

from ecomfs.experts.experts import NEIGHBOURS, Experts, Opinion

__all__ = ["NEIGHBOURS", "Experts", "Opinion"]
