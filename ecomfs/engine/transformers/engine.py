"""An in-process engine for any Hugging Face causal language model, on CPU or GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from ecomfs.core.event_loop import gather_groups
from ecomfs.core.words import first_line
from ecomfs.engine.files import folder_digest
from ecomfs.engine.models import huggingface_source
from ecomfs.engine.packaged import PACKAGED
from ecomfs.engine.protocol import Capabilities, Sampling
from ecomfs.engine.threads import Worker
from ecomfs.engine.transformers.loading import (
    HfTokenizer,
    check_folder,
    load_model,
    pick_device,
    pick_precision,
    runtime,
)
from ecomfs.engine.transformers.prefix import PrefixDecoder, groups
from ecomfs.errors import (
    ContextOverflowError,
    EngineError,
    EngineResponseError,
    EngineUnavailableError,
)
from ecomfs.types import Generation, Prompt, Question, Reading

T = TypeVar("T")
Work = Callable[[PrefixDecoder, list[tuple[int, ...]], list[int]], list[T]]
"""What is done with a batch: token ids of its prompts, and the prompts' positions in the call."""


class TransformersEngine:
    """Reads a Hugging Face model in this process; code from the model's folder is never run.

    Args:
        model: a folder, or a hub id.
        device: ``auto`` (CUDA, then MPS, then CPU), or torch's name of one.
        dtype: ``auto`` (float32 on CPU, the model's own on a GPU), ``float32``, ``bfloat16`` or
            ``float16``.
        batch: prompts computed at once; halved while the GPU's memory does not suffice.
        context: longest prompt plus answer, in tokens; cut to what the model was trained for.
        spec: its name; default ``transformers:<model>``.

    Raises:
        MissingFileError, ModelError: it is not a model that transformers can load.
        EngineUnavailableError: the ``transformers`` extra is not installed.
        ConfigError: no such device or precision.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        batch: int = 8,
        context: int = 4096,
        spec: str | None = None,
    ) -> None:
        name = str(model)
        check_folder(name)
        torch, transformers = runtime()
        self._device = pick_device(torch, device)
        self.spec = spec or f"transformers:{name}"
        precision = pick_precision(torch, dtype, self._device)
        self._model = load_model(transformers, name, precision).to(self._device).eval()
        self.tokenizer = HfTokenizer(transformers.AutoTokenizer.from_pretrained(name))
        self.chat = self.tokenizer.chat_model(self.spec)
        self._batch = max(1, batch)
        config = self._model.config.get_text_config(decoder=True)
        self._context = min(context, getattr(config, "max_position_embeddings", None) or context)
        self._vocabulary = int(config.vocab_size)
        self._reuses = not getattr(self._model, "_is_stateful", False)
        self._decoder: PrefixDecoder | None = PrefixDecoder(self._model, reuse=self._reuses)
        self._worker = Worker("ecomfs-transformers", self.spec)
        self.fingerprint = self._identify(name)

    @classmethod
    def from_name(cls, name: str, spec: str, **options: Any) -> TransformersEngine:
        """The engine of a folder or hub id, or of a packaged model, converted once."""
        model = huggingface_source(name) if name in PACKAGED else name
        return cls(model, spec=spec, **options)

    def _identify(self, name: str) -> str:
        if Path(name).is_dir():
            content = folder_digest(Path(name))[:12]
        else:
            commit = getattr(self._model.config, "_commit_hash", None) or "unknown"
            content = f"{name.replace('/', '--')}@{commit[:12]}"
        precision = str(self._model.dtype).removeprefix("torch.")
        version = metadata.version("transformers")
        return f"transformers-{content}-{precision}-{self._device.type}-{version}"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            logprobs=True,
            generates=True,
            prefix_reuse=self._reuses,
            context_tokens=self._context,
            batch=self._batch,
        )

    async def read(
        self, prompts: Sequence[Prompt], questions: Sequence[Question]
    ) -> list[Reading | EngineError]:
        """See :meth:`ecomfs.engine.protocol.Engine.read`."""
        return await self.read_each(prompts, [questions] * len(prompts))

    async def read_each(
        self, prompts: Sequence[Prompt], questions: Sequence[Sequence[Question]]
    ) -> list[Reading | EngineError]:
        """See :meth:`ecomfs.engine.protocol.SupportsBatchedQuestions.read_each`."""
        codes = {code for asked in questions for q in asked for code in q.codes}
        if bad := [code for code in codes if not 0 <= code < self._vocabulary]:
            raise EngineResponseError(f"{self.spec}: no token {bad[0]} in the vocabulary")

        async def ask(
            suffixes: tuple[tuple[int, ...], ...], places: list[int]
        ) -> list[Reading | EngineError]:
            def look(
                decoder: PrefixDecoder, ids: list[tuple[int, ...]], which: list[int]
            ) -> list[Reading]:
                if not suffixes:
                    return [Reading((), prompt_tokens=len(i)) for i in ids]
                rows = [(*i, *suffix) for i in ids for suffix in suffixes]
                logprobs, reused = decoder.next_logprobs(rows)
                return [
                    _reading(
                        i, n * len(suffixes), suffixes, questions[places[at]], logprobs, reused
                    )
                    for n, (i, at) in enumerate(zip(ids, which, strict=True))
                ]

            # Several suffixes: the rows of one prompt are a batch, and the prompt is its prefix.
            size = self._batch if len(suffixes) == 1 else 1
            room = 1 + max(map(len, suffixes), default=0)
            return await self._each([prompts[i] for i in places], look, size=size, room=room)

        places = [tuple(dict.fromkeys(q.suffix for q in asked)) for asked in questions]
        return await gather_groups(places, ask)

    async def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        sampling: Sampling | None = None,
    ) -> list[Generation | EngineError]:
        """See :meth:`ecomfs.engine.protocol.Engine.generate`."""
        self._opened()
        torch, transformers = runtime()
        stops = tuple(stop)
        ends = self._model.generation_config.eos_token_id
        pad = (ends[0] if isinstance(ends, list) else ends) or 0
        # The model's own settings (sampling, repetition penalty) would not be greedy.
        settings = transformers.GenerationConfig(
            max_new_tokens=max_tokens,
            eos_token_id=ends,
            pad_token_id=pad,
            do_sample=sampling is not None,
            **({} if sampling is None else {"temperature": sampling.temperature}),
        )

        devices = [self._device] if self._device.type == "cuda" else []

        def write(_: PrefixDecoder, ids: list[tuple[int, ...]], __: list[int]) -> list[Generation]:
            width = max(map(len, ids))
            rows = [[pad] * (width - len(i)) + list(i) for i in ids]
            mask = [[0] * (width - len(i)) + [1] * len(i) for i in ids]
            with torch.random.fork_rng(devices), torch.inference_mode():
                if sampling is not None:
                    torch.manual_seed(sampling.seed)
                output = self._model.generate(
                    torch.tensor(rows, device=self._device),
                    attention_mask=torch.tensor(mask, device=self._device),
                    generation_config=settings,
                )
            texts = [self.tokenizer.plain(row[width:].tolist()) for row in output]
            return [Generation(_cut(t, stops), len(i)) for t, i in zip(texts, ids, strict=True)]

        return await self._each(prompts, write, size=self._batch, room=max_tokens)

    def _opened(self) -> PrefixDecoder:
        if self._decoder is None:
            raise EngineUnavailableError(f"{self.spec}: the engine is closed")
        return self._decoder

    async def _each(
        self,
        prompts: Sequence[Prompt],
        work: Work[T],
        *,
        size: int,
        room: int,
    ) -> list[T | EngineError]:
        """``work`` for all prompts that fit the context, at most ``size`` at a time."""
        decoder = self._opened()

        def job(given_up: threading.Event) -> list[T | EngineError]:
            ids = [p.token_ids or tuple(self.tokenizer.encode(p.text, bos=True)) for p in prompts]
            answers: dict[int, T | EngineError] = {}
            fitting = []
            for i in range(len(ids)):
                error = self._misfit(ids[i], room)
                if error is None:
                    fitting.append(i)
                else:
                    answers[i] = error
            for batch in groups([ids[i] for i in fitting], size):
                if given_up.is_set():
                    break
                group = [fitting[n] for n in batch]
                results = self._within_memory(decoder, work, [ids[i] for i in group], group)
                answers.update(zip(group, results, strict=True))
            return [answers[i] for i in sorted(answers)]

        return await self._worker.run(job)

    def _misfit(self, ids: tuple[int, ...], room: int) -> EngineError | None:
        if not ids:
            return EngineResponseError(f"{self.spec}: an empty prompt cannot be read")
        if len(ids) + room > self._context:
            return ContextOverflowError(
                f"{self.spec}: a prompt of {len(ids)} tokens and {room} to answer do not fit "
                f"the context of {self._context}",
                hint="fewer demonstrations (--k), shorter texts, or a larger context",
            )
        if bad := next((i for i in ids if not 0 <= i < self._vocabulary), None):
            return EngineResponseError(f"{self.spec}: no token {bad} in the vocabulary")
        return None

    def _within_memory(
        self,
        decoder: PrefixDecoder,
        work: Work[T],
        ids: list[tuple[int, ...]],
        which: list[int],
    ) -> list[T | EngineError]:
        torch, _ = runtime()
        try:
            return [*work(decoder, ids, which)]
        except torch.OutOfMemoryError as error:
            decoder.forget()
            torch.cuda.empty_cache()
            if len(ids) == 1:
                return [
                    EngineResponseError(
                        f"{self.spec}: out of memory with one prompt of {len(ids[0])} tokens: "
                        f"{first_line(error)}",
                        hint="a smaller model, dtype=bfloat16, or fewer demonstrations (--k)",
                    )
                ]
        half = len(ids) // 2
        return [
            result
            for part in (slice(half), slice(half, None))
            for result in self._within_memory(decoder, work, ids[part], which[part])
        ]

    async def aclose(self) -> None:
        """Release the model; closing twice is fine."""
        if self._decoder is not None:
            self._decoder = None
            self._model = None
            self._worker.close()


def _reading(
    ids: tuple[int, ...],
    start: int,
    suffixes: Sequence[tuple[int, ...]],
    questions: Sequence[Question],
    logprobs: Any,
    reused: Sequence[int],
) -> Reading:
    row = {suffix: logprobs[start + n] for n, suffix in enumerate(suffixes)}
    return Reading(
        tuple(tuple(row[q.suffix][list(q.codes)].tolist()) for q in questions),
        prompt_tokens=len(ids),
        cached_tokens=min(reused[start], len(ids)),
    )


def _cut(text: str, stops: Sequence[str]) -> str:
    ends = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text
