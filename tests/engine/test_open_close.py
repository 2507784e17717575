"""Opening and closing the embedded engine, on every way out. Each runs in a process of its own: if
it goes wrong the process hangs with Python's lock held, and only another process can tell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPEN = """
import asyncio, faulthandler, gc, os, signal, sys, threading
faulthandler.dump_traceback_later(90, exit=True)
from ecomfs.engine import llama_process
from ecomfs.engine.factory import open_engine
from ecomfs.engine.gguf import GgufEngine
from ecomfs.errors import EngineUnavailableError
from ecomfs.types import Prompt, Question, TemplateRef

def opened():
    return open_engine("gguf:smollm2", context=256)

def read(engine):
    ids = tuple(engine.tokenizer.encode("good or bad?"))
    prompt = Prompt("good or bad?", TemplateRef("t", "0" * 12), ids)
    return asyncio.run(engine.read([prompt], [Question((5, 6))]))
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", OPEN + body],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )


@pytest.mark.model
@pytest.mark.parametrize(
    ("way", "body"),
    [
        ("closed at once", "asyncio.run(opened().aclose())"),
        ("closed twice", "e = opened(); asyncio.run(e.aclose()); asyncio.run(e.aclose())"),
        ("never closed, ends with the interpreter", "engine = opened()"),
        ("never closed, used, ends with the interpreter", "engine = opened(); read(engine)"),
        ("deleted without closing", "engine = opened(); del engine; gc.collect()"),
        (
            "in a cycle of garbage",
            "box = [opened()]; box.append(box); del box; gc.collect()",
        ),
        ("two at once", "a, b = opened(), opened(); asyncio.run(a.aclose()); read(b)"),
        (
            "the caller is cancelled while it opens",
            """
async def main():
    task = asyncio.create_task(asyncio.to_thread(opened))
    await asyncio.sleep(0.01)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
asyncio.run(main())
""",
        ),
        (
            "an error right after opening",
            """
def fails(self, file):
    raise OSError("no fingerprint")
GgufEngine._identify = fails
try:
    opened()
except OSError:
    pass
else:
    raise SystemExit("no error")
""",
        ),
        (
            "an error between loading and the first answer",
            """
def fails(self, seconds):
    raise OSError("no socket left")
llama_process.LlamaTokenizer.loop_answers = fails
try:
    opened()
except OSError:
    pass
else:
    raise SystemExit("no error")
gc.collect()
""",
        ),
        (
            "a loop that never gives its first answer",
            """
llama_process.LlamaTokenizer.loop_answers = lambda self, seconds: False
try:
    opened()
except EngineUnavailableError as error:
    assert "does not answer" in str(error), error
else:
    raise SystemExit("no error")
gc.collect()
""",
        ),
        (
            "a loop that answers no more when it is closed",
            """
engine = opened()
llama_process.LlamaTokenizer.loop_answers = lambda self, seconds: False
asyncio.run(engine.aclose())
gc.collect()
""",
        ),
        (
            "Ctrl-C while it opens",
            """
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    while True:
        asyncio.run(opened().aclose())
except KeyboardInterrupt:
    pass
""",
        ),
    ],
    ids=lambda value: value if "\n" not in value and "(" not in value else "",
)
def test_the_embedded_engine_never_hangs(way: str, body: str) -> None:
    done = run(body)
    assert done.returncode == 0, f"{way}: {done.stderr}"


@pytest.mark.model
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "while the tokenizer is in use"])
def test_a_forked_child_gets_one_clear_error_and_ends(busy: bool) -> None:
    done = run(
        f"""
engine = opened()
read(engine)
if {busy}:
    engine.tokenizer._lock.acquire()
faulthandler.cancel_dump_traceback_later()  # a child cannot end its parent's timer
child = os.fork()
faulthandler.dump_traceback_later(60, exit=True)
if child == 0:
    for use in (lambda: read(engine), lambda: engine.tokenizer.encode("a"),
                lambda: asyncio.run(engine.generate([], max_tokens=1))):
        try:
            use()
        except EngineUnavailableError as error:
            assert "before this process was forked" in str(error), error
            assert "spawn" in error.hint
        else:
            os._exit(3)
    asyncio.run(engine.aclose())
    del engine
    gc.collect()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
if {busy}:
    engine.tokenizer._lock.release()
read(engine)  # the parent's still works
asyncio.run(engine.aclose())
"""
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.model
@pytest.mark.slow
def test_the_embedded_engine_opens_and_closes_fifty_times_beside_two_busy_processes() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "eval/bench/open_close.py"), "--times", "50", "--busy", "2"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "opened and closed 50 times" in done.stdout
