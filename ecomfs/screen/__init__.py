"""A row to the same row without what imitates the prompt and with personal data masked, and the
reasons why it is suspicious."""

from ecomfs.screen.imitations import PoolTexts
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
