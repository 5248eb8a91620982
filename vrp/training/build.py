"""From a plain config to objects. Only classes on the package's own lists are ever built."""

from __future__ import annotations

from types import ModuleType

from vrp import policy as policies
from vrp import problem as problems
from vrp import search as searches
from vrp.policy import encoders, mistakes
from vrp.policy.base import Policy
from vrp.problem import InstanceGenerator
from vrp.search.base import Search
from vrp.training import baselines
from vrp.training.baselines import Baseline
from vrp.training.learner import Learner


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
    allowed = {
        f"{package.__name__}.{name}": getattr(package, name)
        for package in packages
        for name in package.__all__
    }
    if target not in allowed:
        raise ValueError(f"_target_ is {target!r}; allowed: {', '.join(sorted(allowed))}")
    try:
        return allowed[target](**arguments, **parts)
    except TypeError as error:
        raise ValueError(f"{target}: {error}") from error


def build_generator(config: dict) -> InstanceGenerator:
    """The generator of training instances."""
    return build(config["problem"], problems)


def build_policy(config: dict) -> Policy:
    """The policy with its encoder, its parameters not yet set."""
    encoder = build(config["encoder"], encoders, mistakes)
    return build(config["policy"], policies, encoder=encoder)


def build_baseline(config: dict) -> Baseline:
    """The baseline, its parameters not yet set."""
    return build(config["baseline"], baselines)


def build_learner(config: dict, generator: InstanceGenerator) -> Learner:
    """Policy and baseline as they learn together, their parameters not yet set.

    Raises:
        ValueError: for settings that do not go together.
    """
    multistart, rollouts = config["multistart"], config["num_rollouts"]
    if multistart and rollouts != generator.num_customers:
        raise ValueError(
            f"num_rollouts is {rollouts}; multistart=true needs {generator.num_customers}, "
            "a tour for each customer"
        )
    policy, baseline = build_policy(config), build_baseline(config)
    baseline.begin(policy, generator, config["seed"])
    weights = config["leader_weight"], config["entropy_weight"]
    return Learner(policy, baseline, rollouts, multistart, *weights)


def build_search(section: dict) -> Search:
    """The search that `decode=` names."""
    return build(section, searches)
