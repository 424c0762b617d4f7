"""Tell in plain words which stages are current, which are stale and why (target `status`)."""

import argparse
import csv
import json
import sys
from collections import defaultdict
from dataclasses import dataclass, replace
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
    # The outputs of one job read the same, and all are made again for one that was removed.
    removed = {o.inputs for found in rules.values() for o in found if o.state == REMOVED}
    return {
        rule: [
            replace(o, state=REMOVED) if o.state == "ok" and o.inputs in removed else o
            for o in found
        ]
        for rule, found in rules.items()
    }


@dataclass(frozen=True)
class Why:
    """Why an output is not current, in words, and whether that alone makes it again."""

    certain: bool
    words: tuple[str, ...]


def explain(output: Output, config: dict[str, Any]) -> Why:
    """Why an output is not current, by comparing how it was made with how it would be now.

    What only reads something that changed or is gone is not certain: that may be made again as it
    was.
    """
    if output.state == REMOVED:
        return Why(False, ("removed after its use, and needed again",))
    if not output.path.exists():
        left = "gone or unfinished; what is left of it will be used"
        return Why(True, (left if begun(output) else "not made yet",))
    unexplained = Why(False, (WORDS.get(output.state, output.state),))
    facts = read_provenance(output.path)
    if not facts:
        return unexplained
    script = checked(output.path, facts, Facts)["script"]
    own = changed_settings(script, facts["settings"], config)
    if facts["code_sha256"] != code_digest(Path(__file__).with_name(f"{script}.py")):
        own.append("its code changed")
    read = changed_inputs(output, facts["inputs"])
    return Why(bool(own), (*own, *read)) if own or read else unexplained


def changed_inputs(output: Output, inputs: dict[str, str]) -> list[str]:
    """A phrase for each file that an output was made of and that is not as it was."""
    found = []
    for name, sha in inputs.items():
        path = output.path.parent / name
        if not path.exists():
            found.append(f"reads {shown(path)}, which is missing")
        elif content_digest(path) != sha:
            found.append(f"reads {shown(path)}, which changed")
    return found


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


def place(path: Path) -> str:
    """A path; the same for all shards of one folder, whatever their number."""
    return str(path.parent if SHARD.fullmatch(path.stem) else path)


def made_again(why: dict[Output, Why], readers: dict[str, list[Output]]) -> set[Output]:
    """Of the outputs that are not current, with why, those that are made again for certain.

    What follows something that is made again may find that as it was, and then stays.
    `readers` are the outputs that read what is at a place.
    """
    after = reached({output for output in why if output.state != REMOVED}, readers)
    found = {o for o in why if why[o].certain or not (o in after or o.state == REMOVED)}
    # What was removed after its use is made again for its readers.
    return found | {
        o for o in why if o.state == REMOVED and found.intersection(readers[place(o.path)])
    }


def reached(first: set[Output], readers: dict[str, list[Output]]) -> set[Output]:
    """The outputs that read, directly or not, one of `first`."""
    found: set[Output] = set()
    front = {place(output.path) for output in first}
    while front:
        new = {output for at in front for output in readers.get(at, ())} - found
        found |= new
        front = {place(output.path) for output in new}
    return found


def report(rules: dict[str, list[Output]], config: dict[str, Any]) -> list[str]:
    """The lines to print: current rules on one, a line per stale one, those that may follow."""
    outputs = {output: name for name, found in rules.items() for output in found}
    readers = defaultdict(list)
    for output in outputs:
        for at in {place(Path(file)) for file in output.inputs}:
            readers[at].append(output)
    why = {o: explain(o, config) for o in outputs if not o.is_current}
    certain = made_again(why, readers)
    stale = {
        name: left for name, found in rules.items() if (left := [o for o in found if o in certain])
    }
    after = {outputs[o] for o in {*why, *reached(certain, readers)}} - {*stale}
    current = sorted({*rules} - {*stale} - after)
    lines = [f"current: {', '.join(current) or 'nothing'}"]
    for name, left in stale.items():
        told = list(dict.fromkeys(text for output in left for text in why[output].words))
        word = "stale" if any(output.path.exists() for output in left) else "missing"
        more = f" and {len(told) - NAMED} more" if len(told) > NAMED else ""
        count = f"{len(left)} of {len(rules[name])} files"
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
