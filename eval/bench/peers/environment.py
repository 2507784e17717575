"""The libraries that ecomfs is compared with, and a separate virtual environment for each, made
once and kept."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Peer:
    """One library in a comparison.

    Attributes:
        module: file in ``peers/``.
        requirements: its environment; none for ours.
    """

    name: str
    module: str
    requirements: str = ""


def python_of(requirements: str, cache: Path) -> Path:
    """The Python that has a file's packages (``langchain.txt``, pinned), installed if need be.

    Raises:
        RuntimeError: they cannot be installed; the message has pip's last line.
    """
    wanted = HERE / requirements
    mark = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = cache / f"{wanted.stem}-{mark}"
    python = home / "bin" / "python"
    if (home / "complete").exists():
        return python
    shutil.rmtree(home, ignore_errors=True)
    print(f"{wanted.stem}: installing into {home}", file=sys.stderr)
    venv.create(home, with_pip=True)
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["pip failed"])[-1])
    (home / "complete").touch()
    return python
