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
from i2crc.lineage import SHARD, flatten
from i2crc.provenance import content_digest, provenance_file, read_provenance
from i2crc.stages import SECTIONS

# What Snakemake says of an output that is there, beside "update pending" where its job would run.
REMOVED = "removed temp file"
UNCHANGED = ("ok", "set of input files changed", REMOVED)
PENDING = "update pending"
NAMED = 3
NEW = "not made yet"
GONE = "which is missing"
# Its words in ours, for what no provenance explains.
WORDS = {
    "ok": "its job did not finish",
    "set of input files changed": "another set of files to read",
    "rule implementation changed": "its command line changed",
    "params changed": "its settings or what it reads changed",
    "updated input files": "what it reads changed",
}


@dataclass(frozen=True)
class Output:
    """A file of a rule: what it was made of, and what Snakemake says of it."""

    path: Path
    inputs: tuple[str, ...]
    state: str
    pending: bool

    @property
    def is_current(self) -> bool:
        """Whether Snakemake would leave it as it is, if nothing before it changes."""
        return self.state in UNCHANGED and not self.pending


def read_summary(lines: list[str]) -> dict[str, list[Output]]:
    """Rule -> its outputs, from the table that `snakemake --detailed-summary` prints."""
    table = [line for line in lines if line.count("\t") >= 7]
    if not table:
        raise InputError("".join(lines).strip() or "snakemake --detailed-summary printed nothing")
    rules = defaultdict(list)
    for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
        inputs = tuple(row["input-file(s)"].split(","))
        found = Output(Path(row["output_file"]), inputs, row["status"], row["plan"] == PENDING)
        rules[row["rule"]].append(found)
    return rules


def reasons(output: Output, config: dict[str, Any]) -> list[str]:
    """Why an output is stale, by comparing how it was made with how it would be made now."""
    if output.state == REMOVED:
        return ["removed after its use, and needed again"]
    if not output.path.exists():
        return ["gone or unfinished; what is left of it will be used"] if begun(output) else [NEW]
    facts = read_provenance(output.path)
    if not facts:
        return [WORDS.get(output.state, output.state)]
    script = checked(output.path, facts, Facts)["script"]
    found = changed_settings(script, facts["settings"], config)
    if facts["code_sha256"] != code_digest(Path(__file__).with_name(f"{script}.py")):
        found.append("its code changed")
    for name, sha in facts["inputs"].items():
        path = output.path.parent / name
        if not path.exists():
            found.append(f"reads {shown(path)}, {GONE}")
        elif content_digest(path) != sha:
            found.append(f"reads {shown(path)}, which changed")
    return found or [WORDS.get(output.state, output.state)]


def begun(output: Output) -> bool:
    """Whether an output that is not there was begun or was there, by what is left beside it."""
    beside = (output.path.with_suffix(".journal"), provenance_file(output.path))
    return any(path.exists() for path in beside)


def shown(path: Path) -> str:
    """An input by its name, and by its folder, too, where every folder has one of that name."""
    path = path.resolve()
    return f"{path.parent.name}/{path.name}"


def changed_settings(script: str, before: Any, config: dict[str, Any]) -> list[str]:
    """A phrase for each setting of a script's section that is not what it was."""
    if script not in SECTIONS or not isinstance(before, dict):
        return []
    now = flatten(config)
    return [
        f"{SECTIONS[script]}{name} was {value!r}, is {now[SECTIONS[script] + name]!r}"
        for name, value in flatten(before).items()
        # An empty setting stands for what the stage was given in its place.
        if now.get(SECTIONS[script] + name, value) not in (value, "")
    ]


def followers(rules: dict[str, list[Output]], first: set[str]) -> set[str]:
    """The rules that read, directly or not, what one of `first` makes."""
    makers = {place(output.path): name for name, found in rules.items() for output in found}
    reads = {
        name: {makers.get(place(Path(file))) for output in found for file in output.inputs}
        for name, found in rules.items()
    }
    reached = set(first)
    while more := {name for name in reads if name not in reached and reads[name] & reached}:
        reached |= more
    return reached - first


def place(path: Path) -> str:
    """A path; the same for all shards of one folder, whatever their number."""
    return str(path.parent if SHARD.fullmatch(path.stem) else path)


def report(rules: dict[str, list[Output]], config: dict[str, Any]) -> list[str]:
    """The lines to print: current rules on one, a line per stale one, those that may follow."""
    why = {o: reasons(o, config) for found in rules.values() for o in found if not o.is_current}
    stale = {
        name: left
        for name, found in rules.items()
        # What is gone may be made again as it was, and then nothing follows.
        if (left := [o for o in found if not all(t.endswith(GONE) for t in why.get(o, []))])
    }
    after = followers(rules, set(stale))
    current = sorted(set(rules) - set(stale) - after)
    lines = [f"current: {', '.join(current) or 'nothing'}"]
    for name, outputs in stale.items():
        told = list(dict.fromkeys(text for output in outputs for text in why[output]))
        word = "stale" if any(output.path.exists() for output in outputs) else "missing"
        more = f" and {len(told) - NAMED} more" if len(told) > NAMED else ""
        count = f"{len(outputs)} of {len(rules[name])} files"
        lines.append(f"{word}: {name} ({count}): {'; '.join(told[:NAMED])}{more}")
    if after:
        lines.append(
            f"may follow, if what they read turns out different: {', '.join(sorted(after))}"
        )
    return lines


def main(arguments: argparse.Namespace) -> None:
    config = Config.model_validate_json(arguments.config).model_dump()
    rules = read_summary(sys.stdin.readlines())
    print("\n".join(report(rules, json.loads(json.dumps(config)))))


if __name__ == "__main__":
    parser = make_parser(__doc__ + " Reads what `snakemake --detailed-summary` prints.")
    parser.add_argument("--config", required=True, help="JSON: the whole resolved configuration")
    run(main, parser)
