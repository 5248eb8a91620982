"""The report of the study, a pure function of the two files and the plan."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vrp.study.account import account
from vrp.study.analysis import Analysis
from vrp.study.answer import answer
from vrp.study.decisions import pairing_section, primary_section, secondary_section
from vrp.study.document import Picture, Section, to_html, to_markdown
from vrp.study.embedding import embedding_section
from vrp.study.plan import Plan
from vrp.study.records import CurvePoint, Run
from vrp.study.results import curves_section, results
from vrp.study.steps import StepTime
from vrp.study.suspects import suspects_section
from vrp.study.words import words
from vrp.whole_file import whole_file

TITLE = "Is Conv1d (kernel 1) better than Linear, and what does Embedding cost?"

_SECTIONS = (
    answer,
    results,
    primary_section,
    secondary_section,
    pairing_section,
    suspects_section,
    embedding_section,
    curves_section,
    account,
    words,
)


@dataclass(frozen=True)
class Report:
    """What `write_report` writes.

    Attributes:
        sections: from the answer to the account, numbered.
    """

    sections: tuple[Section, ...]

    @property
    def markdown(self) -> str:
        """With links to the figures' files."""
        return to_markdown(TITLE, self.sections)

    @property
    def html(self) -> str:
        """With the figures inside."""
        return to_html(TITLE, self.sections)

    @property
    def figures(self) -> dict[str, bytes]:
        """SVG by file name."""
        blocks = [block for section in self.sections for block in section.blocks]
        return {block.name: block.svg for block in blocks if isinstance(block, Picture)}


def make_report(
    runs: Iterable[Run],
    curves: Iterable[CurvePoint],
    plan: Plan,
    remarks: Sequence[str] = (),
    steps: Sequence[StepTime] = (),
) -> Report:
    """The same report for the same records, to the last byte.

    Args:
        runs: all lines of runs.csv.
        curves: all lines of curves.csv.
        plan: of the study.
        remarks: sentences for the account, written after the plan.
        steps: all lines of steps.csv.

    Raises:
        ValueError: if runs that belong to one comparison differ in a setting; names two runs, the
            setting and both values.
    """
    analysis = Analysis(runs, curves, plan, remarks, steps)
    sections = [make(analysis) for make in _SECTIONS]
    return Report(
        tuple(
            Section(f"{number}. {section.title}", section.blocks)
            for number, section in enumerate(sections, 1)
        )
    )


def write_report(folder: Path, report: Report) -> list[str]:
    """Write report.md, report.html and the figures; remove those that only the last report had.

    Returns:
        The names of the files.

    Raises:
        OSError: if one cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: svg for name, svg in sorted(report.figures.items())}
    files["report.md"] = report.markdown.encode()
    files["report.html"] = report.html.encode()
    for name in _figures_of(folder / "report.md") - files.keys():
        (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
        with whole_file(folder / name) as file:
            file.write(content)
    return list(files)


def _figures_of(markdown: Path) -> set[str]:
    if not markdown.exists():
        return set()
    return set(re.findall(r"!\[[^\]]*\]\(([\w-]+\.svg)\)", markdown.read_text(encoding="utf-8")))
