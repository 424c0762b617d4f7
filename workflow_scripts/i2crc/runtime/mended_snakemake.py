"""What Snakemake and its plugin for SLURM do wrong, done right as long as they do not."""

import subprocess
import time
from _thread import start_new_thread
from types import ModuleType

# Seconds until a job that SLURM does not know is given up: longer than SLURM may take to list it.
LOST = 300
# Seconds until a job is sent, and fails, although SLURM does not answer.
AWAY = 600


def answer_sigterm_aside() -> None:
    """Snakemake answers SIGTERM in the main thread, where it would wait for a lock: for ever, if
    the code that it interrupts has that lock. The Snakemake inside of a submitted job does so, too.
    """
    from snakemake.scheduling.job_scheduler import JobScheduler

    answer = JobScheduler.exit_gracefully
    JobScheduler.exit_gracefully = lambda *said: start_new_thread(answer, said)


def mend_slurm(plugin: ModuleType, jobstep_plugin: ModuleType) -> None:
    """The plugins that are loaded as `snakemake_executor_plugin_slurm` and, within a job, as
    `snakemake_executor_plugin_slurm_jobstep`.
    """
    _submit_what_is_ready(plugin)
    for executor, name in (
        (plugin.Executor, "run_job"),
        (plugin.Executor, "run_array_jobs"),
        (jobstep_plugin.Executor, "run_job"),
    ):
        _submit_when_slurm_answers(executor, name)
    _watch_every_job(plugin)


def _submit_what_is_ready(plugin: ModuleType) -> None:
    """Where fewer jobs are offered to SLURM than are ready (--jobs, or a retry), the plugin waits
    for the others before it sends an array job, and never sees these again: so none are ready
    beside them.
    """
    plugin.pending_jobs_for_rule = lambda dag, rule: 0


def _submit_when_slurm_answers(executor: type, name: str) -> None:
    """While SLURM does not answer, each try to send a job, or to begin with one that has been sent,
    fails, so that none are soon left.
    """
    submit = getattr(executor, name)

    def submit_later(executor, what):
        _wait_for_slurm(executor)
        submit(executor, what)

    setattr(executor, name, submit_later)


def _wait_for_slurm(executor) -> None:
    end = time.monotonic() + AWAY
    said = False
    # The pool of threads ends with the run; within a job there is none.
    pool = getattr(executor, "_job_submission_executor", None)
    while not (_slurm_answers() or (pool and pool._shutdown)):
        if time.monotonic() > end:
            return
        if not said:
            executor.logger.warning(
                "SLURM does not answer. Jobs are sent, or begin, as soon as it does."
            )
            said = True
        time.sleep(5)


def _slurm_answers() -> bool:
    """Whether one of its controllers is up; where that cannot be asked, sbatch will say why."""
    try:
        told = subprocess.run(["scontrol", "ping"], stdout=subprocess.PIPE, text=True).stdout
    except OSError:
        return True
    return " is UP" in told


def _watch_every_job(plugin: ModuleType) -> None:
    """While SLURM does not answer, the plugin forgets the jobs that it has sent; and it waits for
    ever for one that SLURM does not know (any more). Both would never end.
    """
    ask, check = plugin.query_job_status, plugin.Executor.check_active_jobs
    answers = []

    async def ask_and_note(command, logger):
        answer = await ask(command, logger)
        answers.append(answer[0])
        return answer

    async def check_active_jobs(executor, active_jobs):
        answers.clear()
        unfinished = [job async for job in check(executor, active_jobs)]
        known = answers[-1] if answers else {}
        if known is None:
            executor.logger.warning("SLURM does not answer. It is asked again; its jobs go on.")
            unfinished = active_jobs
        for job in unfinished:
            if known is None or _is_among(job.external_jobid, known):
                job.aux.pop("missed", None)
            since = job.aux.setdefault("missed", time.monotonic())
            if time.monotonic() - since < LOST:
                yield job
                continue
            executor.report_job_error(
                job,
                msg=f"SLURM does not know job {job.external_jobid} (any more). Either it was lost "
                "as SLURM's controller stopped, or SLURM forgets what has ended before it is asked "
                "(MinJobAge in slurm.conf, without accounting).",
                aux_logs=[str(job.aux["slurm_logfile"])],
            )

    plugin.query_job_status = ask_and_note
    plugin.Executor.check_active_jobs = check_active_jobs


def _is_among(job: str, known: dict[str, str]) -> bool:
    """Whether SLURM lists a job; of an array (`7_2`, or `7_[2-9]` as long as they wait) any."""
    return job.partition("_")[0] in {number.partition("_")[0] for number in known}
