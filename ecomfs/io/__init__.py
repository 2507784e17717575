"""Files to rows in chunks, and rows to a whole file: formats, encodings, languages."""

from ecomfs.io.cells import cell_text
from ecomfs.io.decode import Line, read_lines
from ecomfs.io.encoding import (
    Encoding,
    choose_encoding,
    detect_encoding,
    encoding_named,
    gb2312_share,
)
from ecomfs.io.frame import Frame, read_frame
from ecomfs.io.ids import IdTracker
from ecomfs.io.language import detect_language, majority_language
from ecomfs.io.normalise import fold, one_width, same_text, squeeze
from ecomfs.io.numbers import (
    SAY,
    ColumnNumbers,
    DecimalMark,
    Number,
    NumberError,
    decide,
    evidence,
    read_number,
    respell,
    said,
)
from ecomfs.io.open import text_encoding
from ecomfs.io.optional import optional_module
from ecomfs.io.output import TableWriter, check_output, open_writer
from ecomfs.io.reader import MAX_CELL_CHARS, TableReader
from ecomfs.io.rows import Chunk, Dialect, Place, TableRow
from ecomfs.io.target import (
    Read,
    check_read,
    check_target,
    is_standard,
    is_stream,
    reading,
    standard_output,
    write_text,
)
from ecomfs.io.text_files import read_text
from ecomfs.io.writer import AtomicWriter, OutputEncoding, added_columns
from ecomfs.io.yaml_error import MEND, yaml_problem

__all__ = [
    "MAX_CELL_CHARS",
    "MEND",
    "SAY",
    "AtomicWriter",
    "Chunk",
    "ColumnNumbers",
    "DecimalMark",
    "Dialect",
    "Encoding",
    "Frame",
    "IdTracker",
    "Line",
    "Number",
    "NumberError",
    "OutputEncoding",
    "Place",
    "Read",
    "TableReader",
    "TableRow",
    "TableWriter",
    "added_columns",
    "cell_text",
    "check_output",
    "check_read",
    "check_target",
    "choose_encoding",
    "decide",
    "detect_encoding",
    "detect_language",
    "encoding_named",
    "evidence",
    "fold",
    "gb2312_share",
    "is_standard",
    "is_stream",
    "majority_language",
    "one_width",
    "open_writer",
    "optional_module",
    "read_frame",
    "read_lines",
    "read_number",
    "read_text",
    "reading",
    "respell",
    "said",
    "same_text",
    "squeeze",
    "standard_output",
    "text_encoding",
    "write_text",
    "yaml_problem",
]
