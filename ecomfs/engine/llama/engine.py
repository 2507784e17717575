"""The embedded engine: reads a GGUF model in this process with llama.cpp, through xllamacpp.

It needs no torch, compiler or server, and gives the first label within seconds.

**A reading depends on the prompt alone.** llama.cpp computes one token and many tokens by different
code paths, and int8 activations turn their rounding differences into up to 0.3 nats. With plain
prefix caching, the number of new tokens depends on earlier prompts, so a row would get other
probabilities in another order. Here every prompt is computed in blocks of :data:`BLOCK` tokens
counted from its start, and a cached prefix is used only up to a block border, so that the
arithmetic is always the same. This costs one decoded token and half a block per prompt. The tokens
of an answer (suffixes of questions) are computed after the whole prompt, all of one suffix
together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from ecomfs.engine.chat import ChatModel, ChatTemplate
from ecomfs.engine.files import OpenFiles, sha256_cached
from ecomfs.engine.gguf import check_gguf, header_text, split_parts
from ecomfs.engine.in_process import InProcessEngine, Tokens, Worker, in_order
from ecomfs.engine.llama.model import BLOCK, LlamaServer
from ecomfs.engine.llama.process import LlamaTokenizer
from ecomfs.engine.models import gguf_file
from ecomfs.engine.protocol import Capabilities, Sampling
from ecomfs.errors import ConfigError, EngineError, EngineUnavailableError
from ecomfs.types import Generation, Prompt, Question, Reading

T = TypeVar("T")


class GgufEngine(InProcessEngine):
    """Reads a GGUF model in this process.

    Args:
        path: the model file; for a split model the first part, with the others in the same folder.
        context: longest prompt plus answer, in tokens; limited to the model's training context.
        threads: CPU threads; default: the CPUs this process may use.
        repeatable: compute prompts in fixed blocks, so that a reading does not depend on earlier
            prompts (see the module). ``False`` saves 50–70 ms per prompt on two cores.
        block: tokens per block, 32 or more. Other values change the last digits.
        cache_salt: cached readings are shared only between engines with the same salt.
        spec: its name; default ``gguf:<path>``.

    Raises:
        ConfigError: ``block`` is too small.
        MissingFileError: there is no such file.
        ModelError: the file is not a GGUF model, or llama.cpp cannot load it.
        EngineUnavailableError: xllamacpp is not installed.
    """

    tokenizer: LlamaTokenizer

    def __init__(
        self,
        path: str | Path,
        *,
        context: int = 4096,
        threads: int | None = None,
        repeatable: bool = True,
        block: int = BLOCK,
        cache_salt: str | None = None,
        spec: str | None = None,
    ) -> None:
        self.cache_salt = None if cache_salt is None else str(cache_salt)
        if block < BLOCK:
            raise ConfigError(f"block={block}", hint=f"{BLOCK} or more")
        file = Path(path).expanduser()
        check_gguf(file)
        split_parts(file)
        self.spec = spec or f"gguf:{file}"
        self._order = f"blocks{block}" if repeatable else "free"
        self._worker = Worker("ecomfs-gguf", self.spec)
        self._server: LlamaServer | None = LlamaServer(
            file, context=context, threads=threads, repeatable=repeatable, block=block
        )
        self.capabilities = Capabilities(
            logprobs=True,
            generates=True,
            prefix_reuse=True,
            context_tokens=self._server.context_tokens,
            batch=16,
        )
        self.tokenizer = self._server.tokenizer
        try:
            self.fingerprint = self._identify(file)
            self.chat = self._chat_model(file)
        except BaseException:
            self._server.close()
            raise

    @classmethod
    def from_name(cls, name: str, spec: str, **options: Any) -> GgufEngine:
        """Open the engine for a name that :func:`ecomfs.engine.models.gguf_file` accepts."""
        return cls(gguf_file(name), spec=spec, **options)

    def _identify(self, file: Path) -> str:
        digests = {part: sha256_cached(part) for part in split_parts(file)}
        self._files = OpenFiles(digests)
        hashes = [*digests.values()]
        content = hashes[0] if len(hashes) == 1 else sha256("".join(hashes).encode()).hexdigest()
        return f"gguf-{content[:12]}-xllamacpp{metadata.version('xllamacpp')}-{self._order}"

    def _chat_model(self, file: Path) -> ChatModel | None:
        """The chat template of the model. (llama.cpp itself falls back to a template that a base
        model was not trained on.)"""
        source = header_text(file, "tokenizer.chat_template")
        if not source:
            return None
        template = ChatTemplate(source, self.tokenizer.control_tokens(), self.spec)
        return ChatModel(template.identity, template.render, self.tokenizer.encode_control)

    async def read(
        self, prompts: Sequence[Prompt], questions: Sequence[Question]
    ) -> list[Reading | EngineError]:
        """See :meth:`ecomfs.engine.protocol.Engine.read`."""
        asked = tuple(questions)
        return await self._one_by_one(prompts, lambda server, ids: server.read(ids, asked))

    async def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        sampling: Sampling | None = None,
    ) -> list[Generation | EngineError]:
        """See :meth:`ecomfs.engine.protocol.Engine.generate`."""
        stops = tuple(stop)
        return await self._one_by_one(
            prompts,
            lambda server, ids: server.generate(
                ids, max_tokens=max_tokens, stop=stops, sampling=sampling
            ),
        )

    async def _one_by_one(
        self, prompts: Sequence[Prompt], look: Callable[[LlamaServer, Tokens], T]
    ) -> list[T | EngineError]:
        server = self._server
        if server is None:
            raise EngineUnavailableError(
                f"{self.spec}: the engine is closed", hint="open it again with open_engine"
            )

        def work(ids: list[Tokens], _: list[int]) -> list[T | EngineError]:
            try:
                return [look(server, ids[0])]
            except EngineError as error:
                return [error]

        return await self._each(prompts, work, lambda rows: in_order(rows, 1), room=0)

    def _encoded(self, prompts: Sequence[Prompt]) -> list[Tokens]:
        self._files.check()
        return super()._encoded(prompts)

    def _misfit(self, ids: Tokens, room: int) -> None:
        """Always ``None``: the server itself reports prompts that it cannot read."""

    async def aclose(self) -> None:
        """Free the model after the current job. It may be called twice, and does nothing in a
        forked child."""
        server, self._server = self._server, None
        if server is not None and not self._worker.forked:
            await self._worker.run(lambda _: server.close())
            self._worker.close()
