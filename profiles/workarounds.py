"""Workarounds for bugs of Snakemake's executors, one function for each bug.

rules/run.smk calls `apply` when a run begins that submits its jobs to a scheduler.
"""

import time
from importlib.metadata import version
from logging import Logger

from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


def apply(logger: Logger, executor: str) -> None:
    """Apply the workarounds for an executor, where the installed packages have the bugs.

    With another version of a package, warn and change nothing of it.
    """
    for (package, affected), workarounds in WORKAROUNDS.items():
        installed = version(package) if package in (INTERFACE, f"{PLUGIN}{executor}") else None
        if installed == affected:
            for workaround in workarounds:
                workaround()
        elif installed:
            logger.warning(
                f"profiles/workarounds.py is for {package} {affected}; {installed} is installed "
                "and used as it is. Install the pinned version if jobs are never submitted or "
                "never cancelled, or if the run waits for jobs that have ended."
            )


def cancel_jobs_that_are_looked_at() -> None:
    """Cancel the jobs whose state is being asked for when Ctrl-C comes, too.

    The executor takes its jobs off the list while it asks, and cancels those on the list. To
    reproduce: press Ctrl-C while the status command sleeps; the jobs go on.
    """
    cancel_listed = RemoteExecutor.cancel

    def cancel(executor):
        with executor.lock:
            executor.wait = False  # the thread that asks ends after this round
        while executor.wait_thread.is_alive() and not executor.active_jobs:
            time.sleep(0.1)
        cancel_listed(executor)

    RemoteExecutor.cancel = cancel


def submit_incomplete_arrays() -> None:
    """Submit an array job although other jobs of its rule are ready.

    The plugin drops the offered jobs of a rule if they are fewer than its ready jobs, as --jobs or
    a retry makes them. They are neither submitted nor offered again, so the run never ends.
    https://github.com/snakemake/snakemake-executor-plugin-slurm/issues/473
    """
    import snakemake_executor_plugin_slurm as plugin

    plugin.pending_jobs_for_rule = lambda dag, rule: 0


def keep_jobs_without_status() -> None:
    """Keep watching the submitted jobs while SLURM does not answer.

    After `slurm-status-attempts` failed queries the plugin forgets its jobs, and the run never
    ends. To reproduce: submit a job of some minutes, stop slurmctld for two minutes.
    https://github.com/snakemake/snakemake-executor-plugin-slurm/issues/207
    """
    import snakemake_executor_plugin_slurm as plugin

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


INTERFACE, PLUGIN = "snakemake-interface-executor-plugins", "snakemake-executor-plugin-"
# Package and the version that has the bugs -> their workarounds.
WORKAROUNDS = {
    (INTERFACE, "9.4.0"): [cancel_jobs_that_are_looked_at],
    (f"{PLUGIN}slurm", "2.8.0"): [submit_incomplete_arrays, keep_jobs_without_status],
}
