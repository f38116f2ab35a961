"""Limits on groups of processes, from trees as version 1 and 2 of control groups lay them out."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from honed.jobs import job as jobs
from honed.jobs import launch, limits
from honed.store.workspace import Workspace
from tests.jobs.counting import CountConfig

GB = 10**9


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where groups are mounted, without any; the process may run on 64 cores."""
    monkeypatch.setattr(limits, "_ROOT", tmp_path)
    monkeypatch.setattr(limits, "_GROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    return tmp_path


def _group(folder: Path, **files: object) -> None:
    """Write a group's files; ``memory__max`` is ``memory.max``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def _memory(folder: Path, limit: object, used: int, inactive: int = 0, active: int = 0) -> None:
    stat = f"anon {used - inactive - active}\ninactive_file {inactive}\nactive_file {active}"
    _group(folder, memory__max=limit, memory__current=used, memory__stat=stat)


def test_where_nothing_says_anything_of_groups_there_is_no_limit() -> None:
    assert limits.memory() == (limits.NO_LIMIT, limits.NO_LIMIT)
    assert limits.cores() == 64


def test_what_is_left_of_a_containers_memory_is_its_limit_less_what_its_processes_hold(tree: Path) -> None:
    _group(tree, own="0::/")
    _memory(tree, 8 * GB, 5 * GB, inactive=GB)
    assert limits.memory() == (8 * GB, 4 * GB)


def test_what_a_group_holds_of_files_is_left_be_it_read_once_or_often(tree: Path) -> None:
    _group(tree, own="0::/")
    _memory(tree, 8 * GB, 7 * GB, inactive=GB, active=3 * GB)
    assert limits.memory() == (8 * GB, 5 * GB)


def test_version_1_tells_the_same_in_its_own_words(tree: Path) -> None:
    _group(tree, own="5:cpu,cpuacct:/\n4:memory:/\n1:name=systemd:/\n0::/")
    stat = f"inactive_file 3\ntotal_inactive_file {GB}\ntotal_active_file {GB // 2}"
    _group(tree / "memory", memory__limit_in_bytes=8 * GB, memory__usage_in_bytes=5 * GB, memory__stat=stat)
    assert limits.memory() == (8 * GB, 45 * GB // 10)


def test_a_limit_on_any_group_above_holds_and_the_least_of_each_is_told(tree: Path) -> None:
    _group(tree, own="0::/slurm/job_7/step_0")
    _memory(tree / "slurm", 20 * GB, 19 * GB)  # other jobs hold most of it
    _memory(tree / "slurm" / "job_7", 8 * GB, 2 * GB)
    _memory(tree / "slurm" / "job_7" / "step_0", "max", GB)
    assert limits.memory() == (8 * GB, GB)


def test_nested_groups_of_version_1_count_and_a_number_near_the_largest_limits_nothing(tree: Path) -> None:
    _group(tree, own="4:memory:/docker/abc")
    _group(tree / "memory", memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=30 * GB)
    _group(tree / "memory" / "docker" / "abc", memory__limit_in_bytes=8 * GB, memory__usage_in_bytes=5 * GB)
    assert limits.memory() == (8 * GB, 3 * GB)


@pytest.mark.parametrize("path", ["/kubepods/pod7/abc", "/../../elsewhere"])
def test_in_a_container_that_is_told_the_hosts_paths_its_own_group_is_found(tree: Path, path: str) -> None:
    _group(tree, own=f"0::{path}")
    _memory(tree, 8 * GB, 5 * GB)
    assert limits.memory() == (8 * GB, 3 * GB)


def test_of_a_group_that_says_only_its_limit_all_is_left_and_of_one_that_is_over_it_nothing(tree: Path) -> None:
    _group(tree, own="0::/")
    _group(tree, memory__max=8 * GB)
    assert limits.memory() == (8 * GB, 8 * GB)
    _memory(tree, 8 * GB, 9 * GB)
    assert limits.memory() == (8 * GB, 0)


@pytest.mark.parametrize(("quota", "cores"), [("200000 100000", 2), ("max 100000", 64), ("50000 100000", 1)])
def test_a_quota_of_version_2_counts_in_whole_cores_one_at_least(tree: Path, quota: str, cores: int) -> None:
    _group(tree, own="0::/pod/abc")
    _group(tree / "pod", cpu__max=quota)
    _group(tree / "pod" / "abc", cpu__max="max 100000")
    assert limits.cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [(350_000, 3), (-1, 64)])
def test_a_quota_of_version_1_counts_too(tree: Path, quota: int, cores: int) -> None:
    _group(tree, own="3:cpu,cpuacct:/docker/abc")
    _group(tree / "cpu", cpu__cfs_quota_us=quota, cpu__cfs_period_us=100_000)
    assert limits.cores() == cores


def test_no_quota_gives_more_cores_than_the_process_may_run_on(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _group(tree, own="0::/")
    _group(tree, cpu__max="6400000 100000")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert limits.cores() == limits.runs_on() == 2


@pytest.mark.parametrize(("ranks", "threads"), [(1, "6"), (4, "1")])
def test_a_worker_starts_no_more_threads_than_its_quota_pays_for(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, ranks: int, threads: str
) -> None:
    monkeypatch.setattr(limits, "runs_on", lambda: 64)
    monkeypatch.setattr(limits, "_quotas", lambda: (6,))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    job = jobs.create(workspace, "counting", CountConfig(ranks=ranks))
    assert launch._environment(job, "counting")["OMP_NUM_THREADS"] == threads
    monkeypatch.setenv("OMP_NUM_THREADS", "12")  # what the user said
    assert launch._environment(job, "counting")["OMP_NUM_THREADS"] == "12"


def test_where_memory_is_short_fewer_processes_run_than_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "cores", lambda: 128)
    for left, processes in ((8 * 10**9, 26), (10**8, 1), (limits.NO_LIMIT, 128)):
        monkeypatch.setattr(limits, "memory", lambda left=left: (left, left))
        monkeypatch.setattr(limits.psutil, "virtual_memory", lambda: SimpleNamespace(available=10**12))
        assert limits.processes() == processes
