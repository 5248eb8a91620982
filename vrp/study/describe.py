"""What a run folder says of how its run was trained, and how it learned."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import vrp.problem
from vrp.problem.datasets import CAPACITY
from vrp.study.price import STRICT_MASK
from vrp.study.records import BINS, BLIND, ENCODERS, CurvePoint, Run
from vrp.training.checkpoint import CheckpointError, load_checkpoint

CHECKPOINT = "last.pt"
_MISTAKES = {
    "ReshapedEncoder": "reshaped",
    "FlattenedEncoder": "flattened",
    "Tf32Encoder": "tf32",
    "BlindEncoder": BLIND,
}
_TABLE_KEYS = ("max_norm", "scale_grad_by_freq", "pretrained", "freeze")
_RATES = {"pointer": 2e-3, "attention": 3e-4}  # of the study
_BUDGET = 400_000  # of the study; runs that are longer stand apart, shorter ones are not mixed in


@dataclass(frozen=True)
class Planned:
    """A run that was to be made.

    Attributes:
        sweep: its sweep's name.
        name: its own.
        folder: where it is, or would be.
        config: as composed before it began, or as its checkpoint has it.
    """

    sweep: str
    name: str
    folder: Path
    config: dict


def describe(run: Planned) -> Run:
    """All but the tests.

    Raises:
        ValueError: for a damaged checkpoint, or a config without what the study asks for.
    """
    try:
        return _described(run)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{run.folder}: its config, in sweep.json or the checkpoint, is damaged or not of "
            f"train.py: {error!r}"
        ) from error


def _described(run: Planned) -> Run:
    config, problem = run.config, run.config["problem"]
    status = read_json(run.folder / "status.json") or {}
    has_checkpoint = (run.folder / CHECKPOINT).is_file()
    try:
        checkpoint = load_last(run.folder) if has_checkpoint else {}
    except ValueError:
        if status.get("state") != "failed":  # else the damage may be what it failed of
            raise
        checkpoint = {}
    if checkpoint:  # the budget of the run that was made, not of the sweep's last start
        config = checkpoint["config"]
    progress, versions = checkpoint.get("progress", {}), checkpoint.get("versions", {})
    instances = progress.get("instances")
    if instances is not None and instances >= config["max_instances"]:
        state = "finished"
    elif status.get("state") == "failed":
        state = "failed"
    else:
        state = "stopped" if has_checkpoint else "missing"
    encoder, variant = _encoder_and_variant(config)
    policy = class_name(config["policy"]).removesuffix("Policy").lower()
    size, capacity = problem["num_customers"], problem["capacity"]
    learning_rate = float(config["learning_rate"])
    if STRICT_MASK in variant.split(","):
        capacity += 1  # what the vehicle holds; the mask leaves the last one aboard
    last = _validated(run) if has_checkpoint else {}
    return Run(
        sweep=run.sweep,
        run=run.name,
        status=state,
        error=_error(status, run.folder) if state == "failed" else "",
        problem=_problem_name(config, capacity, policy),
        num_customers=size,
        capacity=capacity,
        split_delivery=problem.get("split_delivery", False),
        policy=policy,
        encoder=encoder,
        variant=variant,
        seed=config["seed"],
        budget=config["max_instances"],
        instances=instances,
        batch_size=config["batch_size"],
        num_rollouts=config["num_rollouts"],
        learning_rate=learning_rate,
        settings=settings_of(config),
        seconds=progress.get("seconds"),
        train_seconds=progress.get("train_seconds"),
        threads=versions.get("threads"),
        side_by_side=status.get("side_by_side"),
        device=checkpoint.get("device", ""),
        precision=_precision(checkpoint),
        torch=versions.get("torch", ""),
        commit=versions.get("commit") or "",
        parameters=sum(t.numel() for t in checkpoint["policy"].values()) if checkpoint else None,
        checkpoint="",
        test_set="",
        decode="",
        test_instances=None,
        cost=None,
        gap=None,
        reference_instances=None,
        validation=_summary(run).get("validation", "") if last else "",
        val_cost=_number(last.get("val_cost")),
        val_gap=_number(last.get("val_gap")),
    )


def _summary(run: Planned) -> dict:
    return read_json(run.folder / "summary.json") or {}


def curve_of(run: Planned) -> list[CurvePoint]:
    """Its validations; empty for a run that has none.

    Raises:
        ValueError: if metrics.csv is damaged.
    """
    try:
        return [
            CurvePoint(
                sweep=run.sweep,
                run=run.name,
                instances=int(row["instances"]),
                seconds=float(row["seconds"]),
                train_seconds=float(row["train_seconds"]),
                train_cost=_number(row["train_cost"]),
                val_cost=_number(row["val_cost"]),
                val_gap=_number(row["val_gap"]),
            )
            for row in _rows(run)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{run.folder / 'metrics.csv'} is damaged: {error!r}") from error


def load_last(folder: Path) -> dict:
    """The content of the last checkpoint in a run's folder.

    Raises:
        ValueError: if it is damaged.
    """
    try:
        return load_checkpoint(folder / CHECKPOINT)
    except CheckpointError as error:
        raise ValueError(str(error)) from error


def _error(status: dict, folder: Path) -> str:
    """What a run failed of, without the place where it was."""
    return (status.get("error") or "").replace(f"{folder.resolve()}{os.sep}", "")


def _encoder_and_variant(config: dict) -> tuple[str, str]:
    """Whose encoder it is, and in what it differs from the one that is compared."""
    section = config["encoder"]
    kind = class_name(section)
    mistake = _MISTAKES.get(kind)
    encoder = "linear" if mistake else kind.removesuffix("Encoder").lower()
    if encoder not in ENCODERS:
        raise ValueError(f"encoder._target_ is {section.get('_target_')!r}; the study knows none")
    changes = [mistake] if mistake else []
    if _has_strict_mask(config):
        changes.append(STRICT_MASK)
    if encoder == "embedding":
        is_usual = section["tables"] == "factorised"
        if not is_usual:
            changes.append(section["tables"])
        if section["bins"] != BINS or not is_usual:
            changes.append(f"bins={section['bins']}")
        changes += [f"{key}={section[key]}" for key in _TABLE_KEYS if section.get(key)]
    if section["init"] != "torch":
        changes.append(section["init"])
    if config["policy"].get("dropout"):
        changes.append("dropout")
    return encoder, ",".join(changes)


def _has_strict_mask(config: dict) -> bool:
    """A vehicle that holds one less is the mask, if the usual one is what is validated."""
    size = config["problem"]["num_customers"]
    is_one_less = config["problem"]["capacity"] == CAPACITY.get(size, 0) - 1
    return is_one_less and config["validation"]["set"] in (f"kool{size}", f"kool{size}-val")


def settings_of(config: dict) -> str:
    """What runs that are compared have in common besides the columns of their own."""
    found = {"baseline": class_name(config["baseline"]).removesuffix("Baseline").lower()}
    found["decay"] = f"{config['learning_rate_decay']}/{config['decay_instances']}"
    found["clip"] = f"{config['grad_clip']}/{config['grad_clip_kind']}"
    if config["learning_rate_decay"] == "steps":
        found["steps"] = f"{config['learning_rate_steps']}/{config['learning_rate_factor']}"
    seldom = ("weight_decay", "entropy_weight", "multistart", "start_from")
    found |= {key: config[key] for key in seldom if config.get(key)}
    if config.get("leader_weight", 1) != 1:
        found["leader_weight"] = config["leader_weight"]
    found |= _drawn(config["problem"])
    policy = config["policy"]
    named = ("_target_", "dropout", "precision")  # are in other columns
    found |= {key: policy[key] for key in sorted(policy) if key not in named}
    return " ".join(f"{key}={value}" for key, value in found.items())


def _drawn(problem: dict) -> dict[str, object]:
    """In what the instances differ from those that their generator draws unless told."""
    generator = getattr(vrp.problem, class_name(problem), None)
    if generator is None:
        raise ValueError(f"problem._target_ is {problem['_target_']!r}; the study knows none")
    usual = {f.name: f.default for f in fields(generator) if f.default is not MISSING}
    named = ("num_customers", "capacity", "split_delivery")  # have columns of their own
    return {
        key: value
        for key, value in problem.items()
        if key in usual and key not in named and value != usual[key]
    }


def _precision(checkpoint: dict) -> str:
    """Of the arithmetic, and of the large products where a policy rounds their factors to less."""
    general, products = checkpoint.get("precision", ""), checkpoint.get("products", "float32")
    return general if products == "float32" else f"{general}, products {products}"


def _problem_name(config: dict, capacity: int, policy: str) -> str:
    """Another policy than the paper's, rate or longer budget is another problem to compare on."""
    problem, learning_rate = config["problem"], float(config["learning_rate"])
    size = problem["num_customers"]
    kind = class_name(problem).removesuffix("Generator").lower()
    name = f"vrp{size}" if kind == "uniform" else f"{kind}{size}"
    if kind == "uniform" and CAPACITY.get(size) != capacity:
        name += f"-capacity{capacity}"
    if policy != "pointer":
        name += f"-{policy}"
    if learning_rate != _RATES.get(policy):
        name += f"-rate{learning_rate:g}"
    budget = config["max_instances"]
    return name if budget <= _BUDGET else f"{name}-instances{budget}"


def class_name(section: dict) -> str:
    """Of a config's section, without its module."""
    return str(section["_target_"]).rpartition(".")[2]


def _validated(run: Planned) -> dict[str, str]:
    """The last row with a validation."""
    return next((row for row in reversed(_rows(run)) if row.get("val_cost")), {})


def _rows(run: Planned) -> list[dict[str, str]]:
    file = run.folder / "metrics.csv"
    if not file.is_file():
        return []
    with open(file, newline="") as lines:
        return list(csv.DictReader(lines))


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def read_json(path: Path) -> dict | None:
    """Its content; None where there is no file.

    Raises:
        ValueError: if it is damaged.
    """
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: it holds {found!r}; it must be keys with values")
    return found
