"""A row to the same row without what imitates the prompt, and the reasons why it is suspicious."""

from ecomfs.screen.pool_texts import PoolTexts
from ecomfs.screen.reasons import DISAGREEMENT, LABEL_MASS, REASONS
from ecomfs.screen.screen import PARTS, Screen, Screened

__all__ = ["DISAGREEMENT", "LABEL_MASS", "PARTS", "REASONS", "PoolTexts", "Screen", "Screened"]
