"""Check of a composed config against its schema: each error is one line that names the key."""

from __future__ import annotations

import math
import types
from collections.abc import Iterable
from dataclasses import asdict, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from scripts.signatures import exported, signature_of

MISSING = "???"  # as OmegaConf writes it
LONGEST = 400  # characters of an error's text
SPEAKING = (ValueError, OSError)  # errors whose text says enough without their name
WORDS = {
    int: "an integer",
    float: "a finite number",
    bool: "true or false",
    str: "text",
    types.NoneType: "null",
    dict: "a section",
}


class UsageError(ValueError):
    """What was typed cannot be used; the text is one line."""


def one_line(error: BaseException) -> str:
    """An error's text in one line, with the name of its class where that says more."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}: {error.filename}"
    text = " ".join(str(error).split())
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return text if text and isinstance(error, SPEAKING) else f"{type(error).__name__}: {text}"


def nearest(name: str, allowed: Iterable[str]) -> list[str]:
    """Up to three of `allowed` that `name` may have meant, the likeliest first.

    The last part of a dotted name counts too, and so do abbreviations: `lr`, `width`.
    """
    names = sorted(set(allowed))
    tails = {key.rpartition(".")[2]: key for key in reversed(names)}
    last = name.rpartition(".")[2]
    close = [*get_close_matches(name, names, 3, 0.6)]
    close += [tails[tail] for tail in get_close_matches(last, tails, 3, 0.75)]
    close += sorted((key for tail, key in tails.items() if _abbreviates(last, tail)), key=len)
    return list(dict.fromkeys(close))[:3]


def _abbreviates(short: str, word: str) -> bool:
    letters = iter(word)
    return len(short) > 1 and short[0] == word[:1] and all(letter in letters for letter in short)


def choices(name: str, allowed: Iterable[str]) -> str:
    """The end of a message about a wrong name: what is allowed, and what is near."""
    allowed = list(allowed)
    near = nearest(name, allowed)[:1]
    return f"allowed: {', '.join(allowed)}" + (f" (nearest: {near[0]})" if near else "")


def check_config(
    schema: type, config: dict[str, Any], root: Path, allow_missing: bool = False
) -> dict[str, Any]:
    """The config with every value checked and in the type that the schema names.

    Args:
        schema: a dataclass. A field's metadata may hold `min`, `max`, `above` (exclusive), or
            `package`: then the field is a section whose `_target_` is a class that this package
            exports, and the class's signature says which keys and types are allowed; `also`
            is a second such package, which errors do not offer.
        config: plain and resolved.
        root: folder that holds the packages.
        allow_missing: accept values that are still to be given.

    Raises:
        UsageError: for the first key that cannot be used.
    """
    checked = _section("", schema, config, root, allow_missing, _all_keys(schema, config, root))
    return checked if allow_missing else asdict(_build(schema, checked))


def _build(schema: type, values: dict[str, Any]) -> Any:
    hints = get_type_hints(schema)
    nested = {
        name: _build(hints[name], value) if is_dataclass(hints[name]) else value
        for name, value in values.items()
    }
    try:
        return schema(**nested)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _all_keys(schema: type, config: dict[str, Any], root: Path) -> list[str]:
    """Every key that could be typed, dotted: what a wrong one is compared with."""
    keys = []
    hints = get_type_hints(schema)
    for field in fields(schema):
        keys.append(field.name)
        section = config.get(field.name)
        if is_dataclass(hints[field.name]):
            keys += [f"{field.name}.{inner.name}" for inner in fields(hints[field.name])]
        elif "package" in field.metadata and isinstance(section, dict):
            signature = signature_of(root, str(section.get("_target_"))) or {}
            keys += [f"{field.name}.{key}" for key, kind in signature.items() if kind]
    return keys


def _section(
    prefix: str,
    schema: type,
    values: Any,
    root: Path,
    allow_missing: bool,
    known: list[str],
) -> dict[str, Any]:
    """The values of one dataclass; `prefix` is empty or ends in a dot."""
    if not isinstance(values, dict):
        raise UsageError(f"{prefix[:-1]}: expected a section, got {values!r}")
    hints = get_type_hints(schema)
    names = [field.name for field in fields(schema)]
    for key in values:
        if key not in names:
            raise UsageError(
                _unknown(f"{prefix}{key}", known, [f"{prefix}{name}" for name in names])
            )
    checked = {}
    for field in fields(schema):
        key, value = f"{prefix}{field.name}", values.get(field.name, MISSING)
        kind = hints[field.name]
        if _is_missing(key, value, allow_missing):
            checked[field.name] = value
        elif is_dataclass(kind):
            checked[field.name] = _section(f"{key}.", kind, value, root, allow_missing, known)
        elif "package" in field.metadata:
            packages = [
                field.metadata[kind] for kind in ("package", "also") if kind in field.metadata
            ]
            checked[field.name] = _target(key, packages, value, root, allow_missing)
        else:
            checked[field.name] = check_value(key, value, kind)
            _check_range(key, checked[field.name], field.metadata)
    return checked


def _unknown(key: str, known: list[str], siblings: list[str]) -> str:
    near = nearest(key, siblings) or nearest(key, known)
    if near:
        return f"{key}: unknown key; nearest: {', '.join(near)}"
    return f"{key}: unknown key; allowed: {', '.join(siblings)}"


def _is_missing(key: str, value: Any, allow_missing: bool) -> bool:
    if isinstance(value, str) and value == MISSING:
        if allow_missing:
            return True
        raise UsageError(f"{key}: required; give {key}=VALUE")
    return False


def _target(
    key: str, packages: list[str], values: Any, root: Path, allow_missing: bool
) -> dict[str, Any]:
    """The section of a class: the class's signature is its schema."""
    package = packages[0]
    if not isinstance(values, dict):
        raise UsageError(f"{key}: expected a section with _target_, got {values!r}")
    target = values.get("_target_")
    if not isinstance(target, str):
        raise UsageError(f"{key}._target_: required; the name of a class in {package}")
    package = next((p for p in packages if target.startswith(f"{p}.")), package)
    name = target.removeprefix(f"{package}.")
    allowed = exported(root, package)
    if target == name or name not in allowed:
        near = nearest(target.rpartition(".")[2], allowed)[:1]
        raise UsageError(
            f"{key}._target_: {target!r} is no class of {package}; "
            f"allowed: {', '.join(allowed)}" + (f" (nearest: {near[0]})" if near else "")
        )
    signature = signature_of(root, target) or {}
    configurable = [argument for argument, kind in signature.items() if kind is not None]
    checked = {"_target_": target}
    for argument, value in values.items():
        if argument == "_target_" or _is_missing(f"{key}.{argument}", value, allow_missing):
            continue
        if argument in signature and signature[argument] is None:
            raise UsageError(f"{key}.{argument}: set by the program, not by a config")
        if argument not in signature:
            takes = choices(argument, configurable) if configurable else "it takes none"
            elsewhere = _options_with(key, argument, root)
            if elsewhere and not nearest(argument, configurable):
                takes = f"{takes}; known to {', '.join(elsewhere)}"
            raise UsageError(f"{key}.{argument}: unknown key of {name}; {takes}")
        checked[argument] = check_value(f"{key}.{argument}", value, signature[argument])
    return checked


def _options_with(group: str, argument: str, root: Path) -> list[str]:
    """Options of a config group whose class takes `argument`, as they are typed."""
    found = []
    for file in sorted((root / "configs" / group).glob("*.yaml")):
        config = OmegaConf.load(file)
        target = config.get("_target_") if isinstance(config, DictConfig) else None
        if (signature_of(root, str(target)) or {}).get(argument):
            found.append(f"{group}={file.stem}")
    return found


def check_value(key: str, value: Any, kind: Any) -> Any:
    """`value` as `kind`: an int may stand for a float, and a whole float (1e6) for an int.

    Raises:
        UsageError: if it is something else; names key, value and what is allowed.
    """
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    for option in options:
        matches, converted = _convert(key, value, option)
        if matches:
            return converted
    if value == "":
        raise UsageError(f"{key}: no value given; expected {_words(options)}")
    literals = [str(v) for o in options if get_origin(o) is Literal for v in get_args(o)]
    if literals and isinstance(value, str):
        literals += ["null"] if types.NoneType in options else []
        raise UsageError(f"{key}: {value!r} is not possible; {choices(value, literals)}")
    shown = "null" if value is None else repr(value)
    raise UsageError(f"{key}: expected {_words(options)}, got {shown}")


def _convert(key: str, value: Any, kind: Any) -> tuple[bool, Any]:
    """Whether `value` is of `kind`, and the value in that type."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if get_origin(kind) is Literal:
        allowed = get_args(kind)
        if isinstance(value, bool) and {"on", "off"} <= set(allowed):
            value = "on" if value else "off"
        return any(type(value) is type(a) and value == a for a in allowed), value
    if get_origin(kind) is list:
        if not isinstance(value, list):
            return False, None
        (inner,) = get_args(kind)
        return True, [check_value(f"{key}[{i}]", item, inner) for i, item in enumerate(value)]
    if kind is int:
        whole = number and math.isfinite(value) and value == int(value)
        return whole, int(value) if whole else None
    if kind is float:
        finite = number and math.isfinite(value)
        return finite, float(value) if finite else None
    if kind is str:
        return (isinstance(value, str) and value != "") or number, str(value)
    return isinstance(value, kind), value


def _words(options: Iterable[Any]) -> str:
    def word(kind: Any) -> str:
        if get_origin(kind) is Literal:
            return f"one of {', '.join(map(str, get_args(kind)))}"
        if get_origin(kind) is list:
            return f"a list, each {_words(get_args(kind))}"
        return WORDS.get(kind, str(kind))

    return " or ".join(word(kind) for kind in options)


def _check_range(key: str, value: Any, limits: Any) -> None:
    if isinstance(value, list):
        for i, item in enumerate(value):
            _check_range(f"{key}[{i}]", item, limits)
        return
    if value is None:
        return
    if "min" in limits and value < limits["min"]:
        raise UsageError(f"{key} is {value}; it must be at least {limits['min']}")
    if "max" in limits and value > limits["max"]:
        raise UsageError(f"{key} is {value}; it must be at most {limits['max']}")
    if "above" in limits and not value > limits["above"]:
        raise UsageError(f"{key} is {value}; it must be above {limits['above']}")
