"""Builds prompts within the token budget.

If a prompt is too long, demonstrations are dropped first (the least similar ones), then the end of
the row's own text is cut. Instruction and labels are never cut. The prompt records what was left
out.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from ecomfs.core.sandbox import MOST_CHARACTERS
from ecomfs.errors import ContextOverflowError, EcomfsError, TemplateError
from ecomfs.features import RowText
from ecomfs.io import squeeze
from ecomfs.prompt.chat import ChatFormat, EncodeAll
from ecomfs.prompt.fence import Fence
from ecomfs.prompt.template import ANSWER_PLACEHOLDER, Template, hidden_fields
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import Demonstration, Example, Language, Prompt, Row, TemplateRef, Turn

_SECRET = secrets.token_hex(8)
"""Random, so that no row or template can contain it."""
_MARK = f"\ue000{_SECRET}\ue001"
"""Placeholder for the answer of a demonstration, where a prompt is split into turns."""
_HOLE = re.compile("\ue000(\\d*)-" + _SECRET + "\ue001")


class Outline(NamedTuple):
    """A prompt with gaps for the row: rendered once, and filled in for each row.

    Most templates only print the row, so that everything else is equal in the prompts of all rows
    with the same demonstrations. The syntax tree of a template tells whether it does; other
    templates are rendered for each row.

    Attributes:
        pieces: the text before, between and after the values.
        values: the value between two pieces: the name of a field, or ``None`` for the row's text.

    >>> Outline(("Review: ", "\\nSentiment:"), ("text",)).fill({"text": "fits"}, "")
    'Review: fits\\nSentiment:'
    """

    pieces: tuple[str, ...]
    values: tuple[str | None, ...]

    @classmethod
    def of(
        cls, template: Template, context: Mapping[str, Any], fields: Sequence[str]
    ) -> Outline | None:
        """The outline of a template's prompts; ``None`` if the template does more than print the
        row, or cannot be rendered.

        Args:
            context: the context without ``row`` and ``text``.
            fields: names of the fields.

        >>> template = Template("{{ instruction }}: {{ row.text }}", "t")
        >>> Outline.of(template, {"instruction": "Review"}, ["text"]).fill({"text": "fits"}, "")
        'Review: fits'
        """
        if not template.only_prints_rows:
            return None
        row = {name: f"\ue000{place}-{_SECRET}\ue001" for place, name in enumerate(fields)}
        try:
            text = template.render({**context, "row": row, "text": f"\ue000-{_SECRET}\ue001"})
        except TemplateError:
            return None  # rendering the first row reports the error
        found = _HOLE.split(text)
        values = [fields[int(place)] if place else None for place in found[1::2]]
        return cls(tuple(found[::2]), tuple(values))

    def fill(self, cells: Mapping[str, Any], text: str) -> str | None:
        """The prompt of a row; ``None`` if it must be rendered: a value is missing or not a text,
        or the prompt may be too long."""
        parts, length = [self.pieces[0]], len(self.pieces[0])
        for name, piece in zip(self.values, self.pieces[1:], strict=True):
            value = text if name is None else cells.get(name)
            if type(value) is not str:
                return None
            parts += value, piece
            length += len(value) + len(piece)
        return "".join(parts).rstrip() if length <= MOST_CHARACTERS else None


class PromptInput(NamedTuple):
    """The contents of one prompt.

    Attributes:
        row: the fields of the row.
        demonstrations: in prompt order, least to most similar.
        shortlist: positions of the labels in the prompt; empty: all.
        shared: number of the first demonstrations that are shared by the prompts of all rows. They
            come before a shortlist, which differs by row.
        text: the row as text in the prompt's language, if it was rendered before.

    >>> PromptInput({"text": "works well"}, shortlist=(0, 2)).shortlist
    (0, 2)
    """

    row: Row
    demonstrations: Sequence[Demonstration] = ()
    shortlist: Sequence[int] = ()
    shared: int = 0
    text: str | None = None


class PromptDraft(NamedTuple):
    """A prompt before tokenization; without turns it is a completion."""

    text: str
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class PromptBuilder:
    """Builds prompts from one template and one label space.

    Attributes:
        answers: the model's answer for each label, in the order of the label space (label words,
            or codes).
        rows: renders rows as text; ``None``: rows are rendered without statistics of a pool.
        chat: the frame of the model's chat template, where every demonstration is a user turn and
            an assistant turn; ``None``: prompts are completions.
        fence: puts texts of rows and demonstrations between marks; ``None``: no marks.

    >>> from ecomfs.task import load_task
    >>> card = load_task("review_sentiment")
    >>> template = Template("{{ text }}\\nSentiment:", "short")
    >>> space = LabelSpace.resolve(card, [])
    >>> builder = PromptBuilder(card, space, template, "en", ("positive", "negative"))
    >>> builder.build({"text": "works well"}, []).text
    'works well\\nSentiment:'
    """

    card: TaskCard
    space: LabelSpace
    template: Template
    language: Language
    answers: tuple[str, ...]
    rows: RowText | None = None
    chat: ChatFormat | None = None
    fence: Fence | None = None
    _context_is_fixed: ClassVar[bool] = True
    """Whether ``_fixed`` has the whole context except cells, text and facts of the row."""
    _fixed: dict[str, Any] = field(init=False, repr=False, compare=False)
    _heads: dict[tuple[bool, tuple[int, ...]], str] = field(init=False, repr=False, compare=False)
    _outlines: list[tuple[list[Example], Outline | None]] = field(
        init=False, repr=False, compare=False
    )
    """Recent demonstrations, each with the outline of prompts with them."""

    def __post_init__(self) -> None:
        """Make the context that all prompts share."""
        alone = len(self.card.fields) == 1 and not self.card.tabular
        instruction = self.card.instruction.get(self.language)
        if self.fence is not None:
            instruction = self.fence.instruction(instruction, self.language)
        fixed = {
            "instruction": instruction,
            "shared": [],
            "title": self.card.fields[0].title.get(self.language) if alone else "",
            "label_title": self.card.label_title.get(self.language),
            "labels": [
                {
                    "answer": answer,
                    "word": label.word(self.language),
                    "definition": label.definition(self.language),
                }
                for label, answer in zip(self.space.labels, self.answers, strict=True)
            ],
        }
        object.__setattr__(self, "_fixed", fixed)
        object.__setattr__(self, "_heads", {})
        object.__setattr__(self, "_outlines", [])

    def build(
        self,
        row: Row,
        demonstrations: Sequence[Demonstration],
        *,
        shortlist: Sequence[int] = (),
        encode: Callable[[str], list[int]] | None = None,
        budget: int | None = None,
    ) -> Prompt:
        """Render the prompt of one row.

        Parameters
        ----------
        row, demonstrations, shortlist
            See :class:`PromptInput`.
        encode
            The engine's tokenizer (with BOS; without in chat format, where the frame has it).
            ``None`` if it has none: the budget is not checked here, and the engine reports an
            overflow.
        budget
            Most tokens of the prompt.

        Raises
        ------
        ContextOverflowError
            Instruction and labels alone exceed the budget.
        RowError
            A cell is not of its field's kind.
        TemplateError
            The template does not render.
        """
        asked = PromptInput(row, demonstrations, shortlist)
        one = None if encode is None else lambda texts: [encode(text) for text in texts]
        draft = self._draft(asked)
        return self._within(budget, asked, draft, self._encoded([draft], one)[0], one)

    def build_all(
        self,
        asked: Sequence[PromptInput],
        *,
        encode_all: EncodeAll | None = None,
        budget: int | None = None,
    ) -> list[Prompt | EcomfsError]:
        """Build the prompts of many rows and tokenize them together. A prompt that cannot be built
        is replaced by its error. For the arguments see :meth:`build`."""
        out: list[Prompt | EcomfsError] = []
        drafts: list[PromptDraft | EcomfsError] = []
        for one in asked:
            try:
                drafts.append(self._draft(one))
            except EcomfsError as error:
                drafts.append(error)
        good = [draft for draft in drafts if isinstance(draft, PromptDraft)]
        tokens = iter(self._encoded(good, encode_all))
        for one, draft in zip(asked, drafts, strict=True):
            if isinstance(draft, EcomfsError):
                out.append(draft)
                continue
            try:
                out.append(self._within(budget, one, draft, next(tokens), encode_all))
            except EcomfsError as error:
                out.append(error)
        return out

    def _encoded(
        self, drafts: Sequence[PromptDraft], encode_all: EncodeAll | None
    ) -> list[list[int]]:
        """Token ids of drafts; empty without a tokenizer."""
        if encode_all is None or not drafts:
            return [[] for _ in drafts]
        if self.chat is None:
            return encode_all([draft.text for draft in drafts])
        return self.chat.encode_all([draft.turns for draft in drafts], encode_all)

    def _within(
        self,
        budget: int | None,
        asked: PromptInput,
        draft: PromptDraft,
        ids: Sequence[int],
        encode_all: EncodeAll | None,
    ) -> Prompt:
        """The prompt of this draft, or of a shorter draft that fits the budget."""
        kept, shared, cut = list(asked.demonstrations), asked.shared, 0
        while budget is not None and len(ids) > budget and kept:
            dropped = min(range(len(kept)), key=lambda i: _rank(kept[i]))
            del kept[dropped]
            shared -= dropped < shared
            draft = self._draft(asked._replace(demonstrations=kept, shared=shared))
            (ids,) = self._encoded([draft], encode_all)
        if budget is not None and len(ids) > budget:
            draft, ids, cut = self._cut(asked, encode_all, budget)
        return Prompt(
            text=draft.text,
            template=self.ref,
            token_ids=tuple(ids),
            demonstrations=tuple(kept),
            dropped=len(asked.demonstrations) - len(kept),
            cut=cut,
            turns=draft.turns,
        )

    @property
    def ref(self) -> TemplateRef:
        """The reference of its template, for prompts."""
        ref = self.template.ref if self.chat is None else self.chat.ref(self.template.ref)
        return ref if self.fence is None else TemplateRef(f"{ref.name}+fence", ref.sha)

    def separator(self) -> str:
        """The text between the answer cue and the answer in this template."""
        if self.chat is not None:
            return self.chat.separator
        context = self._trial()
        probe = [{"row": context["row"], "text": "x", "facts": [], "answer": ANSWER_PLACEHOLDER}]
        return self.template.answer_separator(context | {"demonstrations": probe})

    def hidden_fields(self) -> tuple[str, ...]:
        """The fields that the template does not show.

        Raises
        ------
        TemplateError
            See :func:`ecomfs.prompt.template.hidden_fields`.
        """
        return hidden_fields(self.template, self.card, self._fixed)

    def cue(self) -> str:
        """The last line of every prompt, right before the answer. In chat format a line break,
        since the answer is tokenized separately from the frame before it."""
        if self.chat is not None:
            return "\n"
        text = self.template.render(self._trial() | {"demonstrations": []})
        return text.rsplit("\n", 1)[-1]

    def titles(self) -> tuple[str, ...]:
        """The titles that the template writes before the text of a row, on its line: ``Review``.

        >>> from ecomfs.task import load_task
        >>> card, source = load_task("review_sentiment"), "It says: {{ text }}\\nMood:"
        >>> builder = PromptBuilder(card, LabelSpace.resolve(card, []), Template(source, "t"),
        ...                         "en", ("good", "bad"))
        >>> builder.titles()
        ('It says',)
        """
        row = {spec.name: _MARK for spec in self.card.fields}
        context = self._fixed | {"row": row, "text": _MARK, "facts": [], "demonstrations": []}
        lines = [line for line in self.template.render(context).splitlines() if _MARK in line]
        found = [line.split(_MARK)[0].strip().rstrip(":：").strip() for line in lines]
        return tuple(dict.fromkeys(title for title in found if 0 < len(title) <= 40))

    def _trial(self) -> dict[str, Any]:
        """The context of a made-up row, for any kinds of fields."""
        return self._context({spec.name: "x" for spec in self.card.fields}, "x")

    def _texts(self) -> list[str]:
        """Names of the fields that may be cut: texts, since half a number or list would be another
        value."""
        return [spec.name for spec in self.card.fields if spec.kind == "text"]

    def _text(self, row: Row, known: str | None = None) -> str:
        text = known
        if text is None:
            text = (self.rows or RowText(self.card)).render(row, self.language)
        return text if self.fence is None else self.fence.around(text)

    def _cells(self, row: Row) -> dict[str, Any]:
        """The row as templates see it: texts on one line, and between marks if there is a fence."""
        missing = [f.name for f in self.card.fields if f.required and f.name not in row]
        if missing:
            raise TemplateError(f"row without field {missing[0]!r}")
        # Text on one line: a row with line breaks could otherwise forge an answer line.
        values: dict[str, Any] = {
            f.name: squeeze(v) if isinstance(v := row.get(f.name, ""), str) else v
            for f in self.card.fields
        }
        if self.fence is None:
            return values
        around = self.fence.around
        texts = {name: around(v) for name in self._texts() if isinstance(v := values[name], str)}
        return values | texts

    def _facts(self, row: Row) -> list[str]:
        return self.rows.facts(row, self.language) if self.rows else []

    def _draft(self, asked: PromptInput) -> PromptDraft:
        text = self._text(asked.row, asked.text)
        outline = self._outline(asked)
        if outline and (filled := outline.fill(self._cells(asked.row), text)) is not None:
            return PromptDraft(filled)
        context = self._context(asked.row, text)
        shown = self._shown(asked.demonstrations)
        # If the labels are a row's shortlist, the demonstrations shared by all rows come first.
        first = asked.shared if asked.shortlist and self.template.shows_shared else 0
        context["shared"], context["demonstrations"] = shown[:first], shown[first:]
        if asked.shortlist:
            context["labels"] = [context["labels"][i] for i in asked.shortlist]
        if self.chat is None:
            return PromptDraft(self.template.render(context))
        turns = self._turns(self.chat, context, tuple(asked.shortlist))
        return PromptDraft(self.chat.text(turns), turns)

    def _outline(self, asked: PromptInput) -> Outline | None:
        """The outline of the prompts with these demonstrations; ``None`` if demonstrations, labels
        or facts differ by row."""
        facts = self.template.shows_facts and self.rows is not None and self.rows.with_facts
        own = asked.shortlist or asked.shared < len(asked.demonstrations)
        if self.chat is not None or own or facts or not self._context_is_fixed:
            return None
        shown = [one.example for one in asked.demonstrations]
        kept = self._outlines[0] if self._outlines else None  # once, as threads share a builder
        if kept is None or [*map(id, kept[0])] != [*map(id, shown)]:
            context = self._fixed | {
                "facts": [],
                "demonstrations": self._shown(asked.demonstrations),
            }
            names = [spec.name for spec in self.card.fields]
            outline = Outline.of(self.template, context, names)
            kept = shown, outline
            self._outlines[:] = [kept]
        return kept[1]

    def _turns(
        self, chat: ChatFormat, context: dict[str, Any], shortlist: tuple[int, ...]
    ) -> tuple[Turn, ...]:
        """The text of the template, split into turns: the text before the demonstrations is the
        system turn, every demonstration a user turn, and its answer an assistant turn."""
        block = context["shared"]
        shown = [*block, *context["demonstrations"]]
        marked = [one | {"answer": _MARK} for one in shown]
        said_as = {"shared": marked[: len(block)], "demonstrations": marked[len(block) :]}
        text = self.template.render(context | said_as)
        kind = (bool(block), shortlist)
        head = self._heads.get(kind)
        if head is None:
            name = "shared" if block else "demonstrations"
            head = self._heads[kind] = self._head(context, name)
        if not text.startswith(head):
            head = ""
        said = text[len(head) :].split(_MARK)
        if len(said) not in (1, len(shown) + 1):
            raise TemplateError(
                f"template {self.template.ref.name} shows {len(said) - 1} answers of "
                f"{len(shown)} demonstrations: it cannot be split into turns",
                hint="show every demonstration with its answer once, or use --format completion",
            )
        instruction, turns = head.strip(), []
        if instruction and chat.system:
            turns.append(Turn("system", instruction))
        elif instruction:
            said[0] = f"{instruction}\n\n{said[0].strip()}"
        for part, one in zip(said, shown, strict=False):
            turns += [Turn("user", part.strip()), Turn("assistant", one["answer"])]
        if len(said) == 1:  # without demonstrations, or a template that shows none
            turns = [turn for turn in turns if turn.role == "system"]
        return (*turns, Turn("user", said[-1].strip()))

    def _head(self, context: dict[str, Any], name: str) -> str:
        """The text before the demonstrations in the variable ``name``; empty if the two cannot be
        separated."""
        trial = self._trial() | {"labels": context["labels"]}
        row = {"row": trial["row"], "text": trial["text"], "facts": [], "answer": _MARK}
        text = self.template.render(trial | {"demonstrations": [], name: [row, row]})
        first, *more = text.split(_MARK)
        if len(more) != 2:
            return ""
        block = more[0].lstrip()
        return first.removesuffix(block) if block and first.endswith(block) else ""

    def _shown(self, demonstrations: Sequence[Demonstration]) -> list[dict[str, Any]]:
        """Demonstrations as templates see them."""
        return [
            {
                "row": self._cells(d.example.fields),
                "text": self._text(d.example.fields),
                "facts": self._facts(d.example.fields),
                "answer": self.answers[self._position(d)],
            }
            for d in demonstrations
        ]

    def _position(self, demonstration: Demonstration) -> int:
        example = demonstration.example
        return self.space.require(example.label, f"example {example.id!r}")

    def _context(self, row: Row, text: str) -> dict[str, Any]:
        values = {"row": self._cells(row), "text": text, "facts": self._facts(row)}
        return self._fixed | values

    def _cut(
        self, asked: PromptInput, encode_all: EncodeAll | None, budget: int
    ) -> tuple[PromptDraft, list[int], int]:
        """Shorten the row's longest text from its end, by bisection on characters."""
        row, bare = asked.row, asked._replace(demonstrations=(), shared=0)
        values = {k: str(row.get(k, "")) for k in self._texts()}
        best: tuple[PromptDraft, list[int]] | None = None
        full = ""
        if values:
            name = max(values, key=lambda k: len(values[k]))
            full = values[name]
            low, high = 0, len(full)
            while low < high:
                middle = (low + high) // 2
                cut = {**row, **values, name: full[:middle]}
                draft = self._draft(bare._replace(row=cut, text=None))
                (ids,) = self._encoded([draft], encode_all)
                if len(ids) <= budget:
                    low, best, kept = middle + 1, (draft, ids), middle
                else:
                    high = middle
        if best is None:
            besides = " and the other fields of the row" if self.card.tabular else ""
            raise ContextOverflowError(
                f"template {self.template.ref.name}: instruction and labels alone{besides} need "
                f"more than {budget} tokens",
                hint="use a model with a longer context, or fewer or shorter label definitions",
            )
        return best[0], best[1], len(full) - kept


def _rank(demonstration: Demonstration) -> float:
    similarity = demonstration.similarity
    return similarity if similarity == similarity else -2.0  # not retrieved: below any cosine
