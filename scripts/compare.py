"""The report of the encoder study: `python scripts/compare.py DIR...`, or RUNS.csv CURVES.csv.

From folders of sweeps or runs it writes runs.csv and curves.csv, too; given these two files it
makes the same report again. In the report's folder, or beside the two files, may lie remarks.txt,
paragraphs for the account, and steps.csv of scripts/time_encoders.py. Problems, policies and test
sets are reported apart. Without --plan, the study's margin, level and test decide, for the seeds
that there are; a plan's own seeds, sweeps and notes count where it is given, or lies there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vrp.study.plan import Plan
    from vrp.study.records import CurvePoint, Run

    Records = tuple[list[Run], list[CurvePoint]]

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/compare.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.arguments import whole  # noqa: E402
from scripts.cores import Reading, choose_waiting  # noqa: E402

COMPARED = Path("outputs", "compare")
PLAN = ROOT / "checkpoints" / "encoder-study" / "plan.json"


def main(arguments: list[str] | None = None) -> int:
    """Write report.md, report.html and the figures; 2 and one line if the input is bad."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", type=Path, nargs="+", help="folders, or runs.csv and curves.csv")
    parser.add_argument(
        "--output", type=Path, help="folder; outputs/compare, or beside runs.csv, unless given"
    )
    parser.add_argument(
        "--plan", type=Path,
        help="margin, seeds and test that were fixed beforehand (default: plan.json of that "
        "folder, or else the rules of the study's)",
    )  # fmt: skip
    parser.add_argument(
        "--tests", nargs="+", default=[], metavar="SET", help="test sets of folders: kool10, ..."
    )
    parser.add_argument(
        "--with",
        dest="earlier",
        type=Path,
        metavar="FOLDER",
        help="of an earlier report: its runs are taken along, if folders hold nothing newer",
    )
    parser.add_argument(
        "--limit", type=whole(1), help="instances of each test set; all unless given"
    )
    options = parser.parse_args(arguments)
    try:
        written = compare(options)
    except (OSError, ValueError) as error:
        print(f"not compared: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f"not compared: {error}; pip install -e '.[study]' brings it", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was tested is kept, the same command goes on", file=sys.stderr)
        return 130
    print("\n".join(str(path) for path in written))
    return 0


def compare(options: argparse.Namespace) -> list[Path]:
    """Read, report, write.

    Raises:
        OSError, ValueError: if the input cannot be used.
    """
    from vrp.study.plan import read_plan, read_remarks
    from vrp.study.report import make_report, write_report
    from vrp.study.steps import read_steps

    if options.plan is not None and not options.plan.is_file():
        raise ValueError(f"--plan is {options.plan}; there is no such file")
    from_files = len(options.paths) == 2 and all(p.suffix == ".csv" for p in options.paths)
    if from_files and (options.tests or options.limit or options.earlier):
        raise ValueError("--tests, --limit and --with go with folders, not with files")
    folder = options.output or (options.paths[0].parent if from_files else COMPARED)
    beside = options.paths[0].parent if from_files else folder
    own_plan = options.plan or beside / PLAN.name
    is_own = own_plan.is_file()
    plan = read_plan(own_plan if is_own else PLAN)
    remarks = read_remarks(beside)
    timed = beside / "steps.csv"
    steps = read_steps(timed) if timed.exists() else ()
    runs, curves = _read(*options.paths) if from_files else _collect(options, folder)
    check_comparable(runs)
    if not is_own:
        plan = rules_alone(plan, runs)
    report = make_report(runs, curves, plan, remarks, steps)
    return [folder / name for name in write_report(folder, report)]


def check_comparable(runs: Iterable[Run]) -> None:
    """One encoder or change may have any problems; of several, two must share one.

    Raises:
        ValueError: if they do not; names them.
    """
    trained: dict[str, set[str]] = {}
    for run in runs:
        if not run.is_pilot:
            kind = f"{run.encoder} {run.variant}".rstrip()
            trained.setdefault(run.problem, set()).add(kind)
    if len(set().union(*trained.values())) > 1 and all(len(k) == 1 for k in trained.values()):
        each = ", ".join(f"{kind} on {problem}" for problem, (kind,) in trained.items())
        raise ValueError(f"the runs are of different problems, so none can be compared: {each}")


def rules_alone(plan: Plan, runs: Iterable[Run]) -> Plan:
    """How the plan decides, for other runs: the seeds of its pair that there are, of any sweep.

    Where the pair is on other problems only, its first one there takes the place of the plan's.
    """
    pair = [
        run for run in runs
        if run.encoder in plan.encoders and not run.variant and not run.is_pilot
    ]  # fmt: skip
    if plan.problem not in {run.problem for run in pair}:
        tested = [run for run in pair if run.test_set and run.decode == plan.decode]
        for run in tested[:1]:
            plan = replace(
                plan, problem=run.problem, budget=None,
                test_set=run.test_set, test_instances=run.test_instances,
            )  # fmt: skip
    seeds = tuple(sorted({run.seed for run in pair if run.problem == plan.problem})) or plan.seeds
    return replace(plan, seeds=seeds, sweeps=(), notes=())


def _read(runs_file: Path, curves_file: Path) -> Records:
    from vrp.study.records import read_curves, read_runs

    runs = read_runs(runs_file)
    return runs, read_curves(curves_file, runs)


def _collect(options: argparse.Namespace, folder: Path) -> Records:
    """From folders, with the two files as a by-product."""
    choose_waiting(Reading.now())
    from vrp.study.collect import collect
    from vrp.study.records import write_curves, write_runs

    files = [path for path in options.paths if path.suffix == ".csv"]
    if files:
        raise ValueError(
            f"{files[0]}: give folders, or exactly two files, the runs before the curves"
        )
    earlier = options.earlier
    before = _read(earlier / "runs.csv", earlier / "curves.csv") if earlier else ([], [])
    runs, curves = merged(before, collect(options.paths, options.tests, options.limit))
    folder.mkdir(parents=True, exist_ok=True)
    write_runs(folder / "runs.csv", runs)
    write_curves(folder / "curves.csv", curves, runs)
    return runs, curves


def merged(before: Records, now: Records) -> Records:
    """Both, and of a run in both what there is now, unless that is nothing."""
    known = {run.key for run in before[0]}
    absent = {run.key for run in now[0] if run.status == "missing"} & known
    renewed = {run.key for run in now[0]} - absent
    return tuple(
        [record for record in old if record.key not in renewed]
        + [record for record in new if record.key not in absent]
        for old, new in zip(before, now, strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
