"""Run the benchmarks of images and print their figures as one JSON object on the last line.

`python -m bench.images` runs all three; `--only advise`, `--only clean` or `--only registry` one of them. `--count`
is the number of images that are cleaned.
"""

from __future__ import annotations

import argparse
import json
import sys

from bench.images import advise, clean, registry

PARTS = ("advise", "clean", "registry")


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="bench.images", description="What work on images takes.")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be given again")
    parser.add_argument("--count", type=int, default=clean.COUNT, help="dangling images that are cleaned")
    asked = parser.parse_args(arguments)
    found: dict[str, float] = {}
    for part in asked.only or PARTS:
        match part:
            case "advise":
                found |= advise.measure()
            case "clean":
                found |= clean.measure(asked.count)
            case "registry":
                found |= registry.measure()
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
