"""Pack the final network into the model file, which `i2crc segment` uses."""

import argparse
from pathlib import Path

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.artifacts.schemas import Score, read_checked
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    inputs = [arguments.weights, *arguments.scores]
    settings = {"max_side": arguments.max_side}
    origin = Origin(Path(__file__), inputs, settings)

    def pack() -> list[None]:
        # Imported here, because a finished model file must not wait for torch.
        from i2crc.inference.model_file import write_model

        scores = [read_checked(path, Score) for path in arguments.scores]
        facts = {
            "max_side": arguments.max_side,
            "scores": {one["stage"]: one["miou"] for one in scores if one["miou"] is not None},
        }
        write_model(arguments.output, arguments.weights, facts)
        return [None]

    make_once(origin, [arguments.output], pack)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="of the final training")
    parser.add_argument("--scores", type=Path, nargs="*", default=[], help="of its predictions")
    parser.add_argument("--max-side", type=int, required=True, help="working size in pixels")
    parser.add_argument("--output", type=Path, required=True, help="output: model file")
    run(main, parser)
