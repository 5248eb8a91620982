"""Check what is said of the layers, by measurement: `python scripts/layer_facts.py --fast`."""

from __future__ import annotations

import argparse
import platform
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/NAME.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.cores import Reading, choose_waiting  # noqa: E402
from scripts.study_configs import CASES, encoder_configs  # noqa: E402

if TYPE_CHECKING:
    from vrp.study.facts import Fact

_NAME, _VERDICT, _TEXT = 28, 9, 80  # widths of the printed columns
_VERDICTS = ("true", "false", "depends")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message}\n")


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked; a wrong one ends the program with exit code 2."""
    parser = _Parser(
        description="Checks claims about Conv1d, Linear, Embedding, LSTM and tensors, and prints "
        "each with its verdict and the measured figure.",
        epilog="example: python scripts/layer_facts.py --only Adam --output outputs/facts.md",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="NAME_PREFIX",
        help="rows, or subjects, whose name begins so (default: all)",
    )
    parser.add_argument("--fast", action="store_true", help="fewer seeds, steps and timings")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the table there")
    parser.add_argument(
        "--hardware",
        default=platform.machine(),
        metavar="TEXT",
        help="the machine's name in the table (default: %(default)s)",
    )
    given = parser.parse_args(arguments)
    if given.output:
        if given.output.suffix != ".md":
            parser.error(f"--output is {given.output}; its name must end in .md")
        if given.output.is_dir():
            parser.error(f"--output is {given.output}, a folder; it must be a file")
        for folder in given.output.parents:
            if folder.exists() and not folder.is_dir():
                parser.error(f"--output is {given.output}, but {folder} is no folder")
    try:
        from vrp.study.facts import chosen

        given.checks = chosen(given.only)
    except ValueError as error:
        parser.error(f"--only: {error}")
    return given


def run(given: argparse.Namespace) -> None:
    """Check, print as the checks end, and write."""
    import torch

    from vrp.study.facts import FAST, FULL, markdown

    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)  # before minutes of work
    budget = replace(FAST if given.fast else FULL, step_configs=encoder_configs(CASES["vrp10"]))
    begun, facts = time.monotonic(), []
    bar = tqdm(given.checks.items(), "facts", unit="row", disable=None)
    for name, check in bar:
        bar.set_postfix_str(name)
        facts.append(check(budget))
        tqdm.write(shown(facts[-1]))
    count = {kind: sum(fact.verdict == kind for fact in facts) for kind in _VERDICTS}
    about = (
        f"{len(facts)} claims: {count['true']} true, {count['false']} false; of "
        f"{count['depends']} it depends. torch "
        f"{torch.__version__}, {torch.get_num_threads()} threads, "
        f"{'small' if given.fast else 'full'} budget, {time.monotonic() - begun:.0f} seconds on "
        f"{given.hardware}."
    )
    print(about)
    if given.output:
        given.output.write_text(markdown(facts, about))
        print(f"table: {given.output}")
    else:
        print("next: python scripts/layer_facts.py --output outputs/layer-facts.md")


def shown(fact: Fact) -> str:
    """A row: name, verdict, and beside them the claim, the figure and the reason."""
    lines = [
        *textwrap.wrap(fact.claim, _TEXT),
        *textwrap.wrap(f"measured: {fact.figure}", _TEXT, subsequent_indent="  "),
        *textwrap.wrap(f"because: {fact.why}", _TEXT, subsequent_indent="  "),
    ]
    first = f"{fact.name:<{_NAME}}{fact.verdict:<{_VERDICT}}{lines[0]}"
    return "\n".join([first, *(" " * (_NAME + _VERDICT) + line for line in lines[1:])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 a failure, 130 interrupted."""
    # OpenMP's waiting threads would spin; see scripts/launcher.py.
    choose_waiting(Reading.now())
    try:
        run(parse_arguments(arguments))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
