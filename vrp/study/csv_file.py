"""Records as lines of a csv file, and back, exactly; every damage is named."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import get_type_hints

from vrp.whole_file import whole_file


def read_lines(path: Path, record: type) -> tuple[list[int], list]:
    """Line numbers and records of a csv file.

    Raises:
        OSError: if it cannot be read.
        ValueError: names the file, the line, the column, its value and what is allowed.
    """
    columns = [field.name for field in fields(record)]
    types = get_type_hints(record)
    try:
        text = Path(path).read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is no UTF-8; a csv is needed") from error
    if not text:
        raise ValueError(f"{path}: the file is empty; a line with the columns is needed")
    if not text.endswith("\n"):
        last = text.count("\n") + 1
        raise ValueError(f"{path}, line {last}: it does not end with a line break: the file is cut")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines, records = [], []
    try:
        _check_header(path, next(reader), columns)
        for row in reader:
            place = f"{path}, line {reader.line_num}"
            if len(row) != len(columns):
                raise ValueError(f"{place}: {len(row)} columns; there must be {len(columns)}")
            values = {
                name: _parse(place, name, value, types[name])
                for name, value in zip(columns, row, strict=True)
            }
            try:
                records.append(record(**values))
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from error
            lines.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: no csv ({error})") from error
    return lines, records


def _check_header(path: Path, found: list[str], columns: list[str]) -> None:
    if found == columns:
        return
    missing = [name for name in columns if name not in found]
    unknown = [name for name in found if name not in columns]
    parts = [f"missing: {', '.join(missing)}"] if missing else []
    parts += [f"unknown: {', '.join(map(repr, unknown))}"] if unknown else []
    raise ValueError(
        f"{path}, line 1: wrong columns ({'; '.join(parts) or 'their order differs'}); they must "
        f"be {','.join(columns)}"
    )


def _parse(place: str, column: str, text: str, kind: object) -> object:
    if kind is str:
        return text
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(f"{place}: {column} is {text!r}; allowed: true, false")
        return text == "true"
    is_optional = kind in (int | None, float | None)
    if not text and is_optional:
        return None
    is_whole = kind in (int, int | None)
    try:
        if "_" in text or text != text.strip():  # Python reads these, others do not
            raise ValueError
        return int(text) if is_whole else float(text)
    except ValueError as error:
        allowed = f"a {'whole ' if is_whole else ''}number{' or nothing' if is_optional else ''}"
        raise ValueError(f"{place}: {column} is {text!r}; it must be {allowed}") from error


def write_lines(path: Path, record: type, records: Sequence) -> None:
    """Whole or not at all."""
    with whole_file(Path(path), "w", newline="", encoding="utf-8") as file:
        rows = [[field.name for field in fields(record)]]
        rows += [[_text(value) for value in asdict(each).values()] for each in records]
        file.writelines(",".join(map(_quoted, row)) + "\n" for row in rows)


def _quoted(text: str) -> str:
    """As csv.writer does, which leaves a lone carriage return bare."""
    if any(mark in text for mark in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(float(value)) if isinstance(value, float) else str(value)  # numpy's too
