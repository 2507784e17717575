"""What differs between two results folders: causes first, then effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ecomfs_eval.manifest import Manifest


@dataclass(frozen=True, slots=True)
class ManifestChange:
    """One thing that differs between two manifests.

    Attributes:
        what: ``input``, ``setting``, ``rows``, ``predictions`` or ``score``.
        name: which, such as ``test.csv``, ``k`` or ``bm25 accuracy``.
        old, new: the values; ``None`` where there is none.
    """

    what: str
    name: str
    old: Any
    new: Any


def compare_manifests(old: Manifest, new: Manifest) -> tuple[ManifestChange, ...]:
    """What differs: inputs and settings first (the causes), then systems (the effects).

    >>> from ecomfs_eval.manifest import Manifest
    >>> a = Manifest({"k": 4}, {}, ())
    >>> compare_manifests(a, Manifest({"k": 8}, {}, ()))
    (Change(what='setting', name='k', old=4, new=8),)
    """
    changes = []

    def note(what: str, name: str, before: Any, after: Any) -> None:
        if before != after:
            changes.append(ManifestChange(what, name, before, after))

    for name in dict.fromkeys([*old.inputs, *new.inputs]):
        before, after = (m.inputs[name].sha256 if name in m.inputs else None for m in (old, new))
        note("input", name, before, after)
    for name in dict.fromkeys([*old.settings, *new.settings]):
        note("setting", name, old.settings.get(name), new.settings.get(name))
    was = {s.name: s for s in old.systems}
    now = {s.name: s for s in new.systems}
    for name in dict.fromkeys([*was, *now]):
        a, b = was.get(name), now.get(name)
        note("rows", name, a and a.rows, b and b.rows)
        note("predictions", name, a and a.file.sha256, b and b.file.sha256)
        if a is not None and b is not None:
            for metric in dict.fromkeys([*a.scores, *b.scores]):
                note("score", f"{name} {metric}", a.scores.get(metric), b.scores.get(metric))
    return tuple(changes)
