"""The number of processors of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecomfs.core.cpus import processor_flags, sleeping_threads, usable_cpus


def test_the_processors_of_this_process_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert usable_cpus() == [0, 3, 5]
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cpus() == [0]


def test_a_system_without_a_list_of_instruction_sets_has_none(tmp_path: Path) -> None:
    assert processor_flags(tmp_path / "no such file") == frozenset()
    arm = tmp_path / "cpuinfo"
    arm.write_bytes(b"processor : 0\nFeatures : fp asimd\nmodel name : caf\xe9\n")
    assert processor_flags(arm) == frozenset()


def test_the_users_openmp_policy_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    with sleeping_threads():
        assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "OMP_WAIT_POLICY" not in os.environ
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with sleeping_threads():
        assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
