"""Measurements of ``gpu.py`` that load the model themselves, each in its own process.

python eval/bench/gpu_child.py local|multiply JOB.json      one line of JSON per result
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpu_model import Shape
from gpu_report import GENERATE, LAYOUTS, LOCAL, Turn, turned
from gpu_rows import Rows, pipeline, score, token_ids

CONTEXT = 4096
"""Tokens of a prompt at most, in every system."""


def child(kind: str, job: dict[str, Any], seconds: float) -> Iterator[dict[str, Any]]:
    """The output lines of a process of this script.

    Raises:
        RuntimeError: it failed or took too long; the message has its last line.
    """
    with tempfile.TemporaryDirectory() as temporary:
        path, log = Path(temporary) / "job.json", Path(temporary) / "log.txt"
        path.write_text(json.dumps(job), encoding="utf-8")
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, __file__, kind, str(path)],
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


def local(job: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    """The systems that load the model themselves: one line of JSON per turn."""
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
            for system in turned([GENERATE, LOCAL], number):
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
    """Floating-point operations per second in matrix products of the model's sizes."""
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


def main() -> None:
    """Run one job. Output of libraries is not mixed with the results."""
    kind, job = sys.argv[1], Path(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(found: dict[str, Any]) -> None:
        answers.write(json.dumps(found) + "\n")
        answers.flush()

    {"local": local, "multiply": multiply}[kind](json.loads(job.read_text(encoding="utf-8")), say)
    answers.flush()
    os._exit(0)  # some versions of vLLM hang when Python ends


if __name__ == "__main__":
    main()
