"""Opening and closing the embedded engine, on every exit path. Each test runs in its own process:
on failure the process hangs with Python's lock held, which only another process can detect.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPEN = """
import asyncio, faulthandler, gc, os, signal, sys, threading
faulthandler.dump_traceback_later(250, exit=True)
from ecomfs.engine.llama import process as llama_process
from ecomfs.engine.factory import open_engine
from ecomfs.engine.llama.engine import GgufEngine
from ecomfs.errors import EngineUnavailableError
from ecomfs.types import Prompt, Question, TemplateRef

def opened():
    return open_engine("gguf:smollm2", context=256)

def step(name):
    print(name, file=sys.stderr, flush=True)

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
        timeout=280,
        cwd=ROOT,
    )


CLOSED = """
asyncio.run(opened().aclose())

step("closed twice")
engine = opened()
asyncio.run(engine.aclose())
asyncio.run(engine.aclose())

step("deleted without closing")
engine = opened()
del engine
gc.collect()

step("in a cycle of garbage")
box = [opened()]
box.append(box)
del box
gc.collect()

step("two at once")
one, two = opened(), opened()
asyncio.run(one.aclose())
read(two)
asyncio.run(two.aclose())

step("the caller is cancelled while it opens")
async def cancelled():
    task = asyncio.create_task(asyncio.to_thread(opened))
    await asyncio.sleep(0.01)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
asyncio.run(cancelled())
"""
ERRORS = """
def refuses(message):
    try:
        opened()
    except (OSError, EngineUnavailableError) as error:
        assert message in str(error), error
    else:
        raise SystemExit("no error")
    gc.collect()

def fails(*_):
    raise OSError("none left")

step("an error right after opening")
identify, GgufEngine._identify = GgufEngine._identify, fails
refuses("none left")
GgufEngine._identify = identify

step("an error between loading and the first answer")
tokenizer = llama_process.LlamaTokenizer
answers, tokenizer.loop_answers = tokenizer.loop_answers, fails
refuses("none left")

step("a loop that never gives its first answer")
tokenizer.loop_answers = lambda self, seconds: False
refuses("does not answer")

step("a loop that answers no more when it is closed")
tokenizer.loop_answers = answers
engine = opened()
tokenizer.loop_answers = lambda self, seconds: False
asyncio.run(engine.aclose())
del engine
gc.collect()
"""
CTRL_C = """
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    while True:
        asyncio.run(opened().aclose())
except KeyboardInterrupt:
    pass
"""
WAYS = {
    "closed, dropped or cancelled": CLOSED,
    "errors on the way": ERRORS,
    "Ctrl-C while it opens": CTRL_C,
    "never closed, ends with the interpreter": "engine = opened(); read(engine)",
}


@pytest.mark.model
@pytest.mark.parametrize("body", WAYS.values(), ids=WAYS.keys())
def test_the_embedded_engine_never_hangs(body: str) -> None:
    done = run(body)
    assert done.returncode == 0, done.stderr


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
faulthandler.dump_traceback_later(200, exit=True)
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
@pytest.mark.timeout(1800)
def test_the_embedded_engine_opens_and_closes_fifty_times_beside_two_busy_processes() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "eval/bench/open_close.py"), "--times", "50", "--busy", "2"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "opened and closed 50 times" in done.stdout
