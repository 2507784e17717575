"""The processors of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecomfs.core.cpus import processor_flags, usable_cpus


def test_the_processors_of_this_process_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert usable_cpus() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cpus() == 1


def test_a_system_without_a_list_of_instruction_sets_has_none(tmp_path: Path) -> None:
    assert processor_flags(tmp_path / "no such file") == frozenset()
    arm = tmp_path / "cpuinfo"
    arm.write_bytes(b"processor : 0\nFeatures : fp asimd\nmodel name : caf\xe9\n")
    assert processor_flags(arm) == frozenset()
