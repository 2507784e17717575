"""A log of every run as JSON lines, so that runs can be listed, compared and resumed.

A log has the command, the identity of the run (hashes, no rows of the data), its progress and its
end. Logs are in the user's state folder; ``ECOMFS_STATE`` sets another folder, or ``off``.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from platformdirs import user_state_dir

from ecomfs.batch.runner import Tally
from ecomfs.core.messages import mask_passwords
from ecomfs.errors import InputError, JournalError, StoppedError
from ecomfs.io import SqlTable

_EVERY = 10.0
"""Seconds between two progress lines."""


def state_folder() -> Path | None:
    """The folder of the logs; ``None`` if logging is off."""
    named = os.environ.get("ECOMFS_STATE", "")
    if named.casefold() in ("off", "no", "0"):
        return None
    return Path(named or user_state_dir("ecomfs")) / "runs"


class RunLog:
    """The log of one run. If the folder cannot be written, the run continues without a log.

    Parameters
    ----------
    folder : Path, optional
        Folder of the logs; ``None``: nothing is written.
    id_ : str
        Id of the run, and name of the file.

    Examples
    --------
    >>> import tempfile
    >>> log = RunLog(Path(tempfile.mkdtemp()), "20260501-091200-000ab")
    >>> log.write("start", command=["score", "in.csv"], folder="/tmp", process=0)
    >>> with log.ending():
    ...     log.time(2.5, {"reading": 2.0})
    >>> run = read_run(log.path)
    >>> run.state, run.command, run.seconds
    ('finished', ['score', 'in.csv'], 2.5)
    """

    def __init__(self, folder: Path | None, id_: str) -> None:
        self.id = id_
        self.path = folder / f"{id_}.jsonl" if folder is not None else None
        self._last = 0.0

    @classmethod
    def start(cls, command: Sequence[str]) -> RunLog:
        """Start a new log; passwords in URLs are masked."""
        now = datetime.now(UTC)
        # Microseconds before the random part, so that consecutive runs sort by time.
        id_ = f"{now:%Y%m%d-%H%M%S}-{now.microsecond:06d}{secrets.token_hex(1)}"
        log = cls(state_folder(), id_)
        process = os.getpid()
        began = _began(process)
        folder = str(Path.cwd())
        log.write("start", command=[*command], folder=folder, process=process, began=began)
        return log

    def write(self, event: str, **values: Any) -> None:
        """Add a line; passwords in URLs are masked."""
        if self.path is None:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = {"event": event, "at": now, **_masked(values)}
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Commands and error messages may contain the text of a row.
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
            handle = os.open(self.path, flags, 0o600)
            with os.fdopen(handle, "a", encoding="utf-8") as file:
                file.write(json.dumps(line, default=str) + "\n")
        except OSError:
            self.path = None

    def input(self, output: Path | SqlTable, identity: Mapping[str, Any]) -> None:
        """Log the identity of an output."""
        self.write("input", output=str(output), identity=identity)

    def output(self, output: Path | SqlTable, tally: Tally) -> None:
        """Log that an output is done."""
        self.write("output", output=str(output), tally=asdict(tally))

    def engine(self, spec: str, canary: Sequence[Mapping[str, Any]]) -> None:
        """Log the engine and the reports of its canary, one per server."""
        self.write("engine", spec=spec, canary=list(canary))

    def progress(self, tally: Tally) -> None:
        """Log the counts, at most every ten seconds."""
        now = time.monotonic()
        if now - self._last >= _EVERY:
            self._last = now
            self.write("progress", tally=asdict(tally))

    def time(self, seconds: float, phases: Mapping[str, float]) -> None:
        """Log the total wall time, and that of each phase."""
        self.write("time", seconds=seconds, phases=dict(phases))

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Context manager that logs how the block ends."""
        try:
            yield
        except StoppedError as error:
            self.write("stopped", why=error.message)
            raise
        except JournalError as error:  # the same command would fail again
            self.write("refused", why=error.message)
            raise
        except BaseException as error:
            self.write("failed", why=f"{type(error).__name__}: {error}")
            raise
        self.write("finished")


@dataclass(slots=True)
class Run:
    """One run, read from its log.

    Attributes
    ----------
    id : str
        Id of the run; ids sort by time.
    state : str
        ``finished``, ``stopped``, ``failed``, ``refused`` (the journal of its output belongs to
        another run, is in use, or damaged), ``running`` or ``killed``.
    started, ended : str
        Time of the first and the last line, UTC, ISO 8601.
    command, folder : list of str, str
        Arguments and working folder.
    outputs : dict
        Output → its counts.
    identity : dict
        Output → its identity (:func:`ecomfs.batch.run_identity`).
    engine, canary : str, list of dict
        Spec of the engine; reports of its canary, one per server.
    why : str
        Why it stopped.
    seconds, phases : float, dict
        Wall time of the command with its fit (``None`` unless finished), and of each phase.

    Examples
    --------
    >>> Run("20260501-091200-000ab", state="stopped", command=["score", "in.csv"]).resumable
    True
    """

    id: str
    state: str = "killed"
    started: str = ""
    ended: str = ""
    command: list[str] = field(default_factory=list)
    folder: str = ""
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    identity: dict[str, dict[str, Any]] = field(default_factory=dict)
    engine: str = ""
    canary: list[dict[str, Any]] = field(default_factory=list)
    why: str = ""
    seconds: float | None = None
    phases: dict[str, float] = field(default_factory=dict)

    @property
    def resumable(self) -> bool:
        """Whether the same command would resume it."""
        # A truncated log may lack its command.
        return bool(self.command) and self.state in ("stopped", "failed", "killed")


def read_run(path: Path) -> Run:
    """Read the run of a log file; truncated lines are skipped."""
    run = Run(path.stem)
    process, began = 0, ""
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        # A line that is not an object, or lacks keys of its event.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            line = json.loads(text)
            event, run.ended = line["event"], str(line.get("at", ""))
            if event == "start":
                run.started, process = run.ended, int(line.get("process", 0))
                began = str(line.get("began", ""))
                run.command, run.folder = list(line["command"]), str(line["folder"])
            elif event == "input":
                run.identity[line["output"]] = line["identity"]
                run.outputs.setdefault(line["output"], {})
            elif event == "engine":
                run.engine, run.canary = str(line["spec"]), list(line["canary"])
            elif event == "progress" and run.outputs:
                run.outputs[next(reversed(run.outputs))] = line["tally"]
            elif event == "output":
                run.outputs[line["output"]] = line["tally"]
            elif event == "time":
                run.seconds, run.phases = float(line["seconds"]), dict(line["phases"])
            elif event in ("finished", "stopped", "failed", "refused"):
                run.state, run.why = event, str(line.get("why", ""))
    if run.state == "killed" and _alive(process, began):
        run.state = "running"
    return run


def list_runs() -> list[Run]:
    """All runs, oldest first.

    Returns
    -------
    list of Run
        Logs that cannot be read are left out. Empty if no run was logged, or logging is off.

    Examples
    --------
    >>> import tempfile
    >>> from unittest import mock
    >>> with mock.patch.dict(os.environ, ECOMFS_STATE=tempfile.mkdtemp()):
    ...     log = RunLog(state_folder(), "20260501-091200-000ab")
    ...     log.write("start", command=["score", "in.csv"], folder="/tmp", process=0)
    ...     with log.ending():
    ...         log.time(2.5, {"reading": 2.0})
    ...     [(run.id, run.state) for run in list_runs()]
    [('20260501-091200-000ab', 'finished')]
    """
    folder = state_folder()
    if folder is None or not folder.is_dir():
        return []
    runs = []
    for path in sorted(folder.glob("*.jsonl")):
        with contextlib.suppress(OSError):  # such as a log that another user may read only
            runs.append(read_run(path))
    return runs


def find_run(id_: str) -> Run:
    """One logged run.

    Parameters
    ----------
    id_ : str
        An id, or a prefix of one; ``last`` is the newest run.

    Raises
    ------
    InputError
        No run, or several.

    Examples
    --------
    >>> find_run("x")
    Traceback (most recent call last):
    ecomfs.errors.InputError: no run with an id that begins with 'x' (see: ecomfs runs list)
    """
    runs = list_runs()
    if id_ == "last" and runs:
        return runs[-1]
    found = [run for run in runs if run.id.startswith(id_)]
    if len(found) != 1:
        what = "no run" if not found else f"{len(found)} runs"
        raise InputError(
            f"{what} with an id that begins with {id_!r}", hint="see: ecomfs runs list"
        )
    return found[0]


def last_resumable() -> Run:
    """The newest run that can be resumed.

    That is a run that was stopped, failed or was killed, whose folder exists, and whose command and
    output no later run has.

    Returns
    -------
    Run
        The run, with its command and folder.

    Raises
    ------
    InputError
        There is none.

    Examples
    --------
    >>> from unittest import mock
    >>> with mock.patch.dict(os.environ, ECOMFS_STATE="off"):
    ...     last_resumable()
    Traceback (most recent call last):
    ecomfs.errors.InputError: no run is logged: ECOMFS_STATE switches logs off (give the command ...
    """
    runs = list_runs()
    later: set[tuple[str, ...]] = set()
    for run in reversed(runs):
        if run.state == "refused":
            continue
        files = [o for o in run.outputs if o != "-"]  # runs to standard output replace none
        made = {(run.folder, *run.command), *((str(Path(run.folder, o)),) for o in files)}
        if run.resumable and Path(run.folder).is_dir() and not made & later:
            return run
        later |= made
    if not runs:
        off = state_folder() is None
        raise InputError(
            "no run is logged" + (": ECOMFS_STATE switches logs off" if off else ""),
            hint="give the command again: it resumes from the journal beside its output",
        )
    raise InputError(
        f"none of {len(runs)} runs can be resumed: the last, {runs[-1].id}, is {runs[-1].state}",
        hint="see: ecomfs runs list",
    )


def compare_runs(first: Run, second: Run) -> list[tuple[str, str, str]]:
    """Differences between two runs: (name, value of the first, value of the second).

    >>> compare_runs(Run("a", state="finished"), Run("b", state="failed"))
    [('state', 'finished', 'failed')]
    """
    rows: list[tuple[str, str, str]] = []
    one, other = _flat(first), _flat(second)
    for name in dict.fromkeys((*one, *other)):
        if one.get(name) != other.get(name):
            rows.append((name, one.get(name, "–"), other.get(name, "–")))
    return rows


def last_rate(model: str, unit: str) -> float | None:
    """The speed of an engine, by its fingerprint, in its newest run, per second; ``unit`` is
    ``prompt_tokens`` or ``read`` (rows)."""
    for run in reversed(list_runs()):
        for output, tally in run.outputs.items():
            read, seconds = tally.get(unit, 0), tally.get("reading_seconds", 0)
            if read and seconds and run.identity.get(output, {}).get("model") == model:
                return float(read / seconds)
    return None


def _flat(run: Run) -> dict[str, str]:
    flat: dict[str, str] = {"state": run.state, "command": " ".join(run.command)}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                walk(f"{prefix}.{name}" if prefix else str(name), inner)
        else:
            flat[prefix] = str(value)

    # The outputs of two runs may have different names: compare them by position.
    for number, output in enumerate(run.outputs):
        prefix = "" if len(run.outputs) == 1 else f"output {number + 1}"
        walk(
            prefix, {"output": output, **run.identity.get(output, {}), "tally": run.outputs[output]}
        )
    return flat


def _masked(value: Any) -> Any:
    """A JSON value with the passwords in its texts masked."""
    if isinstance(value, str):
        return mask_passwords(value)
    if isinstance(value, Mapping):
        return {key: _masked(inner) for key, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list | tuple) else value


def _began(process: int) -> str:
    """When a process began: the boot of the machine and the time since. Another process may get its
    number, above all in containers, where numbers begin at 1. Empty if the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        status = Path(f"/proc/{process}/stat").read_bytes()
        return f"{boot} {int(status.rpartition(b')')[2].split()[19])}"
    except (OSError, ValueError, IndexError):
        return ""


def _alive(process: int, began: str) -> bool:
    if process <= 0:
        return False
    if began and _began(process) not in ("", began):
        return False
    with contextlib.suppress(ProcessLookupError):
        try:
            os.kill(process, 0)
        except PermissionError:
            return True
        return True
    return False
