"""What the plugin for SLURM does while SLURM does not answer, played by a script, or forgets."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
import snakemake_executor_plugin_slurm as plugin
import snakemake_executor_plugin_slurm_jobstep as jobstep_plugin
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from i2crc.runtime import mended_snakemake

UNREACHABLE = "echo 'squeue: error: Unable to contact slurm controller' >&2; exit 1"


class Watched:
    """An executor that has sent some jobs, and what it finds out about them."""

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
        executor.logger = logging.getLogger("test")
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
        """Those that it goes on watching where squeue is such a script."""
        self.write("squeue", script)

        async def unfinished():
            return [job async for job in self.executor.check_active_jobs(self.jobs)]

        self.jobs = asyncio.run(unfinished())
        return [job.external_jobid for job in self.jobs]


@pytest.fixture
def watched(tmp_path, monkeypatch):
    for name in ("query_job_status", "pending_jobs_for_rule"):
        monkeypatch.setattr(plugin, name, getattr(plugin, name))
    for name in ("check_active_jobs", "run_array_jobs"):
        monkeypatch.setattr(plugin.Executor, name, getattr(plugin.Executor, name))
    sent = []
    for executor in (plugin.Executor, jobstep_plugin.Executor):
        monkeypatch.setattr(executor, "run_job", lambda executor, job: sent.append(job))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    mended_snakemake.mend_slurm(plugin, jobstep_plugin)
    watched = Watched(tmp_path, "7", "8", "9_1", "9_2")
    watched.sent = sent
    return watched


def test_jobs_are_watched_on_while_slurm_does_not_answer(watched, caplog):
    assert watched.look("printf '7|RUNNING\n8|RUNNING\n9_[1-2]|PENDING\n'") == [
        *("7", "8", "9_1", "9_2")
    ]
    assert watched.look(UNREACHABLE) == ["7", "8", "9_1", "9_2"]
    assert "SLURM does not answer" in caplog.text
    done = "printf '7|COMPLETED\n8|FAILED\n9_1|RUNNING\n9_2|RUNNING\n'"
    assert watched.look(done) == ["9_1", "9_2"]
    assert watched.succeeded == ["7"] and list(watched.failed) == ["8"]


def test_a_job_that_slurm_does_not_know_is_given_up(watched, monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr(mended_snakemake.time, "monotonic", lambda: seconds[0])
    without_8 = "printf '7|RUNNING\n9_[1-2]|PENDING\n'"
    assert watched.look(without_8) == ["7", "8", "9_1", "9_2"]
    seconds[0] += mended_snakemake.LOST / 2
    assert watched.look(without_8) == ["7", "8", "9_1", "9_2"]
    seconds[0] += mended_snakemake.LOST / 2
    assert watched.look(without_8) == ["7", "9_1", "9_2"]
    assert "SLURM does not know job 8" in watched.failed["8"] and len(watched.failed) == 1


def test_the_time_that_slurm_does_not_answer_does_not_count(watched, monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr(mended_snakemake.time, "monotonic", lambda: seconds[0])
    watched.look("true")
    seconds[0] += mended_snakemake.LOST * 2
    watched.look(UNREACHABLE)
    assert watched.look("true") == ["7", "8", "9_1", "9_2"] and not watched.failed


@pytest.mark.parametrize("until", ["it answers", "the run ends", "it was away for long"])
def test_jobs_are_sent_when_slurm_answers(watched, monkeypatch, caplog, until):
    watched.write("scontrol", "echo 'Slurmctld(primary) at login is DOWN'")
    watched.executor._job_submission_executor = pool = ThreadPoolExecutor(1)
    seconds, waited = [0.0], []

    def sleep(_):
        waited.append(list(watched.sent))
        if len(waited) < 3:
            return
        if until == "it answers":
            watched.write("scontrol", "echo 'Slurmctld(primary) at login is UP'")
        elif until == "the run ends":
            pool.shutdown()
        else:
            seconds[0] = mended_snakemake.AWAY + 1

    monkeypatch.setattr(
        mended_snakemake, "time", SimpleNamespace(monotonic=lambda: seconds[0], sleep=sleep)
    )
    watched.executor.run_job("job")
    assert waited == [[], [], []] and watched.sent == ["job"]
    assert caplog.text.count("SLURM does not answer") == 1


def test_a_job_begins_when_slurm_answers(watched, monkeypatch, caplog):
    watched.write("scontrol", "echo 'Slurmctld(primary) at login is DOWN'")
    up = "echo 'Slurmctld(primary) at login is UP'"
    clock = SimpleNamespace(monotonic=lambda: 0, sleep=lambda _: watched.write("scontrol", up))
    monkeypatch.setattr(mended_snakemake, "time", clock)
    job = object.__new__(jobstep_plugin.Executor)
    job.logger = logging.getLogger("test")
    job.run_job("job")
    assert watched.sent == ["job"] and "SLURM does not answer" in caplog.text
