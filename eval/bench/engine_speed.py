"""Speed of the embedded engine compared with llama.cpp itself, and the cost of fixed blocks.

    python eval/bench/engine_speed.py ROWS.csv --pool POOL.csv --model smollm2
    python eval/bench/engine_speed.py ROWS.csv --pool POOL.csv --model qwen2.5-coder-0.5b --rows 4

The library is xllamacpp's server, called directly with its own settings: it computes 512 tokens at
once, reuses any cached prefix, and samples one token. ``ecomfs`` reads the exact log-probabilities
of the labels from the same prompts, in fixed blocks (:mod:`ecomfs.engine.llama.engine`) or freely.
Prompts have their own demonstrations (``retrieved``) or a shared block (``shared``). ``--branches
N`` asks N more questions after each prompt, as labels of several tokens do.

The systems alternate on parts of the rows; every round has the rows in another order. Time is CPU
time of this process with ``--threads`` 1, so that other work on the machine has little effect.
*Repeats* is the largest difference between two rounds' readings of one prompt, *differs* the
largest difference from blocks of 32, in nats.
"""

from __future__ import annotations

import argparse
import random
import resource
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_report import LAYOUTS, spread
from gpu_rows import Rows, pipeline, token_ids

from ecomfs.core import event_loop
from ecomfs.engine.llama.engine import GgufEngine
from ecomfs.engine.llama.process import LlamaProcess, open_process
from ecomfs.engine.models import gguf_file
from ecomfs.types import Prompt, Question, Reading, TemplateRef

LIBRARY = "xllamacpp, called directly"
CONTEXT = 2048
TEMPLATE = TemplateRef("bench", "0" * 12)


@dataclass(slots=True)
class Measured:
    """Attributes:
    seconds: CPU seconds of each turn.
    prompts, tokens: how many were read in all.
    readings: prompt → what was read, per round.
    """

    seconds: list[float] = field(default_factory=list)
    prompts: int = 0
    tokens: int = 0
    readings: dict[int, list[tuple[float, ...]]] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Prompt tokens per CPU second, cached ones included."""
        return self.tokens / sum(self.seconds)

    def repeats(self) -> float:
        """Largest difference between two readings of one prompt."""
        return max(
            (_apart(r[0], later) for r in self.readings.values() for later in r), default=0.0
        )


def _apart(one: tuple[float, ...], two: tuple[float, ...]) -> float:
    return max(abs(a - b) for a, b in zip(one, two, strict=True))


class Library:
    """xllamacpp's server with its own settings, except for memory and threads."""

    def __init__(self, file: Path, threads: int) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_ctx = CONTEXT
        params.n_parallel = 1
        params.swa_full = True
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.cache_ram_mib = 0
        params.warmup = False
        params.verbosity = -1
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        self._process: LlamaProcess = open_process(lambda: xllamacpp.Server(params), file.name, "")

    def read(self, ids: list[int], suffixes: list[tuple[int, ...]]) -> None:
        """One token after the prompt, and after each suffix."""
        for suffix in [(), *suffixes]:
            answer = self._process.complete(
                {"prompt": [*ids, *suffix], "n_predict": 1, "cache_prompt": True, "temperature": 0}
            )
            if "choices" not in answer:
                raise RuntimeError(f"llama.cpp answered {answer}")

    def close(self) -> None:
        """Free the model."""
        self._process.close()


class Ours:
    """The embedded engine."""

    def __init__(self, engine: GgufEngine, codes: tuple[int, ...]) -> None:
        self._engine = engine
        self._codes = codes

    def read(self, ids: list[int], suffixes: list[tuple[int, ...]]) -> tuple[float, ...]:
        """Log-probabilities of the codes after the prompt, and after each suffix."""
        questions = [Question(self._codes, suffix) for suffix in [(), *suffixes]]
        (found,) = event_loop.run(self._engine.read([Prompt("", TEMPLATE, tuple(ids))], questions))
        assert isinstance(found, Reading), found
        return tuple(value for one in found.logprobs for value in one)

    def close(self) -> None:
        """Free the model."""
        event_loop.run(self._engine.aclose())


def cpu() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(
    systems: dict[str, Any],
    prompts: list[list[int]],
    suffixes: list[tuple[int, ...]],
    rounds: int,
    part: int,
    seed: int,
) -> dict[str, Measured]:
    """All systems on the same prompts, in alternation."""
    found = {name: Measured() for name in systems}
    for system in systems.values():
        system.read(prompts[0], suffixes)
    for number in range(rounds):
        order = list(range(len(prompts)))
        random.Random(seed + number).shuffle(order)
        for start in range(0, len(order), part):
            names = list(systems)
            random.Random(seed + start + number).shuffle(names)
            for name in names:
                mine = found[name]
                before = cpu()
                for place in order[start : start + part]:
                    reading = systems[name].read(prompts[place], suffixes)
                    mine.tokens += len(prompts[place])
                    mine.prompts += 1
                    if reading is not None:
                        mine.readings.setdefault(place, []).append(reading)
                mine.seconds.append(cpu() - before)
    return found


def lines(layout: str, found: dict[str, Measured], first: str) -> list[str]:
    """Rows of the table."""
    library = found[LIBRARY]
    rows = []
    for name, mine in found.items():
        ratios = [a / b for a, b in zip(library.seconds, mine.seconds, strict=True)]
        differs = repeats = "–"
        if mine.readings:
            apart = max(
                _apart(mine.readings[p][0], found[first].readings[p][0]) for p in mine.readings
            )
            differs, repeats = f"{apart:.3f}", f"{mine.repeats():.3f}"
        cells = [
            layout,
            f"{mine.tokens / mine.prompts:.0f}",
            name,
            f"{mine.prompts}",
            f"{1e3 * sum(mine.seconds) / mine.prompts:.0f} ms",
            f"{mine.rate:.0f}",
            "–" if name == LIBRARY else f"{library_ratio(library, mine):.2f}",
            "–" if name == LIBRARY else spread(ratios, ".2f"),
            differs,
            repeats,
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def library_ratio(library: Measured, mine: Measured) -> float:
    """Tokens per second ÷ the library's."""
    return mine.rate / library.rate


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", type=Path, nargs="+", help="CSV files with a column text")
    parser.add_argument("--pool", type=Path, required=True, help="CSV file with text and label")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--language", default="en")
    parser.add_argument("--blocks", type=int, nargs="*", default=[32, 64, 128])
    parser.add_argument("--branches", type=int, default=0, help="further questions per prompt")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--part", type=int, default=4, help="rows of a turn")
    parser.add_argument("--layouts", nargs="+", default=list(LAYOUTS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    file, rows = gguf_file(options.model), Rows.read(options)
    engines = {
        f"ecomfs, blocks of {block}": GgufEngine(
            file, context=CONTEXT, threads=options.threads, block=block
        )
        for block in options.blocks
    }
    engines["ecomfs, free"] = GgufEngine(
        file, context=CONTEXT, threads=options.threads, repeatable=False
    )
    first = next(iter(engines))
    tokenizer = engines[first].tokenizer
    codes = tuple(tokenizer.encode(word)[0] for word in (" positive", " negative"))
    words = (" very", " quite", " rather", " most", " good", " bad", " fine", " poor")
    suffixes: list[tuple[int, ...]] = [
        (tokenizer.encode(word)[0],) for word in words[: options.branches]
    ]
    systems: dict[str, Any] = {LIBRARY: Library(file, options.threads)}
    systems |= {name: Ours(engine, codes) for name, engine in engines.items()}
    print(
        f"{file.name}, {len(rows.texts)} rows, k = {options.k}, {options.threads} thread(s), "
        f"{options.branches} further questions\n"
    )
    print(
        "| layout | tokens | system | prompts | CPU per prompt | tokens/s | ÷ library "
        "| ÷ library, per turn | differs | repeats |\n|---|--:|---|--:|--:|--:|--:|--:|--:|--:|"
    )
    try:
        for layout in options.layouts:
            prompts = token_ids(pipeline(engines[first], rows, layout), rows)
            found = measure(systems, prompts, suffixes, options.rounds, options.part, options.seed)
            print("\n".join(lines(layout, found, first)), flush=True)
    finally:
        for system in systems.values():
            system.close()


if __name__ == "__main__":
    main()
