"""Workarounds for bugs of snakemake-executor-plugin-slurm 2.8.0, one function for each bug.

rules/run.smk calls `apply` when a run begins that submits its jobs to SLURM.
"""

from importlib.metadata import version
from logging import Logger

import snakemake_executor_plugin_slurm as plugin

PLUGIN = "snakemake-executor-plugin-slurm"
AFFECTED = "2.8.0"


def apply(logger: Logger) -> None:
    """Apply all workarounds if the installed plugin has the bugs; else warn, and change nothing."""
    installed = version(PLUGIN)
    if installed != AFFECTED:
        logger.warning(
            f"profiles/slurm/workarounds.py is for {PLUGIN} {AFFECTED}; {installed} is installed "
            "and used as it is. Install the pinned version if jobs are never submitted, or if the "
            "run waits for jobs that have ended."
        )
        return
    submit_incomplete_arrays()
    keep_jobs_without_status()


def submit_incomplete_arrays() -> None:
    """Submit an array job although other jobs of its rule are ready.

    The plugin drops the offered jobs of a rule if they are fewer than its ready jobs, as --jobs or
    a retry makes them. They are neither submitted nor offered again, so the run never ends.
    https://github.com/snakemake/snakemake-executor-plugin-slurm/issues/473
    """
    plugin.pending_jobs_for_rule = lambda dag, rule: 0


def keep_jobs_without_status() -> None:
    """Keep watching the submitted jobs while SLURM does not answer.

    After `slurm-status-attempts` failed queries the plugin forgets its jobs, and the run never
    ends. To reproduce: submit a job of some minutes, stop slurmctld for two minutes.
    https://github.com/snakemake/snakemake-executor-plugin-slurm/issues/207
    """
    check = plugin.Executor.check_active_jobs

    async def check_active_jobs(executor, active_jobs):
        answers = executor._status_query_calls
        async for job in check(executor, active_jobs):
            yield job
        if active_jobs and executor._status_query_calls == answers:
            executor.logger.warning("SLURM does not answer. It is asked again; its jobs go on.")
            for job in active_jobs:
                yield job

    plugin.Executor.check_active_jobs = check_active_jobs
