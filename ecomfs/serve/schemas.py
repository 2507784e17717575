"""Request and response bodies."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from ecomfs.types import Language, Status

MAX_ROWS = 256
"""Most rows per request."""


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("half a character (a lone surrogate)") from error
    return text


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL character")
    return _whole(text)


EncodableText = Annotated[str, AfterValidator(_whole)]
"""Text that is returned in responses: it must be encodable as UTF-8."""
StorableText = Annotated[str, AfterValidator(_storable)]
"""Text that is stored in a database."""

RowIn = Annotated[
    dict[EncodableText, JsonValue] | str,
    Field(description="field name → value; or just the text for tasks with one field"),
]


class In(BaseModel):
    """A request body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


TaskName = Annotated[
    EncodableText | None,
    Field(description="the task, if the service has several; see `GET /v1/tasks`"),
]


class ClassifyRequest(In):
    """Rows to classify: all texts, or all objects."""

    task: TaskName = None
    rows: list[RowIn] = Field(min_length=1, max_length=MAX_ROWS)
    ids: list[EncodableText] | None = Field(
        None, description="one id per row, returned with its prediction; by default 0, 1, 2, …"
    )
    explain: bool = Field(False, description="add an explanation to each prediction")


class ExplainRequest(In):
    """One row to explain."""

    task: TaskName = None
    row: RowIn
    id: EncodableText = "row"


class Out(BaseModel):
    """A response body."""

    model_config = ConfigDict(from_attributes=True)


class DemonstrationOut(Out):
    """A labelled example in the prompt."""

    id: str
    label: str
    text: str
    similarity: float | None = Field(description="null if it was not retrieved by similarity")
    fields: dict[str, JsonValue]
    synthetic: bool


class TurnOut(Out):
    """One turn of a prompt in chat format."""

    role: str = Field(description="system, user or assistant")
    text: str


class PromptOut(Out):
    """The prompt that the model read."""

    text: str
    dropped: int = Field(description="demonstrations left out to fit the context")
    cut: int = Field(description="characters of the row left out to fit the context")
    turns: list[TurnOut] = Field(
        default_factory=list, description="turns of the chat; empty for a completion prompt"
    )


class ExplanationOut(Out):
    """The explanation of a prediction."""

    language: Language
    demonstrations: list[DemonstrationOut] = Field(description="demonstrations in prompt order")
    prompt: PromptOut | None = Field(description="null when none could be made")
    raw: str | None = Field(description="the generated text, when the answer was read from text")
    experts: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="expert → label → probability; empty without experts"
    )
    nearest: float | None = Field(
        None, description="similarity of the most similar example; null without experts"
    )


class PredictionOut(Out):
    """The prediction for one row."""

    id: str
    label: str | None = Field(description="null unless status is ok")
    labels: list[str] | None = Field(
        None,
        description="the labels of this row, for tasks with several labels per row; `label` is "
        "then the cell with all of them",
    )
    suggestion: str | None = Field(
        None, description="the likeliest label, also if the row abstained"
    )
    confidence: float | None = Field(description="probability of the suggestion")
    probabilities: dict[str, float] = Field(description="label → probability, over all labels")
    status: Status
    error: str
    note: str
    label_mass: float | None = Field(
        description="probability that the model gives to any valid answer",
    )
    stages: dict[str, list[float]] = Field(
        default_factory=dict,
        description="the distribution after each step, in the order of `probabilities`",
    )
    source: str = Field("", description="source of the prediction: model, fused or experts")
    prediction_set: list[str] = Field(
        default_factory=list, description="labels that may be true; empty unless sets were fitted"
    )
    novelty: float | None = Field(
        None, description="p-value of belonging to one of the labels; null unless fitted"
    )
    suspicious: list[str] = Field(
        default_factory=list,
        description="why the row looks like an attack on the model; empty if it does not",
    )
    demonstration_ids: list[str]
    template: str | None = Field(description="name@sha of the template")
    engine: str
    pool_version: int
    prompt_tokens: int
    cached_tokens: int
    variant: str | None = Field(
        None, description="the variant that made the prediction, if traffic is split"
    )
    explanation: ExplanationOut | None = None


class ClassifyResponse(Out):
    """One prediction per row, in order."""

    predictions: list[PredictionOut]
    labels: list[str]


class ExplainResponse(Out):
    """One prediction with its explanation."""

    prediction: PredictionOut
    labels: list[str]


class PoolOut(Out):
    """The labelled examples in use."""

    size: int
    version: int


class VariantOut(Out):
    """One of the variants that traffic is split between."""

    name: str
    share: float = Field(description="share of the traffic; shares sum to one")
    engine: str
    k: int
    templates: dict[Language, str] = Field(description="language → name@sha")


class Health(Out):
    """The state of a task of the service."""

    status: str = Field(
        description="ok; stale: the current pool cannot be used, and an older version is in use "
        "(see `problem`); or unhealthy (see `engine_error`)"
    )
    problem: str = Field("", description="why the current pool is not in use; empty if it is")
    engine_error: str = Field("", description="why the engine is unhealthy; empty if it is not")
    task: str
    labels: list[str]
    fields: list[str] = Field(description="field names of a row")
    engine: str
    fingerprint: str
    k: int = Field(description="demonstrations per prompt")
    pool: PoolOut
    max_rows: int
    max_body_bytes: int
    version: str
    variants: list[VariantOut] = Field(
        default_factory=list, description="empty unless traffic is split"
    )
    unlogged: int = Field(0, description="number of predictions missing in the traffic log")


class Alive(Out):
    """The process responds."""

    status: str


class ProblemOut(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    hint: str


def problem_responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The documentation of error responses."""
    schema = {"$ref": "#/components/schemas/ProblemOut"}
    return {
        code: {
            "model": ProblemOut,
            "content": {"application/problem+json": {"schema": schema}},
        }
        for code in codes
    }
