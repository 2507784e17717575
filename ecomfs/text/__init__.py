"""Text: bytes to text, language, forms for comparing, rendering, cleaning."""

from ecomfs.text.decode import Line, read_lines
from ecomfs.text.encoding import Encoding, choose_encoding, detect_encoding
from ecomfs.text.language import detect_language, majority_language
from ecomfs.text.normalise import fold, same_text, squeeze

__all__ = [
    "Encoding",
    "Line",
    "choose_encoding",
    "detect_encoding",
    "detect_language",
    "fold",
    "majority_language",
    "read_lines",
    "same_text",
    "squeeze",
]
