"""Tell in plain words which stages are current, which are stale and why (target `status`)."""

import argparse
import csv
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2crc.artifacts import Facts, checked
from i2crc.code import code_digest
from i2crc.config import Config
from i2crc.console import make_parser, run
from i2crc.files import InputError
from i2crc.lineage import flatten
from i2crc.provenance import content_digest, read_provenance
from i2crc.stages import SECTIONS

# Another set of input files alone, as of another number of shards, makes nothing stale (profiles/).
CURRENT = ("ok", "set of input files changed")
NAMED = 3


@dataclass(frozen=True)
class Output:
    """A file of a rule, and what Snakemake says of it: `ok`, or in which way it is stale."""

    path: Path
    state: str


def read_summary(lines: list[str]) -> dict[str, list[Output]]:
    """Rule -> its outputs, from the table that `snakemake --summary` prints."""
    table = [line for line in lines if line.count("\t") >= 5]
    if not table:
        raise InputError("".join(lines).strip() or "snakemake --summary printed nothing")
    rules = defaultdict(list)
    for row in csv.DictReader(table, delimiter="\t"):
        rules[row["rule"]].append(Output(Path(row["output_file"]), row["status"]))
    return rules


def reasons(output: Output, config: dict[str, Any]) -> list[str]:
    """Why an output is stale, by comparing how it was made with how it would be made now."""
    if not output.path.exists():
        return ["not made yet"]
    facts = read_provenance(output.path)
    if not facts:
        return [output.state]
    script = checked(output.path, facts, Facts)["script"]
    found = changed_settings(script, facts["settings"], config)
    if facts["code_sha256"] != code_digest(Path(__file__).with_name(f"{script}.py")):
        found.append("its code changed")
    for name, sha in facts["inputs"].items():
        path = output.path.parent / name
        if not path.exists():
            found.append(f"reads {path.resolve().name}, which is missing")
        elif content_digest(path) != sha:
            found.append(f"reads {Path(name).name}, which changed")
    return found or [output.state]


def changed_settings(script: str, before: Any, config: dict[str, Any]) -> list[str]:
    """A phrase for each setting of a script's section that is not what it was."""
    if script not in SECTIONS or not isinstance(before, dict):
        return []
    now = flatten(config)
    return [
        f"{SECTIONS[script]}{name} was {value!r}, is {now[SECTIONS[script] + name]!r}"
        for name, value in flatten(before).items()
        if now.get(SECTIONS[script] + name, value) != value
    ]


def report(rules: dict[str, list[Output]], config: dict[str, Any]) -> list[str]:
    """The lines to print: current rules on one line, each other one with its reasons."""
    current = [name for name, found in rules.items() if all(o.state in CURRENT for o in found)]
    lines = [f"current: {', '.join(sorted(current)) or 'nothing yet'}"]
    for name, found in rules.items():
        stale = [output for output in found if output.state not in CURRENT]
        if not stale:
            continue
        told = list(dict.fromkeys(text for output in stale for text in reasons(output, config)))
        missing = all(not output.path.exists() for output in stale)
        word = "missing" if missing else "stale"
        more = f" and {len(told) - NAMED} more" if len(told) > NAMED else ""
        lines.append(
            f"{word}: {name} ({len(stale)} of {len(found)} files): {'; '.join(told[:NAMED])}{more}"
        )
    if len(lines) > 1:
        lines.append("What follows a stale stage runs if what it reads turns out different.")
    return lines


def main(arguments: argparse.Namespace) -> None:
    config = Config.model_validate_json(arguments.config).model_dump()
    rules = read_summary(sys.stdin.readlines())
    print("\n".join(report(rules, json.loads(json.dumps(config)))))


if __name__ == "__main__":
    parser = make_parser(__doc__ + " Reads what `snakemake --summary` prints.")
    parser.add_argument("--config", required=True, help="JSON: the whole resolved configuration")
    run(main, parser)
