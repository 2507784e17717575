"""``df.ecomfs``: the classifier on a DataFrame.

    import pandas as pd
    import ecomfs.frames

    reviews.ecomfs.classify("review_sentiment", examples=pool)

``import ecomfs`` registers it too, for programs that import pandas before or after; it does not
load pandas.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from ecomfs.estimators import Examples, FewShotClassifier
    from ecomfs.task import TaskCard

METRICS = ("accuracy", "f1_macro", "roc_auc", "log_loss")


@pd.api.extensions.register_dataframe_accessor("ecomfs")
class EcomfsAccessor:
    """Classifies the rows of a DataFrame, or measures a classifier on them.

    Both methods take the same parameters to say which classifier.

    Parameters
    ----------
    task : str, Path, TaskCard or FewShotClassifier
        Name, folder or :class:`~ecomfs.task.TaskCard`; or a fitted
        :class:`~ecomfs.FewShotClassifier`, and then nothing else.
    examples : DataFrame, path, Pool or sequence of Example, optional
        Labelled examples; ``None``: zero-shot, from the task's definitions.
    engine : str or Engine, optional
        See :class:`~ecomfs.FewShotClassifier`. A model named by a string is loaded once a process.
    label_column : str, optional
        The label of a DataFrame or file of examples; by the task's names by default.
    options
        The other parameters of :class:`~ecomfs.FewShotClassifier` (``k``, ``fields`` …).

    Raises
    ------
    ColumnError
        A column that is needed is not there, or two columns share a name.
    InputError
        Examples that cannot be used.
    ConfigError
        Options beside a fitted classifier, or that contradict each other.
    EngineError
        The engine cannot be opened, or is gone.

    Examples
    --------
    Without a model, the experts answer alone:

    >>> import pandas as pd
    >>> import ecomfs.frames
    >>> pool = pd.DataFrame({"text": ["Lovely, fits well", "Broke after a day"],
    ...                      "label": ["positive", "negative"]})
    >>> reviews = pd.DataFrame({"text": ["It broke"]}, index=["r1"])
    >>> reviews.ecomfs.classify("review_sentiment", pool, engine="none")["predicted"].to_dict()
    {'r1': 'negative'}
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def classify(
        self,
        task: str | Path | TaskCard | FewShotClassifier,
        examples: Examples | str | Path | None = None,
        *,
        engine: Any = None,
        label_column: str | None = None,
        probabilities: bool = False,
        **options: Any,
    ) -> pd.DataFrame:
        """A new frame: all columns, and beside them what ``ecomfs score`` adds.

        The index is kept and nothing is changed in place. The columns are ``predicted`` (missing
        where a row has no label), ``confidence``, ``status``, ``suggestion`` (the likeliest
        label, also of a row that abstained), ``prediction_set`` (a JSON list, where sets were
        fitted), ``novelty``, ``suspicious``, ``source``, ``error``, ``note``,
        ``demonstration_ids`` and ``template``, and with ``probabilities`` also ``p_<label>``; a
        name that the frame has already gets a suffix (``status_2``).

        Example (reads the packaged demo model)::

            reviews.ecomfs.classify("review_sentiment", pool)[["text", "predicted", "confidence"]]
        """
        from ecomfs.batch import COLUMNS, NUMBERS, set_cell
        from ecomfs.io import added_columns

        header = self._header()
        clf = _fitted(task, examples, engine, label_column, options)
        found = clf.classify(self._frame, [str(label) for label in self._frame.index])
        columns: dict[str, list[Any]] = {
            "predicted": [None if p.label is None else clf._classes[p.label] for p in found],
            "confidence": [p.confidence for p in found],
            "status": [str(p.status) for p in found],
            "suggestion": [
                None if p.suggestion is None else clf._classes[p.suggestion] for p in found
            ],
            "prediction_set": [set_cell(p) for p in found],
            "novelty": [p.novelty for p in found],
            "suspicious": [" ".join(p.suspicious) for p in found],
            "source": [p.source for p in found],
            "error": [p.error for p in found],
            "note": [p.note for p in found],
            "demonstration_ids": [" ".join(p.demonstration_ids) for p in found],
            "template": ["" if p.template is None else str(p.template) for p in found],
        }
        if probabilities:
            for name in clf.pipeline_.space.names:
                columns[f"p_{name}"] = [p.probabilities.get(name) for p in found]
        order = [*COLUMNS, *(name for name in columns if name not in COLUMNS)]
        numbers = {name for name in order if name in NUMBERS or name not in COLUMNS}
        added = pd.DataFrame(
            {
                new: pd.Series(
                    columns[name],
                    index=self._frame.index,
                    dtype="float64" if name in numbers else _dtype(columns[name]),
                )
                for name, new in zip(order, added_columns(header, order), strict=True)
            },
            index=self._frame.index,
        )
        return pd.concat([self._frame, added], axis=1)

    def evaluate(
        self,
        gold: str,
        task: str | Path | TaskCard | FewShotClassifier,
        examples: Examples | str | Path | None = None,
        *,
        engine: Any = None,
        label_column: str | None = None,
        metrics: Sequence[str] = METRICS,
        seed: int = 0,
        **options: Any,
    ) -> pd.DataFrame:
        """Metrics of the model and of the baselines, on the rows that have a true label.

        Args:
            gold: column with the true labels.
            metrics: names of the harness (:func:`ecomfs_eval.get_metric`); where rows abstain,
                the share that was answered and the precision among these are added.
            seed: of the resampling.

        Returns:
            One row a system and metric, with the columns ``system``, ``metric``, ``value``,
            ``low`` and ``high`` (95 % interval), ``n`` and ``note``. A value that is not defined
            is missing, and the note says why.

        Raises:
            EmptyInputError: no row has a true label.

        Warns:
            UserWarning: true labels that no labelled example has; their rows count as wrong.
        """
        from ecomfs.batch import Gold
        from ecomfs.errors import EmptyInputError
        from ecomfs.estimators import as_rows
        from ecomfs.evaluation.evaluate import ANSWERED, systems, unknown_labels
        from ecomfs.evaluation.harness import harness_errors
        from ecomfs.task import find_column
        from ecomfs_eval import Bootstrap, get_metric, scores

        header = self._header()
        column = header.index(find_column(header, gold, (), "DataFrame", "gold="))
        clf = _fitted(task, examples, engine, label_column, options)
        space = clf.pipeline_.space
        truth = [
            space.true_label(clf._text_of(value, f"row {row}, column {gold!r}"))
            for row, value in enumerate(self._frame.iloc[:, column].array)  # with their own type
        ]
        if not any(truth):
            raise EmptyInputError(f"DataFrame: column {gold!r} holds no true label")
        if unknown := unknown_labels(truth, space):
            warnings.warn(f"column {gold!r}: {unknown}", stacklevel=2)
        ids = [str(label) for label in self._frame.index]
        rows = as_rows(self._frame, clf.pipeline_.card, clf.fields)
        collected = Gold(ids, list(rows), truth, clf.classify(self._frame, ids))
        found = systems(collected, clf.pipeline_)
        # Where rows abstain, accuracy alone would hide how right the answered ones are.
        abstain = any("abstained" in predictions.status for predictions in found.values())
        names = [*metrics, *(ANSWERED if abstain else ())]
        with harness_errors():
            wanted = {name: get_metric(name) for name in dict.fromkeys(names)}
        out: list[dict[str, Any]] = []
        for system, predictions in found.items():
            for name, score in scores(wanted, predictions, Bootstrap(seed=seed)).items():
                bounds = score.interval
                out.append(
                    {
                        "system": system,
                        "metric": name,
                        "value": score.value,
                        "low": bounds.low if bounds else None,
                        "high": bounds.high if bounds else None,
                        "n": score.n,
                        "note": score.reason or score.note,
                    }
                )
        return pd.DataFrame(out)

    def _header(self) -> list[str]:
        from ecomfs.estimators import columns

        return columns(self._frame) or []


def _dtype(values: Sequence[Any]) -> str | None:
    """``object`` where pandas would infer floats from integer labels of which some are missing: the
    text of 1.0 is no label. ``None``: as pandas infers."""
    some = [value for value in values if value is not None]
    if some and (len(some) == len(values) or not isinstance(some[0], Integral)):
        return None
    return "object"


def _fitted(
    task: str | Path | TaskCard | FewShotClassifier,
    examples: Examples | str | Path | None,
    engine: Any,
    label_column: str | None,
    options: dict[str, Any],
) -> FewShotClassifier:
    from ecomfs.batch import read_examples
    from ecomfs.errors import ConfigError
    from ecomfs.estimators import FewShotClassifier
    from ecomfs.task import TaskCard, find_column, load_task

    if isinstance(task, FewShotClassifier):
        if examples is not None or engine is not None or label_column is not None or options:
            raise ConfigError(
                "a fitted classifier, and options beside it", hint="set them before fit"
            )
        task.refresh()
        return task
    clf = FewShotClassifier(task, "auto" if engine is None else engine, **options)
    card = task if isinstance(task, TaskCard) else load_task(task)
    if isinstance(examples, str | Path):
        return clf.fit(read_examples(examples, card, fields=clf.fields, label_column=label_column))
    if isinstance(examples, pd.DataFrame):
        header = [str(name) for name in examples.columns]
        column = find_column(header, label_column, card.label_column, "examples", "label_column=")
        return clf.fit(examples, examples.iloc[:, header.index(column)])
    return clf.fit([] if examples is None else examples)
