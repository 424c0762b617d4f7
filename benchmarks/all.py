"""All benchmarks one after the other, and one table of their results: `make bench`."""

import json
import subprocess
import sys
from pathlib import Path

import harness

# In the order of the stages.
BENCHMARKS = (
    *("compute_saliency", "train_classifier", "infer_cam", "gen_gt", "train_segmentation"),
    *("predict", "crf", "refine_labels", "score", "startup", "dry_run", "growth"),
)

if __name__ == "__main__":
    arguments = harness.parser(__doc__).parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for file in arguments.output.glob("*.json"):
        file.unlink()
    for name in BENCHMARKS:
        program = Path(__file__).with_name(f"{name}.py")
        done = subprocess.run([sys.executable, str(program), *sys.argv[1:]], check=False)
        if done.returncode:
            sys.exit(f"{program} failed; its error stands above")
    results = [
        json.loads(file.read_text())
        for name in BENCHMARKS
        for file in sorted(arguments.output.glob(f"{name}*.json"), key=lambda f: (len(f.name), f))
    ]
    facts = ", ".join(f"{key} {value}" for key, value in results[0]["machine"].items())
    rows = [row for result in results for row in result["rows"]]
    text = f"{facts}\n\n{harness.table(rows)}\n"
    (arguments.output / "table.md").write_text(text)
    print(f"\n{text}\n{arguments.output / 'table.md'}")
