# The beginning and the end of a run: one run at a time works on its results, damaged outputs are
# made again, and the last lines say what to look at.
import runpy
import signal
from _thread import start_new_thread

import filelock
from i2crc.runtime.log import NO_LOCKS, this_process

# The kernel frees it when the run is killed; a soft lock would stay.
RUN_LOCK = filelock.FileLock(Path(RESULTS) / ".lock", timeout=0, fallback_to_soft=False)


def take_results():
    """Take these results for this run alone; raise WorkflowError if another run works on them."""
    try:
        Path(RESULTS).mkdir(parents=True, exist_ok=True)
        RUN_LOCK.acquire()
        Path(RUN_LOCK.lock_file).write_text(this_process())
    except filelock.Timeout:
        raise WorkflowError(
            f"{RESULTS}: {Path(RUN_LOCK.lock_file).read_text()} is already at work on these "
            "results. Wait for it, or stop it with Ctrl-C (what it has finished is kept), or give "
            "this run results of its own: --config experiment=NAME"
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise WorkflowError(
                f"{RESULTS}: cannot be written ({error}); correct that, or choose another folder "
                "with the setting `results`"
            ) from None
        logger.warning(f"{RESULTS}: no locks here ({error.strerror}); do not start two runs")


def end_quietly(kind, error, trace):
    """End with a line instead of a traceback if Ctrl-C meets Snakemake itself at work."""
    if issubclass(kind, KeyboardInterrupt):
        print("Stopped. Start the same command again and it continues.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if workflow.is_main_process:
    sys.excepthook = end_quietly
    records = Path(".snakemake") if Path(".snakemake").exists() else Path(".")
    if not os.access(records, os.W_OK | os.X_OK):
        raise WorkflowError(
            f"{records}: cannot be written (a read-only disk, or no permission), but Snakemake "
            "keeps its records there; correct that, or start in another folder"
        )
    # Damaged outputs count as missing, unless another run is at work, which has looked for them.
    if Path(RUN_LOCK.lock_file).exists():
        try:
            with RUN_LOCK:
                for problem in forget_damaged(Path(RESULTS)):
                    logger.warning(problem)
        except (filelock.Timeout, OSError):
            pass  # another run is at work, or the results can only be read


onstart:
    # Snakemake answers SIGTERM in the main thread and waits for a lock there, which this thread may
    # hold: for ever. So it answers in a thread of its own.
    answer = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *received: start_new_thread(answer, received))
    if workflow.executor_plugin.name == "slurm":
        if SLURM_PROBLEM:
            raise WorkflowError(SLURM_PROBLEM)
        workarounds = Path(workflow.basedir, "profiles/slurm/workarounds.py")
        runpy.run_path(str(workarounds))["apply"](logger)
    take_results()


onerror:
    text = "".join(Path(file).read_text() for file in log if Path(file).is_file())
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


onsuccess:
    if Path(RESULTS, "scores/table.md").exists():
        logger.info(f"Scores: {RESULTS}/scores/table.md")
        logger.info(Path(RESULTS, "scores/table.md").read_text())
    if Path(RESULTS, "report/sheets").exists():
        logger.info(
            f"Pictures: {RESULTS}/report/sheets\nNext:\n"
            f"  snakemake --report {RESULTS}/report.html      all figures in one page\n"
            f"  i2crc explain {RESULTS}/scores/val_crf.json   how a file was made\n"
            "  README.md, Your own data                      the same with your data"
        )
