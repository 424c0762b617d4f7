"""The workarounds for bugs of the SLURM plugin, while scripts stand in for SLURM."""

import asyncio
import importlib.metadata
import logging
import runpy
import threading
import time
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
import snakemake_executor_plugin_slurm as plugin
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

from helpers.project import ROOT

UNREACHABLE = "echo 'squeue: error: Unable to contact slurm controller' >&2; exit 1"
log = logging.getLogger("test")


def apply() -> None:
    """Apply the workarounds as rules/run.smk does."""
    runpy.run_path(str(ROOT / "profiles/workarounds.py"))["apply"](log, "slurm")


@pytest.fixture(autouse=True)
def unpatched(monkeypatch):
    """Take the workarounds back after each test."""
    for owner, name in (
        (plugin, "pending_jobs_for_rule"),
        (plugin.Executor, "check_active_jobs"),
        (RemoteExecutor, "cancel"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))


class Watched:
    """An executor that has submitted some jobs, and what it reports about them."""

    def __init__(self, folder: Path, *jobs: str) -> None:
        self.folder = folder
        self.write("scontrol", "echo 'MinJobAge = 300 sec'")
        self.executor = executor = object.__new__(plugin.Executor)
        settings = SimpleNamespace(
            init_seconds_before_status_checks=1,
            status_attempts=2,
            status_command="squeue",
            requeue=True,
            keep_successful_logs=True,
        )
        executor.workflow = SimpleNamespace(executor_settings=settings)
        executor.logger = log
        executor.run_uuid = "run"
        executor.status_rate_limiter = AsyncExitStack()
        executor._next_seconds_between_status_checks = 1
        executor._status_query_calls = executor._status_query_failures = 0
        executor._status_query_total_seconds = executor._status_query_max_seconds = 0.0
        executor._status_query_min_seconds = None
        executor._status_query_cycle_rows = []
        executor._preemption_warning = False
        self.succeeded, self.failed = [], {}
        executor.report_job_success = lambda job: self.succeeded.append(job.external_jobid)
        executor.report_job_error = lambda job, msg, aux_logs: self.failed.update(
            {job.external_jobid: msg}
        )
        self.jobs = [SubmittedJobInfo(None, job, {"slurm_logfile": folder / job}) for job in jobs]

    def write(self, name: str, script: str) -> None:
        (self.folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / name).chmod(0o755)

    def look(self, script: str) -> list[str]:
        """Return the jobs that it goes on watching after squeue was this script."""
        self.write("squeue", script)

        async def unfinished():
            return [job async for job in self.executor.check_active_jobs(self.jobs)]

        self.jobs = asyncio.run(unfinished())
        return [job.external_jobid for job in self.jobs]


@pytest.fixture
def watched(tmp_path, monkeypatch) -> Watched:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return Watched(tmp_path, "7", "8", "9_1", "9_2")


def test_jobs_are_watched_while_slurm_does_not_answer(watched, caplog):
    apply()
    assert watched.look("printf '7|RUNNING\n8|RUNNING\n9_[1-2]|PENDING\n'") == [
        *("7", "8", "9_1", "9_2")
    ]
    assert "SLURM does not answer" not in caplog.text
    assert watched.look(UNREACHABLE) == ["7", "8", "9_1", "9_2"]
    assert "SLURM does not answer" in caplog.text
    done = "printf '7|COMPLETED\n8|FAILED\n9_1|RUNNING\n9_2|RUNNING\n'"
    assert watched.look(done) == ["9_1", "9_2"]
    assert watched.succeeded == ["7"] and list(watched.failed) == ["8"]
    assert watched.look("printf '9_1|COMPLETED\n9_2|COMPLETED\n'") == []
    assert watched.look(UNREACHABLE) == []


class Submitting:
    """An executor whose rule `crf` is submitted as an array job, and what it has submitted."""

    def __init__(self, ready: int) -> None:
        self.executor = executor = object.__new__(plugin.Executor)
        self.rule = SimpleNamespace(name="crf")
        dag = SimpleNamespace(ready_jobs=[SimpleNamespace(rule=self.rule)] * ready)
        executor.workflow, executor.logger = SimpleNamespace(dag=dag), log
        executor._main_event_loop = None
        executor.array_jobs, executor.max_array_size = {"crf"}, 1000
        self.sent = []
        executor._submit_job = lambda job: self.sent.append(1)
        executor._submit_array_jobs = lambda jobs: self.sent.append(len(jobs))

    def offer(self, count: int) -> list[int]:
        """Offer it jobs; return the sizes of the submitted arrays so far."""
        job = SimpleNamespace(rule=self.rule, name="crf", is_group=lambda: False)
        self.executor.run_jobs([job] * count)
        return self.sent


def test_offered_jobs_are_submitted_although_others_are_ready():
    apply()
    submitting = Submitting(ready=8)
    assert submitting.offer(3) == [3]
    assert submitting.offer(1) == [3, 1]


class Looking(RemoteExecutor):
    """An executor that is asking for the state of its job."""

    def __init__(self) -> None:
        self.lock, self.wait, self.active_jobs = threading.Lock(), True, []
        self.cancelled: list[str] = []
        self.wait_thread = threading.Thread(target=self.look)
        self.wait_thread.start()

    def look(self) -> None:
        while self.wait:
            time.sleep(0.1)
        time.sleep(0.3)  # the rest of the answer
        with self.lock:
            self.active_jobs.append("7")

    def cancel_jobs(self, active_jobs) -> None:
        self.cancelled += active_jobs

    def shutdown(self) -> None:
        self.wait = False
        self.wait_thread.join()

    run_job = check_active_jobs = None


def test_a_job_that_is_looked_at_is_cancelled():
    apply()
    looking = Looking()
    looking.cancel()
    assert looking.cancelled == ["7"]


def test_the_installed_plugins_have_the_bugs(watched):
    """If this fails, the pinned plugin is fixed: remove the workaround."""
    looking = Looking()
    looking.cancel()
    assert looking.cancelled == []
    assert watched.look(UNREACHABLE) == []
    assert Submitting(ready=8).offer(3) == []


def test_another_version_is_warned_of_and_left_as_it_is(monkeypatch, caplog):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.9.0")
    before = plugin.pending_jobs_for_rule, plugin.Executor.check_active_jobs
    apply()
    assert (plugin.pending_jobs_for_rule, plugin.Executor.check_active_jobs) == before
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert caplog.text.count("2.9.0 is installed") == 2
