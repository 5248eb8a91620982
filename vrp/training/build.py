"""From a plain config to objects. Only classes on the package's own lists are ever built."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from vrp import policy as policies
from vrp import problem as problems
from vrp import search as searches
from vrp.policy import encoders, mistakes
from vrp.policy.base import Policy
from vrp.problem import InstanceGenerator
from vrp.search.base import Search
from vrp.training import baselines
from vrp.training.baselines.base import Baseline
from vrp.training.learner import Learner

# Each section of the config that describes an object, and where its class must come from.
SECTIONS = {
    "problem": (problems,),
    "encoder": (encoders, mistakes),
    "policy": (policies,),
    "baseline": (baselines,),
}
_PARTS = {"encoder"}  # arguments that are objects and so stand in no config


def build(section: dict, *packages: ModuleType, **parts: object) -> object:
    """The object that a config section describes.

    Args:
        section: `_target_`, a class that a package exports by its full name, and its arguments.
        packages: where the class must come from.
        parts: arguments that are objects and so stand in no config.

    Raises:
        ValueError: for a class that is not exported, or an argument it does not take; names
            both and what is allowed.
    """
    arguments = dict(section)
    target = arguments.pop("_target_", None)
    named = _exported(target, packages)
    try:
        return named(**arguments, **parts)
    except TypeError as error:
        raise ValueError(f"{target}: {error}") from error


def keys_of(name: str, section: dict) -> list[str]:
    """The keys of a whole section of that name, as the class that it names takes them.

    Raises:
        ValueError: for a class that is not exported.
    """
    signature = inspect.signature(_exported(section.get("_target_"), SECTIONS[name]))
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    taken = [key for key, parameter in signature.parameters.items() if parameter.kind in named]
    return ["_target_", *(key for key in taken if key not in _PARTS)]


def _exported(target: str | None, packages: tuple[ModuleType, ...]) -> type:
    allowed = {
        f"{package.__name__}.{name}": getattr(package, name)
        for package in packages
        for name in package.__all__
    }
    if target not in allowed:
        raise ValueError(f"_target_ is {target!r}; allowed: {', '.join(sorted(allowed))}")
    return allowed[target]


@contextmanager
def _as_typed(name: str, section: dict) -> Iterator[None]:
    """Let errors about an argument name it with its section."""
    try:
        yield
    except ValueError as error:
        told = str(error)
        separator = "." if told.partition(" ")[0] in section else ": "
        raise ValueError(f"{name}{separator}{told}") from error


def _build_section(name: str, config: dict, **parts: object) -> object:
    with _as_typed(name, config[name]):
        return build(config[name], *SECTIONS[name], **parts)


def build_generator(config: dict) -> InstanceGenerator:
    """The generator of training instances."""
    return _build_section("problem", config)


def build_policy(config: dict) -> Policy:
    """The policy with its encoder, its parameters not yet set."""
    encoder = _build_section("encoder", config)
    return _build_section("policy", config, encoder=encoder)


def build_baseline(config: dict) -> Baseline:
    """The baseline, its parameters not yet set."""
    return _build_section("baseline", config)


def build_learner(config: dict, generator: InstanceGenerator) -> Learner:
    """Policy and baseline as they learn together, their parameters not yet set.

    Raises:
        ValueError: for settings that do not go together.
    """
    multistart, rollouts = config["multistart"], config["num_rollouts"]
    if multistart and rollouts > generator.num_customers:
        raise ValueError(
            f"num_rollouts is {rollouts}; with multistart=true it must be at most "
            f"{generator.num_customers}, a tour for each customer"
        )
    policy, baseline = build_policy(config), build_baseline(config)
    baseline.begin(policy, generator, config["seed"])
    return Learner(
        policy,
        baseline,
        rollouts,
        multistart,
        leader_weight=config["leader_weight"],
        entropy_weight=config["entropy_weight"],
    )


def build_search(section: dict) -> Search:
    """The search that `decode=` names."""
    with _as_typed("decode", section):
        return build(section, searches)
