"""Make a page of what a run took, of how its artifacts were made, and of its configuration."""

import argparse
import csv
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import yaml

from i2crc.artifacts.provenance import Origin, read_provenance, write_beside
from i2crc.report.figures import bar_chart, headline, inline_svg
from i2crc.report.pages import html_table, page
from i2crc.runtime.atomic import write_bytes
from i2crc.runtime.errors import InputError
from i2crc.runtime.parser import make_parser, run

TIMES = """<h2>Run times and peak memory</h2>
<p>Per rule, of all its jobs that ran. A job that was interrupted and resumed counts its last
attempt alone. Several shards of a rule may have run at once, so the minutes of a rule can be more
than passed on the clock. The mean load is in cores.</p>"""
PROVENANCE = """<h2>Provenance</h2>
<p>Settings and code are the first eight digits of their SHA-256; a + behind the revision means that
tracked files differed from it. The seconds are of the process that finished the artifact.</p>"""


@dataclass(frozen=True)
class JobMeasurement:
    """What Snakemake measured of one job; None where it measured nothing."""

    seconds: float | None
    cpu_seconds: float | None
    memory: float | None  # MiB, the highest resident set size


def read_jobs(folder: Path, tables: Sequence[Path]) -> dict[str, list[JobMeasurement]]:
    """The jobs per rule: Snakemake's benchmarks `RULE.tsv` or `RULE/.../JOB.tsv` below `folder`."""
    jobs = defaultdict(list)
    for path in tables:
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        with open(path, newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                measured = (number(row.get(key)) for key in ("s", "cpu_time", "max_rss"))
                jobs[rule].append(JobMeasurement(*measured))
    return jobs


def number(text: str | None) -> float | None:
    """A measured number; None for `-`, `NA` and what else stands for none."""
    try:
        return float(text or "")
    except ValueError:
        return None


def times_part(jobs: dict[str, list[JobMeasurement]]) -> str:
    """Chart and table of time, memory and load per rule, the longest first."""
    rows = sorted((rule_row(rule, found) for rule, found in jobs.items()), key=lambda r: -r[2])
    if not rows:
        return f"{TIMES}\n<p>No job has run yet.</p>"
    minutes = {"minutes": [row[2] for row in rows]}
    chart = bar_chart("minutes, all jobs together", [row[0] for row in rows], minutes)
    headline(chart, "Time per rule")
    header = ["Rule", "Jobs", "Minutes", "Longest job, minutes", "Peak memory, GiB", "Mean load"]
    return f"{TIMES}\n{inline_svg(chart)}\n{html_table(header, rows)}"


def rule_row(rule: str, jobs: Sequence[JobMeasurement]) -> list[Any]:
    """Rule, jobs, minutes, minutes of the longest job, GiB, mean load in cores (None: unknown)."""
    seconds = [job.seconds or 0.0 for job in jobs]
    memory = [job.memory / 1024 for job in jobs if job.memory is not None]
    loaded = [job for job in jobs if job.seconds and job.cpu_seconds is not None]
    load = None
    if loaded:
        load = sum(job.cpu_seconds for job in loaded) / sum(job.seconds for job in loaded)
    peak = max(memory, default=None)
    return [rule, len(jobs), sum(seconds) / 60, max(seconds) / 60, peak, load]


def provenance_part(facts: dict[str, dict[str, Any] | None]) -> str:
    """The table of provenances (artifact -> facts, None: it has none), and the versions."""
    header = [
        "Artifact", "Script", "Settings", "Code", "Seed", "Precision", "Device", "Revision",
        "Start (UTC)", "Seconds",
    ]  # fmt: skip
    rows = [
        [name, *(provenance_cells(found) if found else ["no provenance", *[None] * 8])]
        for name, found in facts.items()
    ]
    known = {name: found["versions"] for name, found in facts.items() if found}
    return f"{PROVENANCE}\n{html_table(header, rows)}\n{versions_part(known)}"


def provenance_cells(facts: dict[str, Any]) -> list[Any]:
    """Script, settings, code, seed, precision, device, revision, start and duration."""
    git = facts["git"]
    return [
        facts["script"],
        facts["settings_sha256"][:8],
        facts["code_sha256"][:8],
        facts["seed"],
        facts["precision"],
        facts["device"],
        f"{git['revision'][:8]}{'+' if git['changed'] else ''}" if git else None,
        facts["start"].removesuffix("+00:00").replace("T", " "),
        round(facts["seconds"]),
    ]


def versions_part(versions: dict[str, dict[str, str]]) -> str:
    """The versions, once where all artifacts have the same, else per artifact."""
    texts = {
        name: ", ".join(f"{k} {v}" for k, v in found.items()) for name, found in versions.items()
    }
    if len(set(texts.values())) == 1:
        return f"<p>Versions, the same for all: {escape(next(iter(texts.values())))}.</p>"
    return html_table(["Artifact", "Versions"], list(texts.items())) if texts else ""


def relative_names(paths: Sequence[Path]) -> list[str]:
    """The paths relative to the folder that they have in common."""
    common = os.path.commonpath([path.resolve().parent for path in paths])
    return [os.path.relpath(path.resolve(), common) for path in paths]


def main(arguments: argparse.Namespace) -> None:
    try:
        config = json.loads(arguments.config)
    except ValueError as error:
        raise InputError(f"--config: not valid JSON ({error})") from error
    names = relative_names(arguments.artifacts)
    facts = {n: read_provenance(p) for n, p in zip(names, arguments.artifacts, strict=True)}
    configuration = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    tables = sorted(arguments.benchmarks.rglob("*.tsv"))
    content = page(
        "Facts of the run",
        times_part(read_jobs(arguments.benchmarks, tables)),
        provenance_part(facts),
        f"<h2>Configuration</h2>\n<pre>{escape(configuration)}</pre>",
    )
    write_bytes(arguments.output, content.encode())
    origin = Origin(Path(__file__), [*arguments.artifacts, *tables], config)
    write_beside(arguments.output, origin.describe(arguments.output))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--config", required=True, help="JSON: the whole resolved configuration")
    parser.add_argument("--benchmarks", type=Path, required=True, help="folder of Snakemake's .tsv")
    parser.add_argument(
        "--artifacts", type=Path, nargs="+", required=True, help="files to tell the provenance of"
    )
    parser.add_argument("--output", type=Path, required=True, help="output: HTML")
    run(main, parser)
