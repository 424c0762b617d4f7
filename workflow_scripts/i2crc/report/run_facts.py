"""The page of run times, provenance and configuration."""

import csv
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from i2crc.report.figures import bar_chart, headline, inline_svg
from i2crc.report.pages import Cell, render


@dataclass(frozen=True)
class JobMeasurement:
    """What Snakemake measured of one job; None where it measured nothing."""

    seconds: float | None
    cpu_seconds: float | None
    memory: float | None  # MiB, the highest resident set size


def read_jobs(folder: Path, tables: Sequence[Path]) -> dict[str, list[JobMeasurement]]:
    """Return the jobs per rule from Snakemake's benchmark files.

    A rule's files are `RULE.tsv` or `RULE/.../JOB.tsv` below `folder`.
    """
    jobs = defaultdict(list)
    for path in tables:
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        with open(path, newline="") as file:
            for line in csv.DictReader(file, delimiter="\t"):
                measured = (number(line.get(key)) for key in ("s", "cpu_time", "max_rss"))
                jobs[rule].append(JobMeasurement(*measured))
    return jobs


def number(text: str | None) -> float | None:
    """Return a measured number; None for `-`, `NA` and other text."""
    try:
        return float(text or "")
    except ValueError:
        return None


def run_page(
    jobs: Mapping[str, Sequence[JobMeasurement]],
    facts: Mapping[str, dict[str, Any] | None],
    config: dict[str, Any],
) -> str:
    """Return the HTML page.

    jobs: rule -> its jobs. facts: artifact -> its provenance, None if it has none.
    """
    times = sorted((rule_row(rule, found) for rule, found in jobs.items()), key=lambda r: -r[2])
    versions = {
        name: ", ".join(f"{package} {version}" for package, version in found["versions"].items())
        for name, found in facts.items()
        if found
    }
    different = set(versions.values())
    return render(
        "run_facts.html",
        title="Facts of the run",
        times=times,
        chart=time_chart(times) if times else None,
        artifacts=[[name, *provenance_cells(found)] for name, found in facts.items()],
        common_versions=different.pop() if len(different) == 1 else None,
        versions=list(versions.items()),
        configuration=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
    )


def time_chart(times: Sequence[Sequence[Any]]) -> Markup:
    """Return bars of the minutes per rule, as SVG."""
    minutes = {"minutes": [row[2] for row in times]}
    chart = bar_chart("minutes, all jobs together", [row[0] for row in times], minutes)
    headline(chart, "Time per rule")
    return inline_svg(chart)


def rule_row(rule: str, jobs: Sequence[JobMeasurement]) -> list[Any]:
    """Return rule, jobs, minutes, minutes of the longest job, GiB, mean load in cores.

    GiB and load are None if they are unknown.
    """
    seconds = [job.seconds or 0.0 for job in jobs]
    memory = [job.memory / 1024 for job in jobs if job.memory is not None]
    loaded = [(j.cpu_seconds, j.seconds) for j in jobs if j.seconds and j.cpu_seconds is not None]
    load = sum(cpu for cpu, _ in loaded) / sum(wall for _, wall in loaded) if loaded else None
    peak = max(memory, default=None)
    return [rule, len(jobs), sum(seconds) / 60, max(seconds) / 60, peak, load]


def provenance_cells(facts: dict[str, Any] | None) -> list[Cell]:
    """Return script, settings, code, seed, precision, device, revision, start and duration."""
    if facts is None:
        return ["no provenance", *[None] * 8]
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


def relative_names(paths: Sequence[Path]) -> list[str]:
    """Return the paths relative to the folder that they have in common."""
    common = os.path.commonpath([path.resolve().parent for path in paths])
    return [os.path.relpath(path.resolve(), common) for path in paths]
