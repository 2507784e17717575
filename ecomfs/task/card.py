"""The task card: the definition of a task without its data.

A card is a YAML file for people to read and edit (``prompts/<task>/task.yaml``). An unknown key is
an error, since a misspelt key would otherwise be ignored.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ecomfs.io import DecimalMark, squeeze, visible
from ecomfs.task.cells import read_labels
from ecomfs.types import Language, Row

FieldKind = Literal["text", "number", "category", "history", "json", "price", "date", "id"]

NUMBERS = frozenset({"number", "price"})
"""Kinds of field whose cells are numbers, written in any usual form."""
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|[_\s]+")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bilingual(_Strict):
    """One text in English and Chinese; in a card, a plain string is used for both.

    Examples
    --------
    >>> Bilingual(en="Review", zh="评论").get("zh")
    '评论'
    >>> Bilingual.model_validate("GB").zh
    'GB'
    """

    en: str
    zh: str

    @model_validator(mode="before")
    @classmethod
    def _same_in_both(cls, value: object) -> object:
        return {"en": value, "zh": value} if isinstance(value, str) else value

    def get(self, language: Language) -> str:
        """The text in one language."""
        return self.zh if language == "zh" else self.en


class FieldSpec(_Strict):
    """One field of a row.

    Attributes
    ----------
    name : str
        Column name.
    kind : FieldKind
        Type of its cells. ``history`` is a list, oldest first, in JSON or with ``separator``;
        ``json`` is any JSON value; ``id`` is never rendered.
    names : Bilingual | None
        Name of the field in prompts; made from ``name`` by default.
    aliases : tuple[str, ...]
        Other column names that mean this field, compared without case.
    unit : Bilingual
        Unit written after a number; for a price, the currency of cells without one.
    values : Mapping[str, Bilingual]
        Category code → its name in prompts.
    items : tuple[FieldSpec, ...]
        If the items of a history are objects: the parts to show, in this order; all by default.
    newest_first : bool
        The newest item of the history comes first in the data.
    max_items : int
        How many of the most recent items of a history are shown; the others are counted.
    separator : str
        Separates the items of a history that is not JSON.
    decimal : DecimalMark
        The decimal mark of a number or price, ``comma`` or ``point``; detected from the column by
        default.
    date_format : str
        :func:`datetime.strptime` format; common formats need none.
    missing : {"say", "skip"}
        Whether a missing value is written as unknown, or left out.
    weight : float
        Weight of the field in :class:`ecomfs.features.GowerSpace`.

    Examples
    --------
    >>> FieldSpec(name="price_usd", kind="price", unit="$").title("en")
    'price usd'
    """

    name: str = Field(min_length=1)
    kind: FieldKind
    names: Bilingual | None = None
    aliases: tuple[str, ...] = ()
    unit: Bilingual = Bilingual(en="", zh="")
    values: Mapping[str, Bilingual] = Field(default_factory=dict)
    items: tuple[FieldSpec, ...] = ()
    newest_first: bool = False
    max_items: int = Field(default=12, ge=1)
    separator: str = ""
    decimal: DecimalMark = ""
    date_format: str = ""
    missing: Literal["say", "skip"] = "say"
    weight: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        only = {"values": "category", "items": "history", "separator": "history"}
        only |= {"newest_first": "history", "date_format": "date"}
        for option, kind in only.items():
            if getattr(self, option) and self.kind != kind:
                raise ValueError(f"field {self.name!r}: {option} is for kind {kind!r} only")
        if self.decimal and self.kind not in NUMBERS:
            raise ValueError(f"field {self.name!r}: decimal is for kinds number and price only")
        if any(part.kind in {"history", "id"} for part in self.items):
            raise ValueError(f"field {self.name!r}: items cannot be of kind history or id")
        return self

    def title(self, language: Language) -> str:
        """The name of the field in prompts.

        >>> FieldSpec(name="ProductRelated_Duration", kind="number").title("en")
        'product related duration'
        """
        return self.names.get(language) if self.names else readable(self.name)

    def find(self, row: Row) -> object:
        """The value of the field in a row, by name or alias; ``None`` when the row has neither.

        >>> FieldSpec(name="price", kind="price", aliases=("Price (USD)",)).find({"price (usd)": 3})
        3
        """
        if self.name in row:
            return row[self.name]
        wanted = {name.casefold() for name in (self.name, *self.aliases)}
        return next((value for key, value in row.items() if str(key).casefold() in wanted), None)


def readable(name: str) -> str:
    """A column name as words.

    Parameters
    ----------
    name : str
        Name of a column.

    Returns
    -------
    str
        Words in lower case; words in capitals are kept.

    Examples
    --------
    >>> readable("MntWines"), readable("is_switch"), readable("URL"), readable("last_5G_visit")
    ('mnt wines', 'is switch', 'URL', 'last 5G visit')
    """
    words = [word for word in _CAMEL.split(name) if word]
    return " ".join(word if word.isupper() else word.lower() for word in words)


def plain_key(spelling: str) -> str:
    """A key for comparing spellings of a label. It ignores case, width, the shape of quotes and
    dashes, invisible characters and outer space (:func:`ecomfs.io.visible`).

    It is not NFKC, which would make ``M²`` and ``M2`` equal.

    Parameters
    ----------
    spelling : str
        One spelling of a label.

    Returns
    -------
    str
        A key that is equal for such spellings.

    Examples
    --------
    >>> plain_key(" Ｐositive ") == plain_key("POSITIVE")
    True
    >>> plain_key("M²") == plain_key("M2"), plain_key("½") == plain_key("1/2")
    (False, False)
    """
    return visible(visible(spelling).casefold()).strip()


class CardField(_Strict):
    """One field of a row.

    In the YAML file the keys of ``rendering`` (``kind``, ``unit``, ``values``, ``items``, …) stand
    next to ``name`` and ``title``; they are those of :class:`FieldSpec`.

    Attributes
    ----------
    name : str
        Name of the field in templates.
    title : Bilingual
        Name of the field in prompts.
    aliases : tuple[str, ...]
        Column names that mean this field, compared without case.
    required : bool
        Rows without a value for it cannot be classified.
    rendering : FieldSpec
        How its cells are parsed and written in prompts; plain text by default.

    Examples
    --------
    >>> spec = CardField.model_validate(
    ...     {"name": "age", "title": {"en": "Age", "zh": "年龄"}, "kind": "number"})
    >>> spec.kind, spec.rendering.title("zh")
    ('number', '年龄')
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: Bilingual
    aliases: tuple[str, ...] = ()
    required: bool = True
    rendering: FieldSpec

    @model_validator(mode="before")
    @classmethod
    def _gather_rendering(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "rendering" in value:
            return value
        own = {key: value[key] for key in ("name", "title", "aliases", "required") if key in value}
        other = {key: option for key, option in value.items() if key not in own}
        title = own.get("title")
        names = title.model_dump() if isinstance(title, Bilingual) else title
        named = {"name": own.get("name"), "kind": "text", "names": names}
        return own | {"rendering": named | other}

    @property
    def kind(self) -> FieldKind:
        """Type of its cells: ``text``, ``number``, ``category``, ``history``, …"""
        return self.rendering.kind


class LabelSpec(_Strict):
    """One label.

    Attributes
    ----------
    name : str
        Canonical name.
    words : Bilingual
        Word for the label in prompts and answers, per language.
    definition : Bilingual
        One sentence that says when the label applies.
    aliases : tuple[str, ...]
        Other spellings found in data and in answers.
    optional : bool
        Part of the label space only if the pool has it (such as *neutral*).

    Examples
    --------
    >>> LabelSpec(name="like", words=Bilingual(en="Yes", zh="是"),
    ...           definition=Bilingual(en="The user likes it.", zh="用户喜欢。")).spellings()
    ('like', 'Yes', '是')
    """

    name: str
    words: Bilingual
    definition: Bilingual
    aliases: tuple[str, ...] = ()
    optional: bool = False

    def spellings(self) -> tuple[str, ...]:
        """Every string that means this label."""
        return (self.name, self.words.en, self.words.zh, *self.aliases)


class TaskCard(_Strict):
    """A task.

    Attributes
    ----------
    name : str
        Folder name and command-line name.
    title, description : Bilingual
        Name and description of the task for people.
    fields : tuple[CardField, ...]
        The fields of a row, in reading order.
    labels : tuple[LabelSpec, ...]
        The labels with their words and definitions.
    label_title : Bilingual
        Name of the answer in the prompt ("Sentiment").
    label_column : tuple[str, ...]
        Column names that hold the label, compared without case.
    label_space : {"closed", "open"}
        ``closed``: exactly ``labels``; the pool's labels must be among them. ``open``: any
        labels the pool has; ``labels`` may add words and definitions.
    label_separator : str | None
        Text between the labels of a cell, such as ``|``, if a row may have several. Empty or
        ``None``: a row has one label. With ``None``, cells that look like several labels are an
        error.
    hierarchy : str | None
        Text between parent and child in a label, such as `` > `` in ``Home > Lamps``: rows are
        classified first by parent, then by child. ``None``: labels have no parents.
    positive : str | None
        The label that rankings put first and that is the positive class of binary metrics.
    user : str | None
        The field of kind ``id`` with the user of a row; it is not shown to the model. With it,
        features can use what other users did with an item.
    instruction : Bilingual
        The first lines of every prompt.
    default_k : int
        Demonstrations per prompt.
    layout : {"line", "lines"}
        How rows with fields other than text are written: ``line``, on one line, the most
        informative field first; ``lines``, one field per line in the order of the card.
    max_fields : int | None
        Most fields of a rendered row; the most informative about the label are kept.
    language : {"auto", "en", "zh"}
        Fixed prompt language, or ``auto`` to follow each row's own language.
    templates : Bilingual
        Template version per language.

    Examples
    --------
    >>> from ecomfs.task import load_task
    >>> card = load_task("review_sentiment")
    >>> card.label_space, [label.name for label in card.labels]
    ('closed', ['positive', 'negative', 'neutral'])
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: Bilingual
    description: Bilingual
    fields: tuple[CardField, ...] = Field(min_length=1)
    label_title: Bilingual
    label_column: tuple[str, ...] = ("label",)
    label_space: Literal["closed", "open"]
    labels: tuple[LabelSpec, ...] = ()
    label_separator: str | None = None
    hierarchy: str | None = None
    positive: str | None = None
    user: str | None = None
    instruction: Bilingual
    default_k: int = Field(default=8, ge=0, le=256)
    layout: Literal["line", "lines"] = "line"
    max_fields: int | None = Field(default=None, ge=1)
    language: Literal["auto", "en", "zh"] = "auto"
    templates: Bilingual = Bilingual(en="v1", zh="v1")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.label_space == "closed" and len(self.labels) < 2:
            raise ValueError("a closed label space needs at least two labels")
        if self.label_separator and self.hierarchy is not None:
            raise ValueError("label_separator and hierarchy cannot be used together")
        if self.hierarchy is not None and not self.hierarchy.strip():
            raise ValueError("hierarchy: give a separator such as ' > '")
        if self.hierarchy is not None and self.label_space == "closed":
            raise ValueError("a hierarchy needs label_space: open; the pool has its labels")
        if self.label_separator and not self.label_separator.strip():
            raise ValueError("label_separator: give a separator such as '|'")
        for name, times in Counter(f.name for f in self.fields).items():
            if times > 1:
                raise ValueError(f"two fields have the name {name!r}")
        owner: dict[str, list[tuple[LabelSpec, str]]] = {}
        for label in self.labels:
            for spelling in label.spellings():
                known = owner.setdefault(plain_key(spelling), [])
                for other, theirs in known:
                    if other.name != label.name and not (
                        # "polish" and "Polish" may be two labels, but an alias must be unambiguous.
                        theirs.strip() != spelling.strip()
                        and spelling in label.spellings()[:3]
                        and theirs in other.spellings()[:3]
                    ):
                        raise ValueError(
                            f"labels {other.name!r} and {label.name!r} share the spelling "
                            f"{spelling!r}"
                        )
                known.append((label, spelling))
        for name, times in Counter(label.name.strip() for label in self.labels).items():
            if times > 1:
                raise ValueError(f"two labels have the name {name!r}")
        if self.positive is not None and self.positive not in (x.name for x in self.labels):
            raise ValueError(f"positive: {self.positive!r} is not one of the labels")
        if self.user is not None and (self.user, "id") not in [
            (f.name, f.kind) for f in self.fields
        ]:
            raise ValueError(f"user: {self.user!r} is not a field of kind id")
        for language in ("en", "zh"):
            words = Counter(label.words.get(language) for label in self.labels)
            twice = [w for w, n in words.items() if n > 1]
            if twice:
                raise ValueError(f"two labels have the same {language} word {twice[0]!r}")
        return self

    @property
    def specs(self) -> tuple[FieldSpec, ...]:
        """The rendering of each field, in the order of the fields."""
        return tuple(f.rendering for f in self.fields)

    def _repr_html_(self) -> str:
        """HTML for notebooks."""
        from ecomfs_eval.html_view import paragraph, table, view

        fields = [
            [f.name, f.kind, f"{f.title.en} / {f.title.zh}", "yes" if f.required else "no"]
            for f in self.fields
        ]
        labels = [
            [x.name, f"{x.words.en} / {x.words.zh}", x.definition.en, x.definition.zh]
            for x in self.labels
        ]
        kind = "exactly these" if self.label_space == "closed" else "those of the examples"
        return view(
            f"{self.name}: {self.title.en} / {self.title.zh}",
            paragraph(self.description.en),
            paragraph(self.description.zh),
            table(["field", "kind", "title", "required"], fields),
            table(["label", "words", "definition", "定义"], labels) if labels else "",
            paragraph(f"labels: {kind} · {self.default_k} demonstrations by default", note=True),
        )

    @property
    def tabular(self) -> bool:
        """Whether rows have fields other than text, which :class:`ecomfs.features.RowText` writes
        in words."""
        return any(spec.kind != "text" for spec in self.fields)

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several labels."""
        return bool(self.label_separator)

    def labels_of(self, cell: str, where: str) -> tuple[str, ...]:
        """The labels in a cell; one unless the task is multi-label.

        Raises:
            InputError: see :func:`ecomfs.task.read_labels`.
        """
        if not self.label_separator:
            return (cell,)
        return read_labels(cell, where, self.label_separator)

    def with_rendering(self, specs: Sequence[FieldSpec]) -> TaskCard:
        """A copy whose fields have these renderings, one per field."""
        fields = zip(self.fields, specs, strict=True)
        made = tuple(f.model_copy(update={"rendering": spec}) for f, spec in fields)
        return self.model_copy(update={"fields": made})

    def row_text(self, fields: Row, language: Language) -> str:
        """A row as text with its cells unchanged: the value alone if there is one field, else
        ``Title: value`` lines.
        """
        present = [(f, squeeze(str(fields.get(f.name, "")))) for f in self.fields]
        if len(present) == 1:
            return present[0][1]
        colon = "：" if language == "zh" else ": "
        return "\n".join(f"{f.title.get(language)}{colon}{v}" for f, v in present if v)
