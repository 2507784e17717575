"""Experts: classifiers without a language model, which give a distribution over the labels."""

from ecomfs.experts.expert import NEIGHBOURS, Expert, ExpertData
from ecomfs.experts.experts import EXPERTS, Experts
from ecomfs.experts.features import FeatureModel
from ecomfs.experts.probe import RidgeProbe
from ecomfs.experts.vote import NeighbourVote

__all__ = [
    "EXPERTS",
    "NEIGHBOURS",
    "Expert",
    "ExpertData",
    "Experts",
    "FeatureModel",
    "NeighbourVote",
    "RidgeProbe",
]
