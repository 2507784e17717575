"""A language model paraphrases examples of rare labels.

The prompt is a completion ("Original: … / Rewritten: …"), so base models work too. Each round asks
for as many texts as are missing, each from a different source. Rounds go on until the labels have
enough examples, or every source was rewritten ``attempts`` times.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ecomfs.engine.protocol import Engine, Sampling
from ecomfs.errors import ConfigError, EngineError, MissingFileError, PoolError, TemplateError
from ecomfs.io import detect_language, read_text, squeeze
from ecomfs.prepare.augment.candidates import Augmented, Candidate, RareLabel
from ecomfs.prepare.augment.checks import CandidateFilter
from ecomfs.prompt import Template
from ecomfs.task import TaskCard, common_template
from ecomfs.types import Example, Generation, Language, Prompt

_ROUND = 64  # texts asked for at once
_QUOTES = "\"'“”「」"


@dataclass(frozen=True, slots=True)
class RewriteSettings:
    """Settings of the rewrites.

    Attributes:
        temperature: sampling temperature, above 0.
        seed: round *n* samples with ``seed + n``.
        attempts: most rewrites of one example.
        generations: most texts in total; ``None``: limited by ``attempts`` only.
        max_tokens: most tokens of a text.

    Raises:
        ConfigError: a number out of range.

    >>> RewriteSettings(temperature=1.0).attempts
    4
    """

    temperature: float = 0.8
    seed: int = 0
    attempts: int = 4
    generations: int | None = None
    max_tokens: int = 256

    def __post_init__(self) -> None:
        Sampling(self.temperature, self.seed)
        for name in ("attempts", "generations", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} {value}", hint="use 1 or more")


def text_field(card: TaskCard, wanted: str | None = None) -> str:
    """The field that is rewritten.

    Args:
        card: the task card.
        wanted: its name; needed when the task has several fields of text.

    Returns:
        The name of the field.

    Raises:
        ConfigError: no such field, no text field, or several of them.

    >>> from ecomfs.task import load_task
    >>> text_field(load_task("review_sentiment"))
    'text'
    """
    names = [spec.name for spec in card.fields if spec.kind == "text"]
    if wanted is not None:
        if wanted not in names:
            raise ConfigError(
                f"task {card.name!r} has no text field {wanted!r}",
                hint=f"text fields are: {', '.join(names) or 'none'}",
            )
        return wanted
    if not names:
        raise ConfigError(
            f"task {card.name!r} has no text field to rewrite",
            hint="borrow examples from another table: --borrow",
        )
    if len(names) > 1:
        raise ConfigError(
            f"task {card.name!r} has text fields {', '.join(names)}",
            hint="name the field to rewrite: --rewrite-field NAME",
        )
    return names[0]


def load_prompts(choice: Path | None = None, version: str = "v1") -> dict[Language, Template]:
    """The prompt templates for rewrites, by language. A template gets ``text``, the text to
    rewrite, and ends where the new text begins.

    Args:
        choice: a template file for both languages.
        version: version of the shipped templates.

    Returns:
        One template per language.

    Raises:
        MissingFileError: no such file.
        TemplateError: it does not compile, uses other names, or does not show the text.

    >>> sorted(load_prompts())
    ['en', 'zh']
    """
    languages: tuple[Language, ...] = ("en", "zh")
    if choice is None:
        return {
            lang: Template(common_template("_augment", lang, version), f"_augment/{lang}.{version}")
            for lang in languages
        }
    try:
        template = Template(read_text(choice), choice.name)
    except OSError as error:
        raise MissingFileError(f"{choice}: {error.strerror}") from error
    if template.render({"text": "x"}) == template.render({"text": "y"}):
        raise TemplateError(
            f"template {choice.name} does not show the text to rewrite", hint="print {{ text }}"
        )
    return dict.fromkeys(languages, template)


async def rewrite(
    checks: CandidateFilter,
    writer: Engine,
    needs: Sequence[RareLabel],
    field: str,
    settings: RewriteSettings | None = None,
    prompts: Mapping[Language, Template] | None = None,
    *,
    on_round: Callable[[Sequence[Candidate]], None] = lambda found: None,
) -> Augmented:
    """Rewrites of the examples of rare labels.

    Args:
        checks: the checks; they may have seen other candidates before.
        writer: the engine that generates; it may differ from the engine that classifies.
        needs: the rare labels.
        field: the text field to rewrite; the other fields are copied from the source.
        settings: generation settings.
        prompts: the templates (:func:`load_prompts`).
        on_round: called with all candidates so far, after every round.

    Returns:
        All candidates, kept and rejected.

    Raises:
        ConfigError: the engine does not generate text.
        PoolError: no rare label has an example labelled by a person.
        EngineError: the engine became unavailable before the first candidate.

    >>> from types import SimpleNamespace
    >>> from ecomfs.core import event_loop
    >>> from ecomfs.engine import Capabilities
    >>> mute = SimpleNamespace(
    ...     spec="mute", capabilities=Capabilities(True, False, False, context_tokens=512))
    >>> checks = None  # of the candidates, had the engine written any
    >>> event_loop.run(rewrite(checks, mute, [RareLabel("negative", 1, 3)], "text"))
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: engine mute does not generate text (name another with --writer)
    """
    settings = settings or RewriteSettings()
    prompts = prompts or load_prompts()
    if not writer.capabilities.generates:
        raise ConfigError(
            f"engine {writer.spec} does not generate text", hint="name another with --writer"
        )
    work = _Work(checks, needs, field, settings)
    found: list[Candidate] = []
    error: EngineError | None = None
    number = 0
    while jobs := work.next(len(found)):
        try:
            made = await _round(checks, writer, jobs, field, settings, prompts, number)
        except EngineError as gone:
            if not found:
                raise
            error = gone
            break
        found += made
        work.count(made)
        number += 1
        on_round(found)
    about = {
        "writer": writer.spec,
        "writer_fingerprint": writer.fingerprint,
        "templates": sorted({str(t.ref) for t in prompts.values()}),
        "field": field,
        **asdict(settings),
        **asdict(checks.policy),
    }
    return Augmented(found, needs, about, error)


class _Work:
    """Chooses the examples to rewrite next."""

    def __init__(
        self,
        checks: CandidateFilter,
        needs: Sequence[RareLabel],
        field: str,
        settings: RewriteSettings,
    ) -> None:
        self._missing = Counter({need.label: need.missing for need in needs})
        self._left = settings.generations
        self._attempts = settings.attempts
        self._queues: dict[str, deque[tuple[Example, int]]] = {n.label: deque() for n in needs}
        for example in checks.examples:
            real = not example.synthetic and squeeze(str(example.fields.get(field, "")))
            if real and example.label in self._queues:
                self._queues[example.label].append((example, 0))
        if not any(self._queues.values()):
            names = ", ".join(repr(need.label) for need in needs)
            raise PoolError(
                f"no example of {names} that could be rewritten", hint="label at least one by hand"
            )

    def next(self, done: int) -> list[Example]:
        """The sources of the next round, each once; empty at the end."""
        room = _ROUND if self._left is None else min(_ROUND, self._left - done)
        jobs: list[Example] = []
        for label, queue in self._queues.items():
            for _ in range(min(self._missing[label], len(queue), room - len(jobs))):
                source, times = queue.popleft()
                jobs.append(source)
                if times + 1 < self._attempts:
                    queue.append((source, times + 1))
        return jobs

    def count(self, made: Sequence[Candidate]) -> None:
        self._missing.subtract(c.example.label for c in made if not c.reason)


async def _round(
    checks: CandidateFilter,
    writer: Engine,
    sources: Sequence[Example],
    field: str,
    settings: RewriteSettings,
    prompts: Mapping[Language, Template],
    number: int,
) -> list[Candidate]:
    before = [squeeze(str(source.fields[field])) for source in sources]
    asked = [_prompt(writer, prompts, text) for text in before]
    limit = _limit(writer, before, settings)
    sampling = Sampling(settings.temperature, (settings.seed + number) % (2**32 - 1))
    texts = await writer.generate(asked, max_tokens=limit, stop=("\n",), sampling=sampling)
    draw = f"{settings.seed}/{number}"
    made = [_example(s, field, t, draw) for s, t in zip(sources, texts, strict=True)]
    out: dict[int, Candidate] = {}
    for i, (text, example) in enumerate(zip(texts, made, strict=True)):
        if not isinstance(text, Generation):
            out[i] = Candidate(example, "engine_error", str(text))
        elif _tokens(writer, text.text) >= limit - 1:
            out[i] = Candidate(example, "unfinished", f"{limit} tokens")
        elif (fault := checks.check_text(example, sources[i], asked[i].text)) is not None:
            out[i] = Candidate(example, *fault)
    passed = [i for i in range(len(made)) if i not in out]
    if passed:
        read = await checks.check_reading([made[i] for i in passed], [sources[i] for i in passed])
        out |= dict(zip(passed, read, strict=True))
    return [out[i] for i in range(len(made))]


def _prompt(writer: Engine, prompts: Mapping[Language, Template], text: str) -> Prompt:
    template = prompts[detect_language(text)]
    rendered = template.render({"text": text})
    tokenizer = writer.tokenizer
    ids = () if tokenizer is None else tuple(tokenizer.encode(rendered, bos=True))
    return Prompt(rendered, template.ref, ids)


def _limit(writer: Engine, texts: Sequence[str], settings: RewriteSettings) -> int:
    """Tokens that the longest acceptable rewrite could need."""
    longest = max(_tokens(writer, text) for text in texts)
    return min(settings.max_tokens, 3 * longest + 16) if longest else settings.max_tokens


def _tokens(writer: Engine, text: str) -> int:
    return 0 if writer.tokenizer is None else len(writer.tokenizer.encode(text))


def _example(source: Example, field: str, text: Generation | EngineError, draw: str) -> Example:
    words = squeeze(text.text) if isinstance(text, Generation) else ""
    if len(words) > 1 and words[0] in _QUOTES and words[-1] in _QUOTES:
        words = squeeze(words[1:-1])
    fields = {**source.fields, field: words}
    # Two samples may give the same text; each is a separate candidate.
    digest = hashlib.sha256(json.dumps([source.id, draw, words]).encode()).hexdigest()
    return Example(f"rw-{digest[:12]}", fields, source.label, True, source.id, "rewrite")
