"""Builds a :class:`~ecomfs.pipeline.pipeline.Pipeline` from a task, examples and an engine.

Options that the user did not set are chosen here, and only here: prompt languages, template,
read-out, and token budget.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ecomfs.calibration import Blend, DecisionPolicy, expert_priors
from ecomfs.core.options import FormatChoice, SimilarityChoice, TemplateChoice
from ecomfs.core.progress import EMBEDDING, Progress, silent
from ecomfs.embed import Embedder
from ecomfs.engine.chat import CONTROL, chat_model, frame_checked
from ecomfs.engine.protocol import Engine, has_model
from ecomfs.errors import ConfigError, MissingFileError, ModelError, PoolError, RowError
from ecomfs.experts import Experts
from ecomfs.features import RowText, has_features
from ecomfs.io import read_text
from ecomfs.pipeline.options import MAX_LABELS, SHORTLIST, Options
from ecomfs.pipeline.pipeline import ANSWER_TOKENS, LanguageSetup, Pipeline
from ecomfs.pipeline.shortlist import LabelShortlist
from ecomfs.prompt import ChatFormat, Fence, PromptBuilder, Template
from ecomfs.readout import (
    AnswerFormat,
    LogprobReadout,
    Readout,
    Step,
    Verbalizer,
    chain,
    codes,
    words,
)
from ecomfs.retrieve import (
    DEFAULT_WEIGHT,
    ChosenSimilarity,
    DemonstrationLayout,
    Layout,
    Retriever,
    choose_similarity,
)
from ecomfs.screen import Mask, Screen
from ecomfs.task import Label, LabelSpace, TaskCard, template_source
from ecomfs.types import Example, Language, Turn


class TemplateWarning(UserWarning):
    """A template does not show all fields of a row."""


def build_pipeline(
    card: TaskCard,
    examples: Sequence[Example],
    engine: Engine,
    embedder: Embedder,
    options: Options,
    *,
    task: str | Path,
    pool_version: int = 0,
    where: str = "pool",
    block: Sequence[str] = (),
    variant: int = 0,
    progress: Progress = silent,
) -> Pipeline:
    """Assemble a pipeline from a task, labelled examples and an engine.

    Parameters
    ----------
    card : TaskCard
        The task.
    examples : sequence of Example
        The labelled examples; none for zero-shot.
    engine : Engine
        The engine; with ``none`` the experts classify without a model.
    embedder : Embedder
        The embedder of the retriever.
    options : Options
        The options of the user.
    task : str or Path
        Name or folder of the task, to find its templates.
    pool_version : int
        Version of the examples.
    where : str
        Name of the pool in error messages.
    block, variant
        The shared block, as in :class:`ecomfs.retrieve.DemonstrationLayout`.
    progress : Progress
        Called with the number of embedded examples.

    Returns
    -------
    Pipeline
        An unfitted pipeline; nothing has been read.

    Raises
    ------
    EcomfsError
        Labels, template and engine do not fit together.

    Examples
    --------
    >>> from ecomfs.embed import HashedEmbedder
    >>> from ecomfs.engine.factory import NoEngine
    >>> from ecomfs.task import load_task
    >>> from ecomfs.types import Example
    >>> pool = [Example("1", {"text": "broke at once"}, "negative"),
    ...         Example("2", {"text": "fits well"}, "positive")]
    >>> pipeline = build_pipeline(load_task("review_sentiment"), pool, NoEngine(),
    ...                           HashedEmbedder(), Options(k=1), task="review_sentiment")
    >>> len(pipeline.retriever), pipeline.space.names, pipeline.has_model
    (2, ('positive', 'negative'), False)
    """
    space = LabelSpace.resolve(card, (e.label for e in examples), where)
    # Predictions, votes and demonstrations use one spelling per label, the first one of the pool.
    examples = [
        replace(e, label=space.names[space.require(e.label, f"{where}: example {e.id!r}")])
        for e in examples
    ]
    mask = Mask.of(options.mask)
    if mask is not None:
        examples = mask.examples(examples, card)
    k = card.default_k if options.k is None else options.k
    languages = prompt_languages(card, options)
    rows, retriever = build_retriever(card, examples, embedder, options, where, progress)
    card = rows.card  # with column statistics from the pool
    if not has_model(engine):
        if retriever is None:
            raise ConfigError(
                "no model (--engine none) and no labelled examples: rows cannot be classified",
                hint="give labelled examples (--examples), or name a model: --engine auto",
            )
        only = Experts(retriever, space.names, card)
        # Prior weights, before the fit on the pool (ecomfs.fit).
        alone = Blend((expert_priors(only.names)[0][0],), (1.0,))
        return Pipeline(
            card=card,
            space=space,
            engine=engine,
            setups={},
            seed=options.seed,
            rows=rows,
            retriever=retriever,
            k=k,
            language=None if len(languages) > 1 else languages[0],
            pool_version=pool_version,
            experts=only,
            policy=DecisionPolicy(experts_only=alone),
            screen=Screen.of(card, space, examples, mask=mask),
            suspicious=options.suspicious,
        )
    label_shortlist, experts = None, None
    size = _shortlist(options, space)
    if (size or options.suspicious == "experts") and retriever is not None:
        experts = Experts(retriever, space.names, card)
    if size and experts is not None:
        label_shortlist = LabelShortlist.fit(experts, size)
    layout = None
    if k and retriever is not None:
        chosen = choose_layout(card, len(space), k)
        name = chosen if options.layout == "auto" else options.layout
        layout = DemonstrationLayout(
            retriever, k, name, block=block, variant=variant, seed=options.seed
        )
    chat = chat_format(engine, options.format)
    fence = Fence.of(examples, options.seed) if options.fence else None
    limit = engine.capabilities.context_tokens - ANSWER_TOKENS

    def setups(seed: int) -> dict[Language, LanguageSetup]:
        mine = replace(options, seed=seed)
        few = label_shortlist is not None
        return {
            lang: _setup(card, space, engine, mine, lang, task, rows, few, chat, fence)
            for lang in languages
        }

    first = setups(options.seed)
    return Pipeline(
        card=card,
        space=space,
        engine=engine,
        setups=first,
        extra_passes=tuple(setups(options.seed + n) for n in range(1, options.passes)),
        seed=options.seed,
        rows=rows,
        retriever=retriever,
        k=k,
        language=None if len(languages) > 1 else languages[0],
        budget=limit if options.budget is None else min(options.budget, limit),
        pool_version=pool_version,
        experts=experts,
        label_shortlist=label_shortlist,
        layout=layout,
        screen=_screen(card, space, examples, engine, first.values(), mask),
        suspicious=options.suspicious,
        cascade=options.cascade,
    )


def _screen(
    card: TaskCard,
    space: LabelSpace,
    examples: Sequence[Example],
    engine: Engine,
    setups: Iterable[LanguageSetup],
    mask: Mask | None,
) -> Screen:
    """The screen for imitations of these prompts."""
    builders = [setup.builder for setup in setups]
    return Screen.of(
        card,
        space,
        examples,
        titles=[title for builder in builders for title in builder.titles()],
        label_titles=[builder.cue().strip().rstrip(":：") for builder in builders],
        answers=[answer for builder in builders for answer in builder.answers],
        markers=_markers(engine),
        mask=mask,
    )


def _markers(engine: Engine) -> list[str]:
    """The control tokens of the model's chat template, also for completion prompts."""
    model = chat_model(engine)
    if model is None or model.render is None:
        return []
    try:
        frame = model.render([Turn("user", "x"), Turn("assistant", "x"), Turn("user", "x")])
    except ModelError:  # the template refuses these turns, so chat prompts are not used
        return []
    return sorted(set(CONTROL.findall(frame)))


def build_retriever(
    card: TaskCard,
    examples: Sequence[Example],
    embedder: Embedder,
    options: Options,
    where: str = "pool",
    progress: Progress = silent,
) -> tuple[RowText, Retriever | None]:
    """Make the row renderer and the retriever.

    Parameters
    ----------
    card : TaskCard
        The task.
    examples : sequence of Example
        The labelled examples.
    embedder : Embedder
        The embedder of their texts.
    options : Options
        Similarity, selection strategy, rendering and seed.
    where : str
        Name of the pool in error messages.
    progress : Progress
        Called with the number of embedded examples.

    Returns
    -------
    tuple of RowText and Retriever
        The retriever is ``None`` without examples.

    Raises
    ------
    PoolError
        An example cannot be rendered as text.

    Examples
    --------
    >>> from ecomfs.embed import HashedEmbedder
    >>> from ecomfs.task import load_task
    >>> pool = [Example("1", {"text": "broke at once"}, "negative"),
    ...         Example("2", {"text": "fits well"}, "positive")]
    >>> card = load_task("review_sentiment")
    >>> rows, retriever = build_retriever(card, pool, HashedEmbedder(), Options())
    >>> (shown,) = retriever.retrieve([rows.render({"text": "it broke"}, "en")], k=1)
    >>> shown[0].example.label
    'negative'
    """
    rows, texts = _rendered_examples(card, examples, where, options)
    card = rows.card
    if not examples:
        return rows, None
    progress(EMBEDDING, 0, len(examples))
    choice = _similarity(card, examples, texts, embedder, options.similarity)
    return rows, Retriever(
        examples,
        texts,
        embedder,
        mode=choice.mode,
        strategy=options.strategy,
        seed=options.seed,
        fields=card.specs,
        tabular_weight=choice.weight,
        choice=choice,
        progress=progress,
    )


def choose_layout(card: TaskCard, labels: int, k: int) -> Layout:
    """The default layout of demonstrations (measured in ``docs/retrieval.md``).

    Rows of one text share a block that shows every label twice, if k examples are enough; with more
    labels, half of the demonstrations are shared. Rows with several fields have their own
    demonstrations.

    Parameters
    ----------
    card : TaskCard
        The task.
    labels : int
        Number of labels.
    k : int
        Demonstrations per prompt.

    Examples
    --------
    >>> from ecomfs.task import load_task
    >>> card = load_task("review_sentiment")
    >>> choose_layout(card, 2, 4), choose_layout(card, 77, 8)
    ('shared', 'both')
    >>> choose_layout(load_task("purchase_intent"), 2, 8)
    'retrieved'
    """
    if card.tabular or len(card.fields) > 1:
        return "retrieved"
    return "shared" if 2 * labels <= k else "both"


def _shortlist(options: Options, space: LabelSpace) -> int:
    """Size of the label shortlist; 0: no shortlist."""
    wanted = options.shortlist
    if wanted is None:
        wanted = SHORTLIST if len(space) > MAX_LABELS else 0
    return wanted if wanted < len(space) else 0


def _similarity(
    card: TaskCard,
    examples: Sequence[Example],
    texts: Sequence[str],
    embedder: Embedder,
    wanted: SimilarityChoice,
) -> ChosenSimilarity:
    """The similarity that the user set, or the one chosen on the pool."""
    if wanted == "text" or (wanted == "auto" and not has_features(card)):
        return ChosenSimilarity("dense", 0.0, "the rows' texts")
    if wanted == "auto":
        return choose_similarity(examples, texts, embedder, card.specs)
    return ChosenSimilarity(wanted, 1.0 if wanted == "tabular" else DEFAULT_WEIGHT, "set by option")


def _rendered_examples(
    card: TaskCard, examples: Sequence[Example], where: str, options: Options
) -> tuple[RowText, list[str]]:
    """The row renderer, and the texts of the examples."""
    rows, texts = RowText(card, options.rendering, options.facts), []
    try:
        rows.fit([e.fields for e in examples], [e.label for e in examples])
    except RowError as error:
        raise PoolError(f"{where}: {error.message}", hint=error.hint) from error
    for example in examples:
        try:
            texts.append(rows.render(example.fields, "en"))
        except RowError as error:
            hint = error.hint or "correct the cell, or leave the example out"
            raise PoolError(
                f"{where}: example {example.id!r}: {error.message}", hint=hint
            ) from error
    return rows, texts


def check_templates(card: TaskCard, options: Options, task: str | Path) -> None:
    """Compile the templates that a run will use.

    Parameters
    ----------
    card : TaskCard
        The task.
    options : Options
        Template and language.
    task : str or Path
        Name or folder of the task.

    Raises
    ------
    TemplateError
        See :func:`load_template`.

    Warns
    -----
    TemplateWarning
        A template does not show a field of the rows.

    Examples
    --------
    >>> from ecomfs.task import load_task
    >>> card = load_task("review_sentiment")
    >>> check_templates(card, Options(language="en"), "review_sentiment")
    >>> check_templates(card, Options(language="en", template="v9"), "review_sentiment")
    Traceback (most recent call last):
    ecomfs.errors.TaskError: ...
    """
    for language in prompt_languages(card, options):
        template = load_template(card, options.template, language, task)
        for name in _trial(card, template, language).hidden_fields():
            warnings.warn(
                f"template {template.ref.name} does not show field {name!r}",
                TemplateWarning,
                stacklevel=3,
            )


def prompt_languages(card: TaskCard, options: Options) -> tuple[Language, ...]:
    """The languages of the prompts: one, or both if prompts follow the language of each row.

    >>> from ecomfs.task import load_task
    >>> prompt_languages(load_task("review_sentiment"), Options(language="auto"))
    ('en', 'zh')
    """
    language = card.language if options.language is None else options.language
    return (language,) if language != "auto" else ("en", "zh")


def _setup(
    card: TaskCard,
    space: LabelSpace,
    engine: Engine,
    options: Options,
    language: Language,
    task: str | Path,
    rows: RowText,
    narrowed: bool,
    chat: ChatFormat | None,
    fence: Fence | None,
) -> LanguageSetup:
    template = load_template(card, options.template, language, task)
    verbalizer = words(space, language)

    def builder_of(answers: Verbalizer) -> PromptBuilder:
        return PromptBuilder(card, space, template, language, answers.answers, rows, chat, fence)

    separator = builder_of(verbalizer).separator()

    def make(step: Step) -> tuple[LanguageSetup, Readout]:
        answers = verbalizer
        if step.kind == "codes":
            answers = codes(space, engine.tokenizer, separator, options.seed)
        builder = builder_of(answers)
        end = None if chat is None else chat.end
        wording = AnswerFormat(space, answers, builder.cue(), builder.separator(), end)
        readout = step.readout.of(wording, engine)
        return LanguageSetup(builder, readout), readout

    return chain.first(chain.steps(engine, options.readout), make, shortlisted=narrowed)


def chat_format(engine: Engine, choice: FormatChoice) -> ChatFormat | None:
    """The chat format of the prompts.

    Parameters
    ----------
    engine : Engine
        The engine.
    choice : {"auto", "completion", "chat"}
        ``auto``: completion, unless a fit chose the format.

    Returns
    -------
    ChatFormat
        ``None`` for completion prompts.

    Raises
    ------
    ConfigError
        ``chat``, but the model has no chat template.
    ModelError
        ``chat``, but the template cannot hold demonstrations, or rows could imitate its frame.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> base = SimpleNamespace(spec="gguf:demo", chat=None)
    >>> chat_format(base, "auto") is None
    True
    >>> chat_format(base, "chat")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: gguf:demo: the model has no chat template: ...
    """
    if choice != "chat":
        return None
    model = chat_model(engine)
    if model is not None:
        safe, seen = frame_checked(model, engine.tokenizer)
        if not safe:
            raise ModelError(f"{engine.spec}: {seen}", hint="use --format completion")
        return ChatFormat(engine.spec, model.identity, model.render, model.encode)
    raise ConfigError(
        f"{engine.spec}: the model has no chat template: it is a base model, or a file is missing",
        hint="use --format completion, or an instruct model (ecomfs models)",
    )


def gives_logprobs(engine: Engine) -> bool:
    """Whether an engine gives the log-probabilities of given tokens.

    Parameters
    ----------
    engine : Engine
        The engine.

    Returns
    -------
    bool
        ``False`` if answers are read as text.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from ecomfs.engine import Capabilities
    >>> text_only = Capabilities(False, True, False, context_tokens=512)
    >>> gives_logprobs(SimpleNamespace(tokenizer=None, capabilities=text_only))
    False
    """
    return LogprobReadout.supported(engine)


def load_template(
    card: TaskCard, choice: TemplateChoice, language: Language, task: str | Path
) -> Template:
    """The template of a language: the card's version, another version, or a user's file.

    Parameters
    ----------
    card : TaskCard
        The task.
    choice : str, Path, mapping, or None
        A version, a file, or one of either per language; ``None``: that of the card.
    language : {"en", "zh"}
        Language of the prompt.
    task : str or Path
        Name or folder of the task.

    Returns
    -------
    Template
        The compiled template, rendered once as a test.

    Raises
    ------
    TemplateError
        It does not compile, does not render, or does not show the rows.
    MissingFileError
        The file does not exist.

    Examples
    --------
    >>> from ecomfs.task import load_task
    >>> card = load_task("review_sentiment")
    >>> load_template(card, None, "zh", "review_sentiment").ref.name
    'review_sentiment/zh.v1'
    >>> load_template(card, "mine.jinja", "en", "review_sentiment")
    Traceback (most recent call last):
    ecomfs.errors.MissingFileError: mine.jinja: No such file or directory
    """
    if isinstance(choice, Mapping):
        choice = choice.get(language)
    if choice is None:
        choice = card.templates.get(language)
    if isinstance(choice, Path) or str(choice).endswith((".jinja", ".j2")):
        path = Path(choice)
        try:
            source = read_text(path)
        except OSError as error:
            raise MissingFileError(f"{path}: {error.strerror}") from error
        template = Template(source, path.name)
    else:
        source = template_source(task, language, str(choice))
        template = Template(source, f"{card.name}/{language}.{choice}")
    # Undefined names are found only when a template is rendered, so render it now.
    trial = _trial(card, template, language)
    trial.separator()
    trial.hidden_fields()
    return template


def _trial(card: TaskCard, template: Template, language: Language) -> PromptBuilder:
    space = LabelSpace([Label("a"), Label("b")])
    return PromptBuilder(card, space, template, language, space.names)


__all__ = [
    "TemplateWarning",
    "build_pipeline",
    "build_retriever",
    "chat_format",
    "check_templates",
    "gives_logprobs",
    "load_template",
    "prompt_languages",
]
