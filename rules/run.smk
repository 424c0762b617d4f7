# The beginning and the end of a run: one run at a time works on its results, damaged outputs are
# made again, and the last lines say what to look at.
import signal
from _thread import start_new_thread

import filelock
from i2crc.runtime.log import NO_LOCKS, this_process

# The kernel frees it when the run is killed; a soft lock would stay.
RUN_LOCK = filelock.FileLock(Path(RESULTS) / ".lock", timeout=0, fallback_to_soft=False)


def take_results():
    """Take these results for this run alone; raise WorkflowError if another run works on them."""
    folder = Path(RESULTS).absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        RUN_LOCK.acquire()
        Path(RUN_LOCK.lock_file).write_text(this_process())
    except filelock.Timeout:
        raise WorkflowError(
            f"{RESULTS}: {Path(RUN_LOCK.lock_file).read_text()} is already at work on these "
            "results. Wait for it, or stop it with Ctrl-C (what it has finished is kept), or give "
            "this run results of its own: --config experiment=NAME"
        ) from None
    except OSError as error:
        if error.errno in NO_LOCKS:
            logger.warning(f"{RESULTS}: no locks here ({error.strerror}); do not start two runs")
            return
        raise WorkflowError(
            f"{there}: cannot be written ({error.strerror}), which {RESULTS} needs; correct that, "
            "or choose another folder with the setting `results`"
        ) from None


def look_at_results():
    """Forget manifests whose files are damaged, unless another run is at work on them."""
    if not Path(RESULTS, ".lock").exists():
        return
    try:
        with RUN_LOCK:
            for problem in forget_damaged(Path(RESULTS)):
                logger.warning(problem)
    except (filelock.Timeout, OSError):
        pass  # another run did that when it began; or the results can only be read


def print_summary():
    """Show the table of scores, where the pictures are, and what to do next."""
    table, sheets = Path(RESULTS, "scores/table.md"), Path(RESULTS, "report/sheets")
    if table.exists():
        logger.info(f"Scores: {table}\n{table.read_text()}")
    if sheets.exists():
        logger.info(
            f"Pictures: {sheets}\nNext:\n"
            f"  snakemake --report {RESULTS}/report.html      all figures in one page\n"
            f"  i2crc explain {RESULTS}/scores/val_crf.json   how a file was made\n"
            "  README.md, Your own data                      the same with your data"
        )


def print_failure(log_files):
    """Say how to go on after a run that failed or was stopped; `log_files` are Snakemake's."""
    text = "".join(Path(file).read_text() for file in log_files if Path(file).is_file())
    if "Signals.SIGKILL" in text or "exit status 137" in text:
        logger.error(
            "A job above was killed from outside, most likely by the kernel because memory ran out "
            "(see `dmesg`): give fewer --cores, or lower runtime.workers or "
            "runtime.inference_threads."
        )
    logger.error(
        f"{RESULTS} is not finished. Nothing finished is lost: correct what the errors above say, "
        "and start the same command again; it continues."
    )


def end_quietly(kind, error, trace):
    """End with a line instead of a traceback if Ctrl-C meets Snakemake itself at work."""
    if issubclass(kind, KeyboardInterrupt):
        print("Stopped. Start the same command again and it continues.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def require_records():
    """Raise WorkflowError if Snakemake cannot write its records here."""
    records = Path(".snakemake") if Path(".snakemake").exists() else Path(".")
    if not os.access(records, os.W_OK | os.X_OK):
        raise WorkflowError(
            f"{records}: cannot be written (a read-only disk, or no permission), but Snakemake "
            "keeps its records there; correct that, or start in another folder"
        )


if workflow.is_main_process:
    sys.excepthook = end_quietly
    require_records()
    look_at_results()


def answer_sigterm_aside():
    """Let Snakemake answer SIGTERM in a thread of its own.

    It answers in the main thread and waits for a lock there, which this thread may hold: for ever.
    """
    answer = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *received: start_new_thread(answer, received))


onstart:
    answer_sigterm_aside()
    prepare_slurm()
    take_results()


onerror:
    print_failure(log)


onsuccess:
    print_summary()
