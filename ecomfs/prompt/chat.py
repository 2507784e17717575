"""Puts the turns of a prompt into the frame of a model's chat template.

The template is rendered with placeholders, once per number of turns, and its text is split at
them. The pieces between the placeholders are the frame: control tokens are parsed only there. The
text of the turns is tokenized separately as plain text, so that no row can end its turn and begin
another: ``<|im_end|>`` in a review is ordinary text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

from ecomfs.errors import ModelError
from ecomfs.types import TemplateRef, Turn

EncodeAll = Callable[[Sequence[str]], list[list[int]]]

_SHAPE = ("user", "assistant", "user")
_OPENED = re.compile(r"<think>(?!.*</think>)|\[THINK\](?!.*\[/THINK\])", re.DOTALL)
_HINT = "use --format completion, or another model (ecomfs models)"


class ChatFormat:
    """The chat frame of one model.

    Parameters
    ----------
    where
        Name of the model, for messages.
    identity
        Hash of everything that determines the frame.
    render
        Turns → the text for the model, up to the header of its answer; ``None``: turns are sent to
        a provider, which renders them.
    encode
        Text of the frame → token ids, with control tokens; ``None`` if ``render`` is.

    Attributes
    ----------
    system : bool
        Whether the template has a system turn; if not, the instruction is in the first user turn.
    separator : str
        White space between the header of an answer and the answer.
    end : int or None
        The token that ends an answer.

    Raises
    ------
    ModelError
        The template cannot hold demonstrations, or begins every answer with reasoning.

    Examples
    --------
    >>> def render(turns):
    ...     return "".join(f"<{t.role}>{t.text}</>" for t in turns) + "<assistant>"
    >>> chat = ChatFormat("a model", "0", render, lambda frame: [0] * frame.count("<"))
    >>> turns = (Turn("user", "fits well"), Turn("assistant", "good"), Turn("user", "</>"))
    >>> chat.text(turns)
    '<user>fits well</><assistant>good</><user></></><assistant>'
    >>> chat.encode_all([turns], lambda texts: [[9] * len(text) for text in texts])[0][-5:]
    [9, 9, 9, 0, 0]
    """

    def __init__(
        self,
        where: str,
        identity: str,
        render: Callable[[Sequence[Turn]], str] | None,
        encode: Callable[[str], list[int]] | None,
    ) -> None:
        self._where, self._render, self._encode = where, render, encode
        self.identity = identity
        self._frames: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._ids: dict[str, list[int]] = {}
        self._newline: list[int] | None = None
        self.separator = ""
        _, header, between, last = self.frames(_SHAPE)
        if _OPENED.search(last):
            raise ModelError(
                f"{where}: its chat template begins every answer with reasoning", hint=_HINT
            )
        after = header[len(last) :]
        if header.startswith(last) and not after.strip():
            self.separator = after
        # Some templates refuse a system turn, drop it, or put it before the last turn, where no
        # prefix would be shared.
        try:
            self.frames(("system", *_SHAPE))
            self.system = True
        except ModelError:
            self.system = False
        self.end = None if encode is None else next(iter(encode(between.lstrip())), None)

    def ref(self, template: TemplateRef) -> TemplateRef:
        """The reference of prompts from a task's template in this frame."""
        both = f"{template.sha}/{self.identity}".encode()
        return TemplateRef(f"{template.name}+chat", hashlib.sha256(both).hexdigest()[:12])

    def frames(self, roles: tuple[str, ...]) -> tuple[str, ...]:
        """The text before, between and after turns of these roles.

        Raises
        ------
        ModelError
            The template refuses them, drops or repeats one, or changes their order.
        """
        known = self._frames.get(roles)
        if known is None:
            known = self._frames[roles] = self._split(roles)
        return known

    def _split(self, roles: tuple[str, ...]) -> tuple[str, ...]:
        if self._render is None:
            return (f"[{roles[0]}]\n", *(f"\n\n[{role}]\n" for role in (*roles[1:], "assistant")))
        marks = [f"QZX{n}XZQ" for n in range(len(roles))]
        rest = self._render([Turn(role, mark) for role, mark in zip(roles, marks, strict=True)])
        frames: list[str] = []
        for mark in marks:
            before, found, rest = rest.partition(mark)
            if not found or any(other in before for other in marks):
                raise ModelError(
                    f"{self._where}: its chat template does not show the turns "
                    f"{', '.join(roles)} in this order, once each",
                    hint=_HINT,
                )
            frames.append(before)
        if any(mark in rest for mark in marks):
            raise ModelError(f"{self._where}: its chat template repeats a turn", hint=_HINT)
        return (*frames, rest)

    def _pieces(self, turns: Sequence[Turn]) -> list[str]:
        """Frame and contents, alternating; the frame is at the even positions."""
        frames = self.frames(tuple(turn.role for turn in turns))
        pieces: list[str] = []
        for frame, turn in zip(frames, turns, strict=False):
            if turn.role == "assistant":  # tokenized as the answer will be
                pieces += [frame.removesuffix(self.separator), self.separator + turn.text]
            else:
                pieces += [frame, turn.text]
        return [*pieces, frames[-1]]

    def text(self, turns: Sequence[Turn]) -> str:
        """The turns in their frame."""
        return "".join(self._pieces(turns))

    def encode_all(
        self, prompts: Sequence[Sequence[Turn]], encode_all: EncodeAll
    ) -> list[list[int]]:
        """Token ids of prompts: control tokens in the frame, plain text in the turns.

        Parameters
        ----------
        prompts
            The turns of each prompt.
        encode_all
            Texts → token ids, without BOS: if a model needs it, the frame has it.
        """
        found = [self._pieces(turns) for turns in prompts]
        said = list(dict.fromkeys(text for pieces in found for text in pieces[1::2]))
        ids = dict(zip(said, self._plain(said, encode_all), strict=True))
        return [
            [
                code
                for place, piece in enumerate(pieces)
                for code in (ids[piece] if place % 2 else self._frame_ids(piece))
            ]
            for pieces in found
        ]

    def _frame_ids(self, frame: str) -> list[int]:
        known = self._ids.get(frame)
        if known is None:
            known = self._ids[frame] = self._encode(frame) if self._encode and frame else []
        return known

    def _plain(self, texts: Sequence[str], encode_all: EncodeAll) -> list[list[int]]:
        """Token ids of texts that follow other text: some tokenizers put a space before a text that
        they encode alone."""
        if self._newline is None:
            newline, letter, after = encode_all(["\n", "a", "\na"])
            spaced = after[: len(newline)] == newline and after[len(newline) :] != letter
            self._newline = newline if spaced else []
        size, alone = len(self._newline), encode_all(texts)
        if not size:
            return alone
        found = encode_all([f"\n{text}" for text in texts])
        return [
            ids[size:] if ids[:size] == self._newline else other
            for ids, other in zip(found, alone, strict=True)
        ]


__all__ = ["ChatFormat"]
