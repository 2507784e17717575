"""``python -m ecomfs`` is the command ``ecomfs``."""

from ecomfs.cli import main

main()
