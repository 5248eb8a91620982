"""From run folders to the study's two files: what was trained, and how it does on test sets."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path

import torch
from tqdm import tqdm

import vrp.problem
from vrp.evaluation.trained import load_trained
from vrp.problem import ClusteredGenerator, Instances
from vrp.problem.datasets import CAPACITY, STANDARD_SETS, gap_percent, reference, standard_set
from vrp.problem.random_numbers import named_generator
from vrp.search.fixed import solve
from vrp.study.records import CurvePoint, Run
from vrp.training.checkpoint import CheckpointError, load_checkpoint
from vrp.whole_file import whole_file

_CHECKPOINT = "last.pt"
_CACHE = "tests.json"  # in the run's folder
_CLUSTERED = "clustered"
_CLUSTERED_INSTANCES = 10_000
_ENCODERS = {"Conv1dEncoder": "conv1d", "LinearEncoder": "linear", "EmbeddingEncoder": "embedding"}
_MISTAKES = {"ReshapedEncoder": "reshaped", "FlattenedEncoder": "flattened", "Tf32Encoder": "tf32"}
_BINS = 64  # of the embedding without a variant
_TABLE_KEYS = ("max_norm", "scale_grad_by_freq", "pretrained", "freeze")


@dataclass(frozen=True)
class _Planned:
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


def collect(
    folders: Sequence[Path], tests: Sequence[str] = (), limit: int | None = None
) -> tuple[list[Run], list[CurvePoint]]:
    """Read runs, and solve test sets with the last checkpoint of each finished one.

    Decoding is greedy; of policies that were trained from each customer, multi-start as well.

    A result is kept in the run's folder and used again while the checkpoint is the same.

    Args:
        folders: of sweeps, or of single runs.
        tests: test sets: standard ones, or `clusteredC`: 10,000 instances of C clustered
            customers. A run is tested on those of its own number of customers; without any, on
            Kool's set of that number.
        limit: how many instances of each; all if None.

    Raises:
        ValueError: for a folder that holds no run, a run in two folders, an unknown test set, a
            damaged checkpoint, or a run that no test set fits; names it.
    """
    for name in tests:
        _size_of(name)
    planned = [run for folder in folders for run in _find(Path(folder))]
    seen: dict[tuple[str, str], Path] = {}
    for run in planned:
        other = seen.setdefault((run.sweep, run.name), run.folder)
        if other != run.folder:
            raise ValueError(f"{run.folder} and {other} are both called {run.sweep}/{run.name}")
    runs, curves = [], []
    sets: dict[str, _TestSet] = {}
    for run in tqdm(planned, desc="runs", unit=" runs", leave=False, disable=None):
        described = _describe(run)
        curves += _curve(run)
        if described.status != "finished":
            runs.append(described)
            continue
        size = described.num_customers
        fitting = [name for name in tests if _size_of(name) == size]
        if not tests and f"kool{size}" in STANDARD_SETS:
            fitting = [f"kool{size}"]
        if not fitting:
            raise ValueError(
                f"{run.folder}: no test set of {size} customers among "
                f"{', '.join(tests) or 'the standard ones'}"
            )
        for name in fitting:
            if name not in sets:
                sets[name] = _test_set(name, limit)
            runs += [
                _tested(described, run, sets[name], decode) for decode in _decodings(run.config)
            ]
    return runs, curves


def _find(folder: Path) -> list[_Planned]:
    """The runs of a sweep's folder, or the one run of a run's folder.

    Raises:
        ValueError: if it is neither.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder")
    listed = _json(folder / "sweep.json")
    if listed is not None:
        runs = listed.get("runs") if isinstance(listed, dict) else None
        if not isinstance(runs, dict):
            raise ValueError(f"{folder / 'sweep.json'} is damaged: it lists no runs")
        return [_Planned(folder.name, name, folder / name, config) for name, config in runs.items()]
    if (folder / _CHECKPOINT).is_file():
        checkpoint = _load(folder)
        sweep = folder.resolve().parent.name
        return [_Planned(sweep, folder.resolve().name, folder, checkpoint["config"])]
    raise ValueError(
        f"{folder} holds neither a sweep (sweep.json) nor a run ({_CHECKPOINT}); "
        "give the folder of a sweep or of a run"
    )


def _load(folder: Path) -> dict:
    try:
        return load_checkpoint(folder / _CHECKPOINT)
    except CheckpointError as error:
        raise ValueError(str(error)) from error


def _describe(run: _Planned) -> Run:
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


def _described(run: _Planned) -> Run:
    config, problem = run.config, run.config["problem"]
    status = _json(run.folder / "status.json") or {}
    has_checkpoint = (run.folder / _CHECKPOINT).is_file()
    try:
        checkpoint = _load(run.folder) if has_checkpoint else {}
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
    policy = _class(config["policy"]).removesuffix("Policy").lower()
    size, capacity = problem["num_customers"], problem["capacity"]
    if variant == "strict_mask":
        capacity += 1  # what the vehicle holds; the mask leaves the last one aboard
    last = _validated(run) if has_checkpoint else {}
    return Run(
        sweep=run.sweep,
        run=run.name,
        status=state,
        error=_error(status, run.folder) if state == "failed" else "",
        problem=_problem_name(problem, capacity, policy),
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
        learning_rate=float(config["learning_rate"]),
        settings=_settings(config),
        seconds=progress.get("seconds"),
        train_seconds=progress.get("train_seconds"),
        threads=versions.get("threads"),
        device=checkpoint.get("device", ""),
        precision=_precision(checkpoint),
        torch=versions.get("torch", ""),
        parameters=sum(t.numel() for t in checkpoint["policy"].values()) if checkpoint else None,
        checkpoint="",
        test_set="",
        decode="",
        test_instances=None,
        cost=None,
        gap=None,
        reference_instances=None,
        validation=(_json(run.folder / "summary.json") or {}).get("validation", "") if last else "",
        val_cost=_number(last.get("val_cost")),
        val_gap=_number(last.get("val_gap")),
    )


def _error(status: dict, folder: Path) -> str:
    """What a run failed of, without the place where it was."""
    return (status.get("error") or "").replace(f"{folder.resolve()}{os.sep}", "")


def _encoder_and_variant(config: dict) -> tuple[str, str]:
    """Whose encoder it is, and in what it differs from the one that is compared."""
    section = config["encoder"]
    kind = _class(section)
    changes = []
    if kind in _MISTAKES:
        encoder = "linear"
        changes.append(_MISTAKES[kind])
    elif kind in _ENCODERS:
        encoder = _ENCODERS[kind]
    else:
        raise ValueError(f"encoder._target_ is {section.get('_target_')!r}; the study knows none")
    problem = config["problem"]
    if problem["capacity"] == CAPACITY.get(problem["num_customers"], 0) - 1:
        changes.append("strict_mask")
    if encoder == "embedding":
        if section["tables"] != "factorised":
            changes.append(section["tables"])
        if section["bins"] != _BINS or changes:
            changes.append(f"bins={section['bins']}")
        changes += [f"{key}={section[key]}" for key in _TABLE_KEYS if section.get(key)]
    if section["init"] != "torch":
        changes.append(section["init"])
    if config["policy"].get("dropout"):
        changes.append("dropout")
    return encoder, ",".join(changes)


def _settings(config: dict) -> str:
    """What runs that are compared have in common besides the columns of their own."""
    found = {"baseline": _class(config["baseline"]).removesuffix("Baseline").lower()}
    found["decay"] = f"{config['learning_rate_decay']}/{config['decay_instances']}"
    found["clip"] = f"{config['grad_clip']}/{config['grad_clip_kind']}"
    if config["learning_rate_decay"] == "steps":
        found["steps"] = f"{config['learning_rate_steps']}/{config['learning_rate_factor']}"
    seldom = ("weight_decay", "entropy_weight", "multistart", "start_from")
    found |= {key: config[key] for key in seldom if config.get(key)}
    found |= _drawn(config["problem"])
    policy = config["policy"]
    found |= {key: policy[key] for key in sorted(policy) if key not in ("_target_", "dropout")}
    return " ".join(f"{key}={value}" for key, value in found.items())


def _drawn(problem: dict) -> dict[str, object]:
    """In what the instances differ from those that their generator draws unless told."""
    generator = getattr(vrp.problem, _class(problem))
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


def _problem_name(problem: dict, capacity: int, policy: str) -> str:
    """Another policy than the paper's is another problem to compare the encoders on."""
    size = problem["num_customers"]
    kind = _class(problem).removesuffix("Generator").lower()
    name = f"vrp{size}" if kind == "uniform" else f"{kind}{size}"
    if kind == "uniform" and CAPACITY.get(size) != capacity:
        name += f"-capacity{capacity}"
    return name if policy == "pointer" else f"{name}-{policy}"


def _class(section: dict) -> str:
    return str(section["_target_"]).rpartition(".")[2]


def _rows(run: _Planned) -> list[dict[str, str]]:
    file = run.folder / "metrics.csv"
    if not file.is_file():
        return []
    with open(file, newline="") as lines:
        return list(csv.DictReader(lines))


def _validated(run: _Planned) -> dict[str, str]:
    """The last row with a validation."""
    return next((row for row in reversed(_rows(run)) if row.get("val_cost")), {})


def _curve(run: _Planned) -> list[CurvePoint]:
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


def _number(text: str | None) -> float | None:
    return float(text) if text else None


@dataclass(frozen=True)
class _TestSet:
    name: str
    instances: Instances


def _size_of(name: str) -> int:
    """The number of customers of a test set.

    Raises:
        ValueError: for an unknown name; lists what there is.
    """
    size = name.removeprefix(_CLUSTERED)
    if size != name and size.isdigit() and int(size) in CAPACITY:
        return int(size)
    if name not in STANDARD_SETS:
        clustered = [f"{_CLUSTERED}{size}" for size in CAPACITY]
        raise ValueError(
            f"test set {name!r} is unknown; allowed: {', '.join([*STANDARD_SETS, *clustered])}"
        )
    return int("".join(filter(str.isdigit, name.removesuffix("-val"))))


def _test_set(name: str, limit: int | None) -> _TestSet:
    if name in STANDARD_SETS:
        return _TestSet(name, standard_set(name, limit))
    size = _size_of(name)
    generate = ClusteredGenerator(size, CAPACITY[size])
    instances = generate(_CLUSTERED_INSTANCES, named_generator(0, f"test/{name}"))
    return _TestSet(name, instances[:limit])


def _decodings(config: dict) -> list[str]:
    """Greedy for all, and what a policy was made for."""
    return ["greedy", "multistart"] if config.get("multistart") else ["greedy"]


def _tested(described: Run, run: _Planned, test: _TestSet, decode: str) -> Run:
    """The run with its cost on the test set."""
    instances = test.instances
    trained = load_trained(run.name, run.folder / _CHECKPOINT)
    capacity = run.config["problem"]["capacity"]
    if capacity != int(instances.capacity[0]):
        # Tours for a smaller vehicle are legal for the larger one.
        instances = replace(instances, capacity=torch.full_like(instances.capacity, capacity))
    instances = replace(instances, split_delivery=described.split_delivery)
    key = f"{test.name} {decode} {len(instances)}"
    kept = _json(run.folder / _CACHE) or {}
    if kept.get("checkpoint_sha256") != trained.sha256:
        kept = {"checkpoint_sha256": trained.sha256}
    if key not in kept:
        costs = solve(trained.policy, instances, decode).cost
        gap, count = None, None
        known = None
        if test.name in STANDARD_SETS and not described.split_delivery:
            known = reference(test.name, described.capacity)
        if known is not None:
            gap, count = gap_percent(costs.numpy(), known.cost)
        kept[key] = {"cost": costs.mean().item(), "gap": gap, "reference_instances": count}
        with whole_file(run.folder / _CACHE, "w") as file:
            file.write(json.dumps(kept, indent=2) + "\n")
    return replace(
        described,
        checkpoint="last",
        test_set=test.name,
        decode=decode,
        test_instances=len(instances),
        **kept[key],
    )


def _json(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
