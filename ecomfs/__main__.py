"""``python -m ecomfs`` is the command ``ecomfs``."""

from ecomfs.cli import main

if __name__ == "__main__":
    main()
