"""From an engine's reading to a posterior over labels."""

from ecomfs.read.calibrate import Calibration, fit_calibration
from ecomfs.read.parser import LabelParser
from ecomfs.read.readout import LogprobReadout, Readout, TextReadout
from ecomfs.read.trie import AnswerTrie
from ecomfs.read.verbalizer import Verbalizer, codes, words

__all__ = [
    "AnswerTrie",
    "Calibration",
    "LabelParser",
    "LogprobReadout",
    "Readout",
    "TextReadout",
    "Verbalizer",
    "codes",
    "fit_calibration",
    "words",
]
