"""The page of run times, provenance and configuration."""

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from i2crc.report.figures import bar_chart, headline, inline_svg
from i2crc.report.pages import render

NOT_MEASURED = ("-", "NA")  # of a job that was too short


def rule_times(folder: Path, tables: Sequence[Path]) -> list[list[Any]]:
    """Return rule, jobs, minutes, minutes of the longest job and GiB per rule, longest first.

    `tables` are Snakemake's benchmark files below `folder`, named `RULE.tsv` or `RULE/.../JOB.tsv`.
    GiB is the peak memory of a job, None if it was not measured.
    """
    jobs: dict[str, list[dict[str, str]]] = defaultdict(list)
    for path in tables:
        with open(path, newline="") as file:
            rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
            jobs[rule] += csv.DictReader(file, delimiter="\t")
    rows = []
    for rule, found in jobs.items():
        minutes = [float(job["s"]) / 60 for job in found]
        memory = [float(j["max_rss"]) / 1024 for j in found if j["max_rss"] not in NOT_MEASURED]
        peak = max(memory, default=None)
        rows.append([rule, len(found), sum(minutes), max(minutes, default=0.0), peak])
    return sorted(rows, key=lambda row: -row[2])


def run_page(
    times: Sequence[Sequence[Any]], facts: Mapping[str, dict[str, Any]], config: dict[str, Any]
) -> Markup:
    """Return the HTML page.

    times: see `rule_times`. facts: artifact -> its provenance.
    """
    versions: dict[str, list[str]] = defaultdict(list)
    for name, found in facts.items():
        versions[", ".join(f"{key} {value}" for key, value in found["versions"].items())] += [name]
    minutes = {"minutes": [row[2] for row in times]}
    chart = bar_chart("minutes, all jobs together", [row[0] for row in times], minutes)
    headline(chart, "Time per rule")
    return render(
        "run_facts.html",
        times=times,
        chart=inline_svg(chart),
        facts=facts,
        versions=versions,
        configuration=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
    )
