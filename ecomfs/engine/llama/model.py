"""A wrapper of llama.cpp with blocking calls, for one thread at a time."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecomfs.core.cpus import sleeping_threads, usable_cpus
from ecomfs.engine.in_process import Tokens
from ecomfs.engine.llama.process import open_process
from ecomfs.engine.protocol import Sampling, sampling_options
from ecomfs.errors import (
    ContextOverflowError,
    EngineResponseError,
    EngineUnavailableError,
    ModelError,
)
from ecomfs.types import Generation, Question, Reading

BLOCK = 32
"""Tokens computed at once. Larger blocks are faster for a new prompt, but more of a shared prefix
must be computed again, which costs more (``eval/bench/engine_speed.py`` measures both)."""

_TOP = 512  # top tokens requested first: takes 3 ms more than one, and is usually enough
_BIAS = 100.0  # nats; raises the requested tokens above all others
_AHEAD = 25.0  # nats; raises the reference above the requested tokens
_HTTP_SECONDS = 30


class LlamaServer:
    """One GGUF model in memory, with one key/value cache of ``context`` tokens."""

    def __init__(
        self, file: Path, *, context: int, threads: int | None, repeatable: bool, block: int
    ) -> None:
        xllamacpp = _runtime()
        self._block = block
        self._name = file.name
        key = secrets.token_urlsafe(24)
        self._repeatable = repeatable
        self._held: Tokens = ()  # tokens at the beginning of the cache
        self._end = 0  # number of them computed in blocks; the rest follows
        self._generated = False  # whether unknown tokens follow
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_ctx = context
        params.n_parallel = 1
        # Sliding-window models drop old keys otherwise, and then no prefix can be taken up.
        params.swa_full = True
        threads = threads or len(usable_cpus())
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        if repeatable:
            params.n_ubatch = block
            params.n_ctx_checkpoints = 0  # they cut a prompt at other places
        params.cache_ram_mib = 0  # 8 GiB by default
        params.warmup = False
        params.verbosity = -1
        # llama.cpp always opens an HTTP port (loopback, a free one). The key keeps others out.
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.api_keys = [key]
        params.ui = False
        params.endpoint_slots = False
        params.endpoint_props = False
        params.endpoint_metrics = False
        # An hour by default: closing waits for requests in progress.
        params.timeout_read = params.timeout_write = _HTTP_SECONDS

        def start() -> Any:
            try:
                return xllamacpp.Server(params)
            except RuntimeError as error:
                hint = "the file may be cut short, of a newer architecture, or larger than memory"
                raise ModelError(f"{file}: llama.cpp cannot load this model", hint=hint) from error

        self._process = open_process(start, self._name, key)
        try:
            self.tokenizer = self._process.http
            meta = self.tokenizer.model_meta()
            self.vocabulary = int(meta["n_vocab"])
            self._plain = self.tokenizer.encode("a")[-1]
            self.context_tokens = min(int(meta["n_ctx"]), int(meta["n_ctx_train"]))
        except BaseException:
            self._process.close()
            raise

    def read(self, ids: Tokens, questions: Sequence[Question]) -> Reading:
        """The exact log-probabilities for every question about the prompt ``ids``."""
        wanted: dict[Tokens, set[int]] = {}
        for question in questions:
            wanted.setdefault(question.suffix, set()).update(question.codes)
        found: dict[Tokens, dict[int, float]] = {}
        cached: int | None = None
        if self._repeatable and () not in wanted and not self._holds(ids):
            cached = _cached(self._complete(ids, n_predict=0))
        for suffix in sorted(wanted):
            found[suffix], reused = self._look(ids, suffix, wanted[suffix])
            cached = min(reused, len(ids)) if cached is None else cached
        return Reading(
            tuple(tuple(found[q.suffix][code] for code in q.codes) for q in questions),
            prompt_tokens=len(ids),
            cached_tokens=cached or 0,
        )

    def _look(self, ids: Tokens, suffix: Tokens, codes: set[int]) -> tuple[dict[int, float], int]:
        for code in codes:
            if not 0 <= code < self.vocabulary:
                raise EngineResponseError(f"{self._name}: no token {code} in the vocabulary")
        # llama.cpp reports nothing if the sampled token is part of a character, so a bias forces a
        # plain token; it does not change the reported log-probabilities.
        answer = self._complete(
            ids, suffix, n_predict=1, n_probs=_TOP, logit_bias=[[self._plain, 10 * _BIAS]]
        )
        listed = _first_token(answer)["top_logprobs"]
        top: dict[int, float] = {t["id"]: t["logprob"] for t in listed}
        if missing := codes - top.keys():
            reference = next((t["id"] for t in reversed(listed) if _is_plain(t)), None)
            if reference is None:
                raise EngineResponseError(f"{self._name}: no readable token is likely here")
            top |= self._outside_top(ids, suffix, missing, reference, top[reference])
        return {code: top[code] for code in codes}, _cached(answer)

    def _outside_top(
        self, ids: Tokens, suffix: Tokens, codes: set[int], reference: int, known: float
    ) -> dict[int, float]:
        """Exact log-probabilities of tokens that are too unlikely for the top list.

        A bias raises them and one token of known probability above the rest of the vocabulary and
        keeps their ratios: log p(code) = log p(reference) + log ratio. The reference is the least
        likely plain token of the list, because single precision ends at e^-87. Its bias is larger,
        so that it is the sampled token.
        """
        found: dict[int, float] = {}
        lift = dict.fromkeys(codes, _BIAS)
        while pending := codes - found.keys():
            answer = self._complete(
                ids,
                suffix,
                n_predict=1,
                n_probs=len(pending) + 1,
                post_sampling_probs=True,
                samplers=[],
                logit_bias=[[reference, _BIAS + _AHEAD], *([code, lift[code]] for code in pending)],
            )
            p = {t["id"]: t["prob"] for t in _first_token(answer)["top_probs"]}
            for code in pending:
                ratio = p.get(code, 0.0) / p[reference]
                if ratio > 1e-36:
                    found[code] = known + math.log(ratio) + _AHEAD + _BIAS - lift[code]
                elif lift[code] < 10 * _BIAS:
                    lift[code] += 50.0
                else:
                    found[code] = -math.inf
        return found

    def generate(
        self, ids: Tokens, *, max_tokens: int, stop: Sequence[str], sampling: Sampling | None
    ) -> Generation:
        """Text after the prompt, greedy without ``sampling``."""
        drawn = sampling_options(sampling)
        answer = self._complete(ids, n_predict=max_tokens, stop=list(stop), **drawn)
        self._generated = True  # computed one by one
        return Generation(answer["choices"][0]["text"], len(ids), _cached(answer))

    def _complete(self, ids: Tokens, suffix: Tokens = (), **options: Any) -> dict[str, Any]:
        whole = (*ids, *suffix)
        if len(whole) >= self.context_tokens:
            raise ContextOverflowError(
                f"{self._name}: a prompt of {len(whole)} tokens does not fit the context of "
                f"{self.context_tokens}",
                hint="fewer demonstrations (--k), shorter texts, or a larger context",
            )
        if not ids:
            raise EngineResponseError(f"{self._name}: an empty prompt cannot be read")
        cache = self._align(ids, suffix) if self._repeatable else True
        answer = self._request(whole, cache_prompt=cache, **options)
        self._held, self._end, self._generated = whole, len(ids), False
        return answer

    def _holds(self, ids: Tokens) -> bool:
        """Whether the cache has all of ``ids``, computed in blocks up to their end."""
        return self._end == len(ids) and self._held[: self._end] == ids

    def _align(self, ids: Tokens, suffix: Tokens) -> bool:
        """Cut the cache to where the computation continues: for ``ids`` at the last block border
        that they share with it, for a suffix at the end of ``ids``. So a suffix always costs only
        its own tokens. Returns whether part of the cache can be used."""
        whole = (*ids, *suffix)
        if suffix and not self._holds(ids):
            self._complete(ids, n_predict=0)
        shared = 0
        for ours, theirs in zip(whole, self._held, strict=False):
            if ours != theirs:
                break
            shared += 1
        keep = len(ids)
        if not suffix:
            keep = min(shared, len(ids) - 1, self._end) // self._block * self._block
        if keep and (shared > keep or (self._generated and shared == len(self._held))):
            other = next(t for t in range(3) if t not in (whole[keep], *self._held[keep:][:1]))
            cut = (*whole[:keep], other)
            self._request(cut, cache_prompt=True, n_predict=0)
            self._held, self._end, self._generated = cut, keep, False
        return keep > 0

    def _request(self, ids: Tokens, **options: Any) -> dict[str, Any]:
        answer = self._process.complete({"prompt": list(ids), **options})
        if isinstance(answer, dict) and "choices" in answer:
            return answer
        self._held, self._end, self._generated = (), 0, False
        error = answer.get("error", {}) if isinstance(answer, dict) else {}
        message = f"{self._name}: llama.cpp answered: {error.get('message', answer)}"
        if error.get("type") == "exceed_context_size_error":
            raise ContextOverflowError(message, hint="fewer demonstrations (--k) or shorter texts")
        raise EngineResponseError(message)

    def close(self) -> None:
        """Free the model. Blocks until llama.cpp's threads have ended. If they do not answer for a
        minute, they are left running (:mod:`ecomfs.engine.llama.process`)."""
        self._process.close()


def _runtime() -> Any:
    try:
        with sleeping_threads():
            import xllamacpp
    except ImportError as error:
        raise EngineUnavailableError(
            "the embedded engine needs xllamacpp, which is not installed",
            hint="pip install 'ecomfs[local]'",
        ) from error
    return xllamacpp


def _first_token(answer: dict[str, Any]) -> dict[str, Any]:
    try:
        token: dict[str, Any] = answer["choices"][0]["logprobs"]["content"][0]
    except (KeyError, IndexError, TypeError) as error:
        raise EngineResponseError("llama.cpp gave no log-probabilities") from error
    return token


def _is_plain(token: dict[str, Any]) -> bool:
    """Whether a listed token has whole characters and is not a control token (without text)."""
    try:
        return bool(bytes(token["bytes"]).decode("utf-8"))
    except UnicodeDecodeError:
        return False


def _cached(answer: dict[str, Any]) -> int:
    details = answer.get("usage", {}).get("prompt_tokens_details") or {}
    return int(details.get("cached_tokens", 0))
