"""Everything that a run makes, in a form that two runs can be compared by."""

import json
from pathlib import Path

# They tell how and when the run was made.
NOT_COMPARED = ("logs", "benchmarks", "run", "cache")
PAGES = {"run.html", "config.yaml", "MODEL_CARD.md"}
PAGES |= {f"{name}.provenance" for name in PAGES}
# Parts of provenance that differ between equal runs: times, and the files of the shards.
TIMES = ("start", "seconds", "inputs")


def artifacts(results: Path) -> dict[str, object]:
    """Return name -> content of every artifact: bytes, or JSON without times; shards as one."""
    found: dict[str, object] = {}
    for path in sorted(results.rglob("*")):
        name = path.relative_to(results)
        hidden = any(part.startswith(".") for part in name.parts)
        if not path.is_file() or hidden or set(name.parts) & {*NOT_COMPARED, *PAGES}:
            continue
        if path.suffix == ".journal":
            continue
        if path.suffix not in (".json", ".provenance"):
            found[str(name)] = path.read_bytes()
            continue
        content = json.loads(path.read_text())
        facts = content if path.suffix == ".provenance" else content.get("provenance", {})
        for key in TIMES:
            facts.pop(key, None)
        if "-of-" not in path.stem:
            found[str(name)] = content
            continue
        parts = content.get("files") or {entry["id"]: entry for entry in content["images"]}
        found.setdefault(str(name.parent), {}).update(parts)
    return found
