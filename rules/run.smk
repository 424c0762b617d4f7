# The beginning and the end of a run: one run at a time works on its results, damaged outputs are
# made again, and the last lines say what to look at.
import runpy
import signal
from _thread import start_new_thread

import filelock
from i2crc.config.load import dump_config
from i2crc.runtime.atomic import write_bytes
from i2crc.runtime.log import NO_LOCKS, this_process

# Folder of each experiment that this run may work on -> its settings; those of an ablation are
# below the folder of this experiment, and come first.
EXPERIMENTS = {**{run.folder: run.config for run in ABLATION_RUNS}, RESULTS: CONFIG}
# The kernel frees them when the run is killed; soft locks would stay.
RUN_LOCKS = {
    folder: filelock.FileLock(Path(folder) / ".lock", timeout=0, fallback_to_soft=False)
    for folder in EXPERIMENTS
}
CRASHED = (
    "crashed in compiled code ({}), which is no lack of memory: look for extreme settings, or "
    "report it as a bug."
)
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
# Signal that ended a job -> what that means.
SIGNALS = {
    signal.SIGKILL: (
        "was killed from outside, most likely by the kernel because memory ran out (see `dmesg`): "
        "give fewer --cores, or lower runtime.workers or runtime.inference_threads."
    ),
    **{n: CRASHED.format(n.name) for n in CRASHES},
}


def made_experiments():
    """Return the folders of the experiments that this run makes files of."""
    made = {file for job in workflow.dag.needrun_jobs() for file in job.output}
    made -= {*rules.compare.output, *rules.ablation.output}  # these have no part in the experiment
    owners = (
        next((folder for folder in EXPERIMENTS if file.startswith(f"{folder}/")), None)
        for file in made
    )
    return set(owners) - {None}


def take_results(folder):
    """Take these results for this run alone; raise WorkflowError if another run works on them."""
    lock = RUN_LOCKS[folder]
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        lock.acquire()
        Path(lock.lock_file).write_text(this_process())
    except filelock.Timeout:
        raise WorkflowError(
            f"{folder}: {Path(lock.lock_file).read_text()} is already at work on these "
            "results. Wait for it, or stop it with Ctrl-C (what it has finished is kept), or give "
            "this run results of its own: --config experiment=NAME"
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise WorkflowError(
                f"{folder}: cannot be written ({error}); correct that, or choose another folder "
                "with the setting `results`"
            ) from None
        logger.warning(f"{folder}: no locks here ({error.strerror}); do not start two runs")


def save_settings(folder):
    """Save the settings of an experiment of this run; --configfile takes the file again."""
    try:
        write_bytes(Path(folder, "config.yaml"), dump_config(EXPERIMENTS[folder]).encode())
    except OSError as error:
        raise WorkflowError(str(error)) from None


if workflow.is_main_process:
    if NODE:
        logger.info(
            f"The nodes of SLURM have at most {NODE.cpus} CPUs, {NODE.memory} MB and {NODE.gpus} "
            "GPUs: no job asks for more."
        )
    records = Path(".snakemake") if Path(".snakemake").exists() else Path(".")
    if not os.access(records, os.W_OK | os.X_OK):
        raise WorkflowError(
            f"{records}: cannot be written (a read-only disk, or no permission), but Snakemake "
            "keeps its records there; correct that, or start in another folder"
        )
    # Damaged outputs count as missing, unless another run is at work, which has looked for them.
    for folder, lock in RUN_LOCKS.items():
        if Path(lock.lock_file).exists():
            try:
                with lock:
                    for problem in forget_damaged(Path(folder)):
                        logger.warning(problem)
            except (filelock.Timeout, OSError):
                pass  # another run is at work, or the results can only be read


onstart:
    # Snakemake answers SIGTERM in the main thread and waits for a lock there, which this thread may
    # hold: for ever. So it answers in a thread of its own.
    answer = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *received: start_new_thread(answer, received))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    executor = workflow.executor_plugin.name
    if executor == "slurm" and SLURM_PROBLEM:
        raise WorkflowError(SLURM_PROBLEM)
    if is_submitted:
        workarounds = runpy.run_path(str(PROJECT / "profiles/workarounds.py"))
        workarounds["apply"](logger, executor)
    made = made_experiments()
    for folder in sorted({RESULTS} | made):
        take_results(folder)
    for folder in made:
        save_settings(folder)


onerror:
    text = "".join(Path(file).read_text() for file in log if Path(file).is_file())
    for number, meaning in SIGNALS.items():
        if f"Signals.{number.name}" in text or f"exit status {128 + number}" in text:
            logger.error(f"A job above {meaning}")
    logger.error(
        f"{RESULTS} is not finished. Nothing finished is lost: correct what the errors above say, "
        "and start the same command again; it continues."
    )


onsuccess:
    # File that this run was asked for, directly or not -> whether one of its jobs made it.
    made = {str(f): workflow.dag.needrun(job) for job in workflow.dag.jobs for f in job.output}
    scores, comparison = rules.score_table.output, rules.compare.output
    for name, table, page in (
        ("Scores", scores.markdown, scores.html),
        ("Comparison", comparison.table, comparison.html),
        ("Ablation", rules.ablation.output.table, rules.ablation.output.html),
    ):
        if table in made:
            state = "of this run" if made[table] else "of an earlier run, found up to date"
            logger.info(f"{name} {state}: {table}, {page}")
            logger.info(Path(table).read_text())
    if (model := rules.pack_model.output.model) in made:
        use = f"i2crc segment {shlex.quote(model)} PHOTOGRAPHS --output segmented"
        logger.info(f"Model file: {model}; to use it: {use}")
    if made.keys() >= set(REPORT):
        # With all options of this run, such as --configfile, but without what is secret in them.
        given = shlex.join(["snakemake", *sys.argv[1:]])
        for query in hidden_queries():
            given = given.replace(query, "...")
        gallery = f", {rules.gallery.output.page}" * PSEUDO
        logger.info(
            f"Pictures: {RESULTS}/report{gallery}\nNext:\n"
            f"  all figures in one page: {given} --report {shlex.quote(f'{RESULTS}/report.html')}\n"
            f"  how a file was made: i2crc explain {shlex.quote([*WEIGHTS, *SHOWN_SCORES][-1])}"
            + "\n  the same with your photographs: docs/YOUR_PHOTOGRAPHS.md" * IS_DEMO
        )
