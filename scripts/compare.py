"""The report of the encoder study: `python scripts/compare.py RUNS.csv CURVES.csv`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vrp.study.records import CurvePoint, Run

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/compare.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

PLAN = ROOT / "checkpoints" / "encoder-study" / "plan.json"


def main(arguments: list[str] | None = None) -> int:
    """Write report.md, report.html and the figures; 2 and one line if the input is bad."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", type=Path, nargs="+", help="runs.csv and curves.csv")
    parser.add_argument("--output", type=Path, help="folder; beside runs.csv unless given")
    parser.add_argument("--plan", type=Path, default=PLAN, help="what was decided before")
    options = parser.parse_args(arguments)
    try:
        written = compare(options)
    except (OSError, ValueError) as error:
        print(f"not compared: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f"not compared: {error}; pip install -e '.[study]' brings it", file=sys.stderr)
        return 1
    print("\n".join(str(path) for path in written))
    return 0


def compare(options: argparse.Namespace) -> list[Path]:
    """Read, report, write.

    Raises:
        OSError, ValueError: if the input cannot be used.
    """
    from vrp.study.plan import read_plan
    from vrp.study.report import make_report, write_report

    plan = read_plan(options.plan)
    runs, curves = gather(options.paths)
    report = make_report(runs, curves, plan)
    folder = options.output or options.paths[0].parent
    return [folder / name for name in write_report(folder, report)]


def gather(paths: list[Path]) -> tuple[list[Run], list[CurvePoint]]:
    """The records of the two files.

    Raises:
        OSError, ValueError: if the input cannot be used.
    """
    from vrp.study.records import read_curves, read_runs

    # Run folders and sweep folders belong here, collected into the same two lists.
    if len(paths) != 2 or any(path.suffix != ".csv" for path in paths):
        given = " ".join(str(path) for path in paths)
        raise ValueError(f"{given}: two files are needed, RUNS.csv CURVES.csv")
    runs = read_runs(paths[0])
    return runs, read_curves(paths[1], runs)


if __name__ == "__main__":
    sys.exit(main())
