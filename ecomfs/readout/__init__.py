"""An engine's log-probabilities or text to a posterior over the labels."""

from ecomfs.readout.chain import CHAIN, Step, StepName, steps
from ecomfs.readout.choice import ChoiceReadout
from ecomfs.readout.generated import TextReadout
from ecomfs.readout.likely import TopReadout
from ecomfs.readout.parser import LabelParser
from ecomfs.readout.readout import LogprobReadout, Readout, Wording, read_shortlists
from ecomfs.readout.trie import AnswerTrie
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
    "TextReadout",
    "TopReadout",
    "Verbalizer",
    "Wording",
    "codes",
    "read_shortlists",
    "steps",
    "words",
]
