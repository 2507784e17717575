"""Converts an engine's log-probabilities or text to a posterior over the labels."""

from ecomfs.readout.chain import CHAIN, Step, StepName, steps
from ecomfs.readout.listed import ChoiceReadout, TopReadout
from ecomfs.readout.logprob import AnswerTrie, LogprobReadout, Readout, Wording
from ecomfs.readout.text import LabelParser
from ecomfs.readout.verbalizer import Verbalizer, codes, words

__all__ = [
    "CHAIN",
    "AnswerTrie",
    "ChoiceReadout",
    "LabelParser",
    "LogprobReadout",
    "Readout",
    "Step",
    "StepName",
    "TopReadout",
    "Verbalizer",
    "Wording",
    "codes",
    "steps",
    "words",
]
