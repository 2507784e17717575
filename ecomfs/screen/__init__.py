"""Screens a row: removes prompt injections, masks personal data, and returns the reasons why the
row is suspicious."""

from ecomfs.screen.injections import PoolTexts
from ecomfs.screen.mask import Mask, MaskChoice
from ecomfs.screen.screen import DISAGREEMENT, LABEL_MASS, PARTS, REASONS, Screen, Screened

__all__ = [
    "DISAGREEMENT",
    "LABEL_MASS",
    "PARTS",
    "REASONS",
    "Mask",
    "MaskChoice",
    "PoolTexts",
    "Screen",
    "Screened",
]
