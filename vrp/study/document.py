"""A report as a list of blocks, and the same blocks as Markdown and as one HTML page.

Texts may hold `code`, **bold** and nothing else of Markdown.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows below a header; columns of numbers stand right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        """Check the widths."""
        if any(len(row) != len(self.header) for row in self.rows):
            raise ValueError(f"a row is not as wide as the header {self.header}")

    def is_number(self, column: int) -> bool:
        """Whether every cell of a column but the first begins like a number, or says nothing."""
        return column > 0 and all(row[column][:1] in "0123456789+-<>" for row in self.rows)


@dataclass(frozen=True)
class Picture:
    """A figure: its file, the file's bytes, and what it shows."""

    name: str
    svg: bytes = field(repr=False)
    caption: str

    @classmethod
    def named(cls, title: str, svg: bytes, caption: str) -> Picture:
        """With a file name made of the letters and numbers of its title."""
        return cls(re.sub(r"\W+", "-", title).strip("-") + ".svg", svg, caption)


Block = Text | Items | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it."""

    title: str
    blocks: tuple[Block, ...]


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """Figures are links to their files."""
    parts = [f"# {title}"]
    for section in sections:
        parts.append(f"## {section.title}")
        parts += [_block_markdown(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def to_html(title: str, sections: Sequence[Section]) -> str:
    """One page that needs no other file."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for section in sections:
        parts.append(f"<h2>{_inline(section.title)}</h2>")
        parts += [_block_html(block) for block in section.blocks]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _block_markdown(block: Block) -> str:
    match block:
        case Text(text):
            return text
        case Items(items):
            return "\n".join(f"- {item}" for item in items)
        case Picture(name, _, caption):
            return f"![{caption.replace('`', '')}]({name})\n\n{caption}"
        case Table(header, rows):
            marks = ["---:" if block.is_number(i) else "---" for i in range(len(header))]
            cells = [[c.replace("|", "\\|") for c in row] for row in (header, marks, *rows)]
            return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _block_html(block: Block) -> str:
    match block:
        case Text(text):
            return f"<p>{_inline(text)}</p>"
        case Items(items):
            return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>"
        case Picture(_, svg, caption):
            data = base64.b64encode(svg).decode()
            alt = html.escape(caption.replace("`", ""))
            return (
                f'<figure><img alt="{alt}" src="data:image/svg+xml;base64,{data}">'
                f"<figcaption>{_inline(caption)}</figcaption></figure>"
            )
        case Table(header, rows):
            kinds = [_kind(block, column) for column in range(len(header))]
            head, *lines = (
                f"<tr>{''.join(map(partial(_cell, tag), kinds, row))}</tr>"
                for tag, row in (("th", header), *(("td", row) for row in rows))
            )
            body = "\n".join(lines)
            return (
                f'<div class="wide"><table><thead>{head}</thead>\n'
                f"<tbody>{body}</tbody></table></div>"
            )


def _kind(table: Table, column: int) -> str:
    """Class of its cells: a number, a sentence, or a few words."""
    if table.is_number(column):
        return "number"
    return "sentence" if max((len(row[column]) for row in table.rows), default=0) > 40 else "words"


def _cell(tag: str, kind: str, text: str) -> str:
    return f'<{tag} class="{kind}">{_inline(text)}</{tag}>'


def _inline(text: str) -> str:
    escaped = html.escape(text, quote=False)
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    escaped = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped)
    escaped = _TOGETHER.sub("&nbsp;", escaped)
    return escaped.replace("\\*", "*")


# Spaces at which no line ends: `5 %`, `5 ms`, `p = 0.05`, `p < 0.05`.
_TOGETHER = re.compile(r"(?<=\d) (?=%|m?s\b)|(?<=\bp) (?==|&lt;)|(?<=\bp =) |(?<=\bp &lt;) ")

_STYLE = (
    "body{max-width:76rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff;"
    "font:16px/1.5 system-ui,sans-serif}"
    "p,li,figcaption{max-width:50rem}h1{font-size:1.6rem}"
    "h2{font-size:1.2rem;margin-top:2.5rem;border-bottom:1px solid #ccc}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;margin:1rem 0}"
    "th,td{padding:.25rem .6rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}"
    "th{border-bottom:2px solid #888}"
    ".number{text-align:right;font-variant-numeric:tabular-nums}td.number{white-space:nowrap}"
    ".words{min-width:5rem}.sentence{min-width:16rem}th{vertical-align:bottom}"
    "code{background:#f2f2f2;padding:0 .2em;border-radius:3px}"
    "figure{margin:1.5rem 0}img{max-width:100%;height:auto}"
    "figcaption{font-size:.85rem;color:#444}"
)
