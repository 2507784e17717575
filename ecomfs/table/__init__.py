"""Tables in and out: streaming readers that never lose a row, a writer that is whole or absent."""

from ecomfs.table.frame import Frame, read_frame
from ecomfs.table.ids import IdTracker
from ecomfs.table.open import text_encoding
from ecomfs.table.output import TableWriter, check_output, open_writer
from ecomfs.table.reader import MAX_CELL_CHARS, TableReader
from ecomfs.table.rows import Chunk, Dialect, Place, TableRow
from ecomfs.table.writer import AtomicWriter, OutputEncoding, added_columns

__all__ = [
    "MAX_CELL_CHARS",
    "AtomicWriter",
    "Chunk",
    "Dialect",
    "Frame",
    "IdTracker",
    "OutputEncoding",
    "Place",
    "TableReader",
    "TableRow",
    "TableWriter",
    "added_columns",
    "check_output",
    "open_writer",
    "read_frame",
    "text_encoding",
]
