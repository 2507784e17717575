"""What the processor of this machine can compute."""

from __future__ import annotations

from pathlib import Path


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Instruction sets of the processor.

    Parameters
    ----------
    cpuinfo
        Where Linux lists them.

    Returns
    -------
    frozenset of str
        As Linux names them, such as ``avx2`` and ``avx512_bf16``; empty on other systems.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "cpuinfo"
    >>> _ = file.write_text("processor\\t: 0\\nflags\\t\\t: fpu avx2\\n\\nprocessor\\t: 1\\n")
    >>> sorted(processor_flags(file))
    ['avx2', 'fpu']
    """
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()
