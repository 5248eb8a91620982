"""From the name of a checkpoint to its policy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vrp.policy.base import Policy
from vrp.training.build import build_policy
from vrp.training.checkpoint import CheckpointError, checkpoint_content, load_checkpoint
from vrp.training.start import differences, some

RELEASED = Path(__file__).resolve().parents[2] / "checkpoints"
_SWEEP = "sweep.json"  # beside the folders of a sweep's runs
_IN_FOLDER = ("best.pt", "last.pt", "model.pt")  # the first that is there is taken


@dataclass(frozen=True)
class Trained:
    """A policy, and what its checkpoint says of it.

    Attributes:
        name: short, for people and for file names.
        file: the checkpoint.
        sha256: of the file.
        policy: in evaluation mode.
        problem: the config's section that training instances came from.
        instances: how many it was trained on, with those before `start_from`, or None where that is
            not said.
    """

    name: str
    file: Path
    sha256: str
    policy: Policy
    problem: dict
    instances: int | None


def find_checkpoint(name: str, key: str = "checkpoint") -> tuple[str, Path]:
    """The short name and the file of a checkpoint.

    Args:
        name: a file; a folder, of which best.pt, else last.pt, else model.pt is taken, but
            last.pt where best.pt is from before the first step; or, where no such path exists, a
            released model.
        key: what the user set to that name, for errors.

    Raises:
        FileNotFoundError: if it is none of these; lists the released models.
    """
    path = Path(name)
    if path.is_dir():
        files = [path / file for file in _IN_FOLDER if (path / file).is_file()]
        if not files:
            raise FileNotFoundError(f"{key}: {name} holds none of {', '.join(_IN_FOLDER)}")
        has_both = [file.name for file in files[:2]] == ["best.pt", "last.pt"]
        file = files[1] if has_both and _is_untrained(files[0]) else files[0]
        return _short_name(file), file
    if path.exists():
        return _short_name(path), path
    released = sorted(file.parent.name for file in RELEASED.glob("*/model.pt"))
    if name in released:
        return name, RELEASED / name / "model.pt"
    raise FileNotFoundError(
        f"{key}: {name} is no file, run folder or released model; "
        f"released: {', '.join(released) or 'none'}"
    )


def _is_untrained(file: Path) -> bool:
    """Whether a checkpoint is as the seed made it; not where it cannot be read."""
    try:
        content = load_checkpoint(file)
    except CheckpointError:
        return False
    instances = content.get("progress", {}).get("instances")
    return instances == 0 and content.get("started_from") is None


def load_trained(name: str, file: Path) -> Trained:
    """The policy of a checkpoint; nothing in the file is executed.

    Raises:
        ValueError: if the file is damaged, its config names something that is not built from
            files, or its weights do not fit its config; names the file.
    """
    data = file.read_bytes()  # once: a run in training may put another file in its place
    content = checkpoint_content(data, file)
    try:
        config, weights = content["config"], dict(content["policy"])
        problem = dict(config["problem"])
        seen = dict(content.get("progress", {})).get("instances")
        before = dict(content.get("started_from") or {"instances": 0}).get("instances")
        seen = None if seen is None or before is None else seen + before
        policy = build_policy(config)
    except KeyError as error:
        raise ValueError(f"{file}: holds no {error}, so no policy can be built from it") from error
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{file}: its policy cannot be built: {error}") from error
    _load_weights(policy, weights, file)
    policy.starts_anywhere = bool(config.get("multistart", policy.starts_anywhere))
    sha256 = hashlib.sha256(data).hexdigest()
    return Trained(name, file, sha256, policy.eval(), problem, seen)


def _load_weights(policy: Policy, weights: dict[str, Tensor], file: Path) -> None:
    if wrong := differences(policy, weights):
        raise ValueError(
            f"{file}: the weights do not fit the encoder and policy of its config: {some(wrong)}"
        )
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{file}: {name} holds values that are not finite")
    policy.load_state_dict(weights)


def _short_name(file: Path) -> str:
    """The run's name for a run's file, with the sweep's before it for a run of a sweep."""
    folder = file.resolve().parent
    if file.name not in (*_IN_FOLDER, "previous.pt"):
        return file.stem
    in_sweep = (folder.parent / _SWEEP).is_file()
    name = f"{folder.parent.name}-{folder.name}" if in_sweep else folder.name
    return name if file.name in ("best.pt", "model.pt") else f"{name}-{file.stem}"
