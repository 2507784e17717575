"""From an engine's reading to a posterior over labels."""

from ecomfs.read.calibrate import Calibration, cross_calibrated, fit_calibration
from ecomfs.read.chain import CHAIN, Step, StepName
from ecomfs.read.choice import ChoiceReadout
from ecomfs.read.generated import TextReadout
from ecomfs.read.likely import TopReadout
from ecomfs.read.parser import LabelParser
from ecomfs.read.readout import LogprobReadout, Readout, Wording, read_shortlists
from ecomfs.read.trie import AnswerTrie
from ecomfs.read.verbalizer import Verbalizer, codes, words

__all__ = [
    "CHAIN",
    "AnswerTrie",
    "Calibration",
    "ChoiceReadout",
    "LabelParser",
    "LogprobReadout",
    "Readout",
    "Step",
    "StepName",
    "TextReadout",
    "TopReadout",
    "Verbalizer",
    "Wording",
    "codes",
    "cross_calibrated",
    "fit_calibration",
    "read_shortlists",
    "words",
]
