"""An in-process engine for any Hugging Face causal language model, on CPU or GPU."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from ecomfs.core.cpus import sleeping_threads
from ecomfs.core.event_loop import gather_groups
from ecomfs.core.messages import first_line
from ecomfs.engine.chat import ChatModel, ChatTemplate
from ecomfs.engine.files import folder_digest
from ecomfs.engine.in_process import InProcessEngine, Tokens, Work, Worker
from ecomfs.engine.models import check_folder, huggingface_source
from ecomfs.engine.packaged import PACKAGED
from ecomfs.engine.protocol import Capabilities, Sampling
from ecomfs.engine.transformers.prefix import PrefixDecoder, groups
from ecomfs.errors import (
    ConfigError,
    EngineError,
    EngineResponseError,
    EngineUnavailableError,
    ModelError,
)
from ecomfs.types import Generation, Prompt, Question, Reading

T = TypeVar("T")
_PRECISIONS = ("auto", "float32", "bfloat16", "float16")


class TransformersEngine(InProcessEngine):
    """Reads a Hugging Face model in this process; code from the model's folder is never run.

    Args:
        model: a folder, or a hub id.
        device: ``auto`` (CUDA, then MPS, then CPU), or torch's name of a device.
        dtype: ``auto`` (float32 on CPU, the model's own on a GPU), ``float32``, ``bfloat16`` or
            ``float16``.
        batch: prompts computed at once; halved when GPU memory runs out.
        context: longest prompt plus answer, in tokens; limited to the model's training context.
        spec: its name; default ``transformers:<model>``.

    Raises:
        MissingFileError, ModelError: transformers cannot load the model.
        EngineUnavailableError: the ``transformers`` extra is not installed.
        ConfigError: there is no such device or precision.
    """

    tokenizer: HfTokenizer

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
        reuses = not getattr(self._model, "_is_stateful", False)
        self._decoder: PrefixDecoder | None = PrefixDecoder(self._model, reuse=reuses)
        self.capabilities = Capabilities(
            logprobs=True,
            generates=True,
            prefix_reuse=reuses,
            context_tokens=self._context,
            batch=self._batch,
        )
        self._worker = Worker("ecomfs-transformers", self.spec)
        self.fingerprint = self._identify(name)

    @classmethod
    def from_name(cls, name: str, spec: str, **options: Any) -> TransformersEngine:
        """Open the engine for a folder or hub id, or for a packaged model, which is converted
        once."""
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

    async def read(
        self, prompts: Sequence[Prompt], questions: Sequence[Question]
    ) -> list[Reading | EngineError]:
        """See :meth:`ecomfs.engine.protocol.Engine.read`."""
        return await self.read_each(prompts, [questions] * len(prompts))

    async def read_each(
        self, prompts: Sequence[Prompt], questions: Sequence[Sequence[Question]]
    ) -> list[Reading | EngineError]:
        """See :meth:`ecomfs.engine.protocol.SupportsBatchedQuestions.read_each`."""
        self._check_codes(questions)

        async def ask(
            suffixes: tuple[Tokens, ...], places: list[int]
        ) -> list[Reading | EngineError]:
            decoder = self._opened()

            def look(ids: list[Tokens], which: list[int]) -> list[Reading]:
                if not suffixes:
                    return [Reading((), prompt_tokens=len(i)) for i in ids]
                rows = [(*i, *suffix) for i in ids for suffix in suffixes]
                logprobs, reused = decoder.next_logprobs(rows)
                readings = []
                for n, (i, at) in enumerate(zip(ids, which, strict=True)):
                    start = n * len(suffixes)
                    row = dict(zip(suffixes, logprobs[start : start + len(suffixes)], strict=True))
                    found = [row[q.suffix][list(q.codes)].tolist() for q in questions[places[at]]]
                    cached = min(reused[start], len(i))
                    readings.append(Reading(tuple(map(tuple, found)), len(i), cached))
                return readings

            # With several suffixes, the rows of one prompt are a batch with the prompt as prefix.
            size = self._batch if len(suffixes) == 1 else 1
            room = 1 + max(map(len, suffixes), default=0)
            return await self._grouped([prompts[i] for i in places], look, size=size, room=room)

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
        ends = self._model.generation_config.eos_token_id
        pad = (ends[0] if isinstance(ends, list) else ends) or 0
        # The model's own settings (sampling, repetition penalty) would not give greedy decoding.
        settings = transformers.GenerationConfig(
            max_new_tokens=max_tokens,
            eos_token_id=ends,
            pad_token_id=pad,
            do_sample=sampling is not None,
            **({} if sampling is None else {"temperature": sampling.temperature}),
        )
        devices = [self._device] if self._device.type == "cuda" else []

        def write(ids: list[Tokens], _: list[int]) -> list[Generation]:
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
            texts = [self.tokenizer.decode(row[width:].tolist(), plain=True) for row in output]
            return [Generation(_cut(t, stop), len(i)) for t, i in zip(texts, ids, strict=True)]

        return await self._grouped(prompts, write, size=self._batch, room=max_tokens)

    def _opened(self) -> PrefixDecoder:
        if self._decoder is None:
            raise EngineUnavailableError(f"{self.spec}: the engine is closed")
        return self._decoder

    async def _grouped(
        self, prompts: Sequence[Prompt], work: Work[T], *, size: int, room: int
    ) -> list[T | EngineError]:
        def within_memory(ids: list[Tokens], which: list[int]) -> list[T | EngineError]:
            return self._within_memory(work, ids, which)

        return await self._each(prompts, within_memory, lambda rows: groups(rows, size), room=room)

    def _misfit(self, ids: Tokens, room: int) -> EngineError | None:
        if error := super()._misfit(ids, room):
            return error
        if bad := next((i for i in ids if not 0 <= i < self._vocabulary), None):
            return EngineResponseError(f"{self.spec}: no token {bad} in the vocabulary")
        return None

    def _within_memory(
        self, work: Work[T], ids: list[Tokens], which: list[int]
    ) -> list[T | EngineError]:
        torch, _ = runtime()
        try:
            return [*work(ids, which)]
        except torch.OutOfMemoryError as error:
            self._opened().forget()
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
            for result in self._within_memory(work, ids[part], which[part])
        ]

    async def aclose(self) -> None:
        """Free the model; it may be called twice."""
        if self._decoder is not None:
            self._decoder = None
            self._model = None
            self._worker.close()


def _cut(text: str, stops: Sequence[str]) -> str:
    ends = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def runtime() -> tuple[Any, Any]:
    """The torch and transformers modules."""
    try:
        with sleeping_threads():
            import torch
        import transformers
    except ImportError as error:
        raise EngineUnavailableError(
            f"this engine needs {error.name}, which is not installed",
            hint="pip install 'ecomfs[transformers]'",
        ) from error
    return torch, transformers


def pick_device(torch: Any, name: str) -> Any:
    """The torch device of that name; ``auto``: CUDA, then MPS, then CPU."""
    if name == "auto":
        name = "cpu"
        if torch.cuda.is_available():
            name = "cuda"
        elif torch.backends.mps.is_available():
            name = "mps"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} cannot be used", hint="device=auto or cpu") from error
    return device


def pick_precision(torch: Any, dtype: str, device: Any) -> Any:
    """The argument of ``from_pretrained`` for ``dtype``."""
    if dtype not in _PRECISIONS:
        raise ConfigError(f"dtype {dtype!r}", hint=f"one of: {', '.join(_PRECISIONS)}")
    if dtype == "auto":
        # Many CPUs compute bfloat16 many times slower.
        return torch.float32 if device.type == "cpu" else "auto"
    return getattr(torch, dtype)


def load_model(transformers: Any, name: str, precision: Any) -> Any:
    """The causal language model; code from its folder is never run."""
    transformers.utils.logging.disable_progress_bar()
    try:
        return transformers.AutoModelForCausalLM.from_pretrained(
            name, dtype=precision, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{name}: transformers cannot load this model: {first_line(error)}",
            hint="a folder with config.json and weights, or a hub id that can be reached",
        ) from error


class HfTokenizer:
    """A model's own tokenizer through transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        plain = self.encode("a")
        whole = list(tokenizer("a", add_special_tokens=True)["input_ids"])
        self._bos = whole[: whole.index(plain[0])] if plain and plain[0] in whole else []

    def encode(self, text: str, *, bos: bool = False) -> list[int]:
        """Token ids; text that looks like a control token stays plain text."""
        return self.encode_all([text], bos=bos)[0]

    def encode_all(self, texts: Sequence[str], *, bos: bool = False) -> list[list[int]]:
        """See :func:`ecomfs.engine.protocol.encode_all`."""
        if not texts:
            return []
        options = {"add_special_tokens": False, "split_special_tokens": True}
        found = self._tokenizer(list(texts), **options)["input_ids"]
        return [[*self._bos, *ids] if bos else list(ids) for ids in found]

    def encode_control(self, text: str) -> list[int]:
        """Token ids of a part of a chat template's frame: control tokens in it are parsed."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def chat_model(self, where: str) -> ChatModel | None:
        """The chat template of the model; ``None`` if its folder has none."""
        source = getattr(self._tokenizer, "chat_template", None)
        if isinstance(source, dict):  # several, by use
            source = source.get("default")
        if not source:
            return None
        named = self._tokenizer.special_tokens_map
        tokens = {name: str(token) for name, token in named.items() if name.endswith("_token")}
        template = ChatTemplate(source, tokens, where)
        return ChatModel(template.identity, template.render, self.encode_control)

    def decode(self, ids: Sequence[int], *, plain: bool = False) -> str:
        """Text of token ids; ``plain``: without control tokens."""
        options = {"skip_special_tokens": plain, "clean_up_tokenization_spaces": False}
        return str(self._tokenizer.decode(list(ids), **options))
