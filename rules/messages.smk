# What Snakemake does not say by itself: why a network is trained again, which target was meant, and
# how Ctrl-C ends a run.
import difflib
import re
import runpy
import signal
import textwrap

from i2crc.artifacts.stages import PIPELINE
from i2crc.training.changes import why_again
from snakemake_interface_logger_plugins.common import LogEvent

# In Snakemake's words.
NO_FIGURES = "marked for report but does not exist"
WRONG_TARGET = ("No rule to produce", "Target rules may not contain wildcards")
# Around the words of a WorkflowError that an input function raises.
REFUSED = re.compile(
    r"InputFunctionException .*?\nError:\n  WorkflowError:\n(.*)\nWildcards:\n", re.DOTALL
)


def announce(record):
    """Say which networks are trained again, and why, before Snakemake says what it will run."""
    if getattr(record, "event", None) == LogEvent.RUN_INFO and not workflow.touch:
        logger.removeFilter(announce)  # a dry run ends with the same record
        jobs = {
            "/".join([Path(job.params.script).stem, *job.wildcards]): job
            for job in workflow.dag.needrun_jobs()
            if "run" in job.params.keys() and not job.params.run.startswith(ablation_folder(CONFIG))
        }
        for name in sorted(jobs, key=PIPELINE.index):
            if reason := reason_to_train(jobs[name]):
                logger.info(f"{name} again{reason}")
    return True


def reason_to_train(job):
    """Return the end of a sentence: why a network is trained again; "" if it is not."""
    if not any(Path(job.params.run).glob("*/finished.json")):
        return ""
    _, path, *options = shlex.split(job.shellcmd)
    training = runpy.run_path(path)
    try:
        changed = why_again(training["planned"](training["parser"]().parse_args(options)))
    except (InputError, OSError):
        changed = []  # something is missing, so the run makes it again, or says so
    inputs = workflow.dag.reason(job).updated_input_run - {job.input.preflight}
    folders = sorted({os.path.dirname(file) for file in inputs})
    if changed or not folders:
        return f": {'; '.join(changed)}" if changed else ""
    return f" only if these files change, which are made again: {', '.join(folders)}"


def advise(record):
    """Say what to run for a wrong target and for missing figures; leave out the rules' own lines."""
    text = record.getMessage()
    advice = ""
    if refused := REFUSED.match(text):
        record.msg, record.args = textwrap.dedent(refused[1]), ()
    if NO_FIGURES in text:
        advice = "Make the figures first: snakemake --cores all report, with the same settings."
    elif any(words in text for words in WRONG_TARGET):
        plain = [rule for rule in workflow.rules if not rule.has_wildcards()]
        known = [*(rule.name for rule in plain), *(str(file) for r in plain for file in r.output)]
        for target in set(workflow.dag_settings.targets) - set(known):
            near = difflib.get_close_matches(target, known, n=1)
            # Those that ask for others first, then the stages.
            names = ", ".join(r.name for r in sorted(plain, key=lambda rule: not rule.norun))
            other = f"the nearest one is {near[0]}" if near else f"the targets are {names}"
            advice += f"{target} is no target; {other} (docs/RUNNING.md explains them). "
    if advice:
        record.msg, record.args = f"{text}\n{advice}", ()
    return True


def interrupt(number, frame):
    """Stop as Snakemake does at a first Ctrl-C; the second one ends Snakemake at once."""
    signal.signal(number, end_at_once)
    raise KeyboardInterrupt


def end_at_once(number, frame):
    """End without a traceback of asyncio. The jobs have received the signal, too."""
    print("Ended at once. Start the same command again and it continues.", file=sys.stderr)
    os._exit(128 + number)


def end_quietly(kind, error, trace):
    """End with a line instead of a traceback if Ctrl-C meets Snakemake itself at work."""
    if issubclass(kind, KeyboardInterrupt):
        print("Stopped. Start the same command again and it continues.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if workflow.is_main_process:
    sys.excepthook = end_quietly
    logger.addFilter(announce)
    logger.addFilter(advise)
