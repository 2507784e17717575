"""Files to rows in chunks, and rows to a whole file: formats, encodings, languages."""

from ecomfs.io.encoding import encoding_named
from ecomfs.io.files import YAML_HINT, optional_module, read_text, yaml_problem
from ecomfs.io.formats import is_workbook, split_book
from ecomfs.io.numbers import (
    DECIMAL_HINT,
    ColumnNumbers,
    DecimalMark,
    Number,
    NumberError,
    decimal_mark,
    mark_in_words,
    possible_marks,
    read_number,
    rewrite_number,
)
from ecomfs.io.reader import MAX_CELL_CHARS, TableReader, read_frame, text_encoding
from ecomfs.io.rows import IdTracker, Place, TableRow, cell_text
from ecomfs.io.safe_csv import plain_cell, safe_cell, safe_csv
from ecomfs.io.sql_table import SqlTable
from ecomfs.io.target import (
    InputFile,
    Target,
    check_read,
    check_target,
    is_standard,
    is_stream,
    output_failure,
    reading,
    standard_output,
    write_text,
)
from ecomfs.io.text import detect_language, fold, same_text, squeeze, visible
from ecomfs.io.writer import (
    AtomicWriter,
    OutputEncoding,
    OutputFormat,
    added_columns,
    check_output,
    open_writer,
)

__all__ = [
    "DECIMAL_HINT",
    "MAX_CELL_CHARS",
    "YAML_HINT",
    "AtomicWriter",
    "ColumnNumbers",
    "DecimalMark",
    "IdTracker",
    "InputFile",
    "Number",
    "NumberError",
    "OutputEncoding",
    "OutputFormat",
    "Place",
    "SqlTable",
    "TableReader",
    "TableRow",
    "Target",
    "added_columns",
    "cell_text",
    "check_output",
    "check_read",
    "check_target",
    "decimal_mark",
    "detect_language",
    "encoding_named",
    "fold",
    "is_standard",
    "is_stream",
    "is_workbook",
    "mark_in_words",
    "open_writer",
    "optional_module",
    "output_failure",
    "plain_cell",
    "possible_marks",
    "read_frame",
    "read_number",
    "read_text",
    "reading",
    "rewrite_number",
    "safe_cell",
    "safe_csv",
    "same_text",
    "split_book",
    "squeeze",
    "standard_output",
    "text_encoding",
    "visible",
    "write_text",
    "yaml_problem",
]
