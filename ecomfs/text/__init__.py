"""Text: bytes to text, language, forms for comparing, rendering, cleaning."""

from ecomfs.text.decode import Encoding, Line, choose_encoding, detect_encoding, read_lines
from ecomfs.text.language import detect_language, majority_language
from ecomfs.text.normalise import fold, squeeze

__all__ = [
    "Encoding",
    "Line",
    "choose_encoding",
    "detect_encoding",
    "detect_language",
    "fold",
    "majority_language",
    "read_lines",
    "squeeze",
]
