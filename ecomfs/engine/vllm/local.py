"""vLLM in this process, without HTTP: for a whole table on one machine.

It answers the same questions as a served vLLM (:mod:`ecomfs.engine.vllm.engine`), from token ids in
large batches that vLLM schedules itself. Cached tokens are known for every prompt.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from ecomfs.core.messages import first_line
from ecomfs.core.retry import permanent
from ecomfs.engine.files import folder_digest
from ecomfs.engine.in_process import InProcessEngine, Tokens, Work, Worker, in_order
from ecomfs.engine.models import huggingface_source
from ecomfs.engine.protocol import Capabilities, ChosenAnswer, Sampling, sampling_options
from ecomfs.engine.transformers.engine import HfTokenizer
from ecomfs.engine.vllm import wire
from ecomfs.engine.vllm.server import CPU_CONTEXT, cpu_settings, private
from ecomfs.errors import (
    EngineError,
    EngineResponseError,
    EngineUnavailableError,
    ModelError,
    RequestRefusedError,
)
from ecomfs.types import Generation, Prompt, Question, Reading

NEEDS = "pip install 'ecomfs[vllm]' (0.15 or newer)"


def load(folder: str, kv_cache_gib: int) -> tuple[Any, Any, Any]:
    """Import vLLM, torch and transformers with these settings of vLLM: no telemetry, no second
    process (whose start would run the user's script again), all cores."""
    os.environ.update(private(folder))
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    for name, value in cpu_settings(kv_cache_gib).items():
        os.environ.setdefault(name, value)
    try:
        vllm = import_module("vllm")
        return vllm, import_module("torch"), import_module("transformers")
    except ImportError as error:
        raise EngineUnavailableError(
            f"this engine needs {error.name}, which is not installed", hint=NEEDS
        ) from error


@contextmanager
def translating(spec: str) -> Iterator[None]:
    """Translate vLLM's exceptions, whose classes differ between versions, to errors of ecomfs.

    >>> with translating("vllm-local:x"):
    ...     raise ValueError("temperature must be in [0, 2]")
    Traceback (most recent call last):
    ecomfs.errors.RequestRefusedError: vllm-local:x: vLLM refuses: temperature must be in [0, 2]
    """
    try:
        yield
    except Exception as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if kinds & {"ValueError", "VLLMClientError"}:
            raise RequestRefusedError(f"{spec}: vLLM refuses: {error}") from error
        if isinstance(error, TypeError):  # a setting that it does not know
            hint = NEEDS
        elif isinstance(error, RuntimeError):
            hint = "see vLLM's log above"
        else:
            raise
        message = f"{spec}: vLLM failed: {first_line(error)}"
        raise permanent(EngineUnavailableError(message, hint=hint)) from error


T = TypeVar("T")


class VllmLocalEngine(InProcessEngine):
    """Reads a Hugging Face model through ``vllm.LLM``; code from the model's folder is never run.

    Args:
        model: a folder, a hub id, or a GGUF model (converted once): ``demo``, ``smollm2``, a file.
        context: longest prompt plus answer, in tokens; default: the model's training context, on
            CPU at most 4096.
        dtype: vLLM's name of a precision; default: the model's own on a GPU, float32 on CPU.
        batch: prompts per call.
        kv_cache_gib: memory for keys and values on CPU, in GiB.
        gpu_memory: share of the GPU's memory to use.
        tensor_parallel: number of GPUs for the model.
        load_format: vLLM's name of a loading method; ``dummy``: random weights, to measure speed
            with a folder that has only a configuration and a tokenizer.

    Raises:
        EngineUnavailableError: vLLM is not installed, or is too old.
        MissingFileError, ModelError: vLLM cannot load the model.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        context: int | None = None,
        dtype: str = "auto",
        batch: int = 256,
        kv_cache_gib: int = 2,
        gpu_memory: float = 0.9,
        tensor_parallel: int = 1,
        load_format: str = "auto",
    ) -> None:
        self.spec = f"vllm-local:{model}"
        folder = huggingface_source(str(model))
        self._vllm, torch, transformers = load(folder, kv_cache_gib)
        gpu = bool(torch.cuda.is_available())
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        text = config.get_text_config(decoder=True)
        self._vocabulary = int(text.vocab_size)
        trained = int(getattr(text, "max_position_embeddings", 0) or CPU_CONTEXT)
        self._context = min(context or (trained if gpu else CPU_CONTEXT), trained)
        self._dtype = dtype if dtype != "auto" or gpu else "float32"
        settings: dict[str, Any] = {
            "model": folder,
            "dtype": self._dtype,
            "max_model_len": self._context,
            "enable_prefix_caching": True,
            "generation_config": "vllm",  # greedy means greedy
            "logprobs_mode": "raw_logprobs",  # before any mask
            "trust_remote_code": False,
            "tensor_parallel_size": tensor_parallel,
            "load_format": load_format,
        }
        if gpu:
            settings["gpu_memory_utilization"] = gpu_memory
        else:
            settings |= {"enforce_eager": True, "block_size": 32}
        try:
            self._llm: Any = self._vllm.LLM(**settings)
        except Exception as error:  # classes differ between versions
            raise ModelError(
                f"{model}: vLLM cannot load this model: {first_line(error)}",
                hint="see its log above; a smaller context or kv_cache_gib needs less",
            ) from error
        self.tokenizer = HfTokenizer(transformers.AutoTokenizer.from_pretrained(folder))
        self.chat = self.tokenizer.chat_model(self.spec)
        self._batch = max(1, batch)
        self._worker = Worker("ecomfs-vllm", self.spec)
        content = folder_digest(Path(folder)) if Path(folder).is_dir() else folder
        name = content[:12] if Path(folder).is_dir() else folder.replace("/", "--")
        weights = "" if load_format == "auto" else f"-{load_format}"
        self.fingerprint = f"vllm-local-{name}-{self._dtype}{weights}-{self._vllm.__version__}"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            logprobs=True,
            generates=True,
            prefix_reuse=True,
            context_tokens=self._context,
            batch=self._batch,
            codes_per_look=wire.MAX_CODES,
            choice=True,
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
        self._check_codes(questions)

        async def ask(part: wire.Part, places: list[int]) -> list[wire.PartAnswer | EngineError]:
            mine = [prompts[place] for place in places]
            return await self._batched(
                mine, 1 + len(part.suffix), lambda rows, _: self._read_part(rows, part)
            )

        async def rows() -> list[Tokens]:
            return self._encoded(prompts)

        return await wire.read_parts(questions, rows, ask)

    async def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        sampling: Sampling | None = None,
    ) -> list[Generation | EngineError]:
        """See :meth:`ecomfs.engine.protocol.Engine.generate`."""
        how = self._params(max_tokens=max_tokens, stop=list(stop), **sampling_options(sampling))
        return await self._batched(prompts, max_tokens, lambda rows, _: self._texts(rows, how))

    async def choose(
        self, prompts: Sequence[Prompt], answers: Sequence[str]
    ) -> list[ChosenAnswer | EngineError]:
        """See :meth:`ecomfs.engine.protocol.SupportsChoice.choose`."""
        # The constraint works on characters, so any tokenization of an answer is possible.
        room = 1 + max(len(answer.encode()) for answer in answers)
        params = import_module("vllm.sampling_params")
        how = self._params(
            max_tokens=room,
            temperature=0.0,
            logprobs=wire.TOP,
            structured_outputs=params.StructuredOutputsParams(choice=list(answers)),
        )
        return await self._batched(prompts, room, lambda rows, _: self._chosen(rows, how))

    async def pick(self, prompt: Prompt, allowed: Sequence[int]) -> int:
        """The most likely token among ``allowed``, to check that constrained decoding is
        enforced."""
        codes = tuple(allowed)[: wire.MAX_CODES]

        def job(rows: list[Tokens], _: list[int]) -> list[int]:
            return [int(out.outputs[0].token_ids[0]) for out in self._run(rows, self._asks(codes))]

        (token,) = await self._batched([prompt], 1, job)
        if isinstance(token, EngineError):
            raise token
        return token

    async def aclose(self) -> None:
        """Free the model; it may be called twice."""
        llm, self._llm = self._llm, None
        if llm is None or self._worker.forked:
            return

        def shut(_: threading.Event) -> None:
            llm.llm_engine.engine_core.shutdown()

        await self._worker.run(shut)
        self._worker.close()

    def _params(self, **settings: Any) -> Any:
        with translating(self.spec):
            return self._vllm.SamplingParams(**settings)

    def _asks(self, codes: tuple[int, ...]) -> Any:
        return self._params(
            max_tokens=1,
            temperature=0.0,
            logprob_token_ids=list(codes),
            allowed_token_ids=list(codes),
            detokenize=False,
        )

    def _read_part(
        self, rows: list[Tokens], part: wire.Part
    ) -> list[wire.PartAnswer | EngineError]:
        found: list[wire.PartAnswer | EngineError] = []
        allowed = set(part.codes)
        asked = [(*row, *part.suffix) for row in rows]
        for out in self._run(asked, self._asks(part.codes)):
            answer = out.outputs[0]
            top = {token: value.logprob for token, value in answer.logprobs[0].items()}
            if not allowed <= top.keys() or answer.token_ids[0] not in allowed:
                raise EngineResponseError(
                    f"{self.spec}: vLLM gave no log-probabilities of the codes, or sampled "
                    "another token",
                    hint=NEEDS,
                )
            values = {code: float(top[code]) for code in part.codes}
            found.append(wire.part_answer(values, int(out.num_cached_tokens or 0)))
        return found

    def _texts(self, rows: list[Tokens], how: Any) -> list[Generation]:
        return [
            Generation(out.outputs[0].text, len(row), int(out.num_cached_tokens or 0))
            for row, out in zip(rows, self._run(rows, how), strict=True)
        ]

    def _chosen(self, rows: list[Tokens], how: Any) -> list[ChosenAnswer]:
        found = []
        for row, out in zip(rows, self._run(rows, how), strict=True):
            answer = out.outputs[0]
            steps = tuple(
                (
                    str(listed[token].decoded_token),
                    {str(v.decoded_token): float(v.logprob) for v in listed.values()},
                )
                for token, listed in zip(answer.token_ids, answer.logprobs or (), strict=False)
            )
            found.append(
                ChosenAnswer(answer.text, steps, len(row), int(out.num_cached_tokens or 0))
            )
        return found

    def _run(self, rows: list[Tokens], how: Any) -> list[Any]:
        prompts = [{"prompt_token_ids": list(row)} for row in rows]
        with translating(self.spec):
            answers: list[Any] = self._llm.generate(prompts, how, use_tqdm=False)
            return answers

    async def _batched(
        self, prompts: Sequence[Prompt], room: int, work: Work[T]
    ) -> list[T | EngineError]:
        if self._llm is None:
            raise EngineUnavailableError(f"{self.spec}: the engine is closed")
        return await self._each(prompts, work, lambda rows: in_order(rows, self._batch), room=room)
