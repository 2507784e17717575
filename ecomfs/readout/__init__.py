"""Converts an engine's log-probabilities or text to a posterior over the labels."""

from ecomfs.readout.chain import CHAIN, Step, StepName, steps
from ecomfs.readout.logprob import AnswerFormat, AnswerTrie, LogprobReadout, Readout
from ecomfs.readout.text import LabelParser
from ecomfs.readout.top_tokens import ChoiceReadout, TopReadout
from ecomfs.readout.verbalizer import Verbalizer, codes, words

__all__ = [
    "CHAIN",
    "AnswerFormat",
    "AnswerTrie",
    "ChoiceReadout",
    "LabelParser",
    "LogprobReadout",
    "Readout",
    "Step",
    "StepName",
    "TopReadout",
    "Verbalizer",
    "codes",
    "steps",
    "words",
]
