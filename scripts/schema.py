"""The keys of `train.py` and `scripts/evaluate.py`: names, types, ranges. Values are in configs/.

A section with a package is a class of that package; the class's signature is its schema.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

MAX_SEED = 2**63 - 1


def limits(**metadata: float) -> Any:
    """A number in a range: `min`, `max`, or `above` for an open end. Null passes where allowed."""
    return field(metadata=metadata)


@dataclass(frozen=True)
class Validation:
    """When and on what training is validated.

    Attributes:
        every: instances between two validations.
        limit: instances of the set that are solved.
        set: a standard set's name; `auto` takes the one of the problem's size.
        decode: how they are solved.
    """

    every: int = limits(min=1)
    limit: int = limits(min=1)
    set: str = field()
    decode: Literal["greedy", "multistart"] = field()


@dataclass(frozen=True)
class TrainConfig:
    """Keys of `train.py`.

    Attributes:
        name: of the run; its folder is outputs/NAME.
        device: `auto` is cuda where there is one.
        threads: of the CPU; null leaves PyTorch's choice.
        compile: `auto` fuses the policy's inner loops where it has any that gain by it and a
            compiler is there; `off` does not.
        batch_size: instances per step.
        num_rollouts: solutions per instance, K.
        multistart: begin each of an instance's tours at another customer; `num_rollouts` is then
            at most their number.
        leader_weight: of each instance's shortest tour, times which its advantage is taken; 1 is
            plain REINFORCE.
        entropy_weight: of the policy's mean entropy per step, in nats, taken from the loss.
        learning_rate_decay: `linear` falls to zero at `decay_instances`; `steps` is multiplied by
            `learning_rate_factor` at each of `learning_rate_steps`.
        learning_rate_steps: parts of `decay_instances`.
        learning_rate_factor: at each of these steps.
        decay_instances: training instances that the learning rate's course is made for.
        weight_decay: of Adam, added to the gradient.
        grad_clip: largest gradient norm; null does not clip.
        grad_clip_kind: one norm for all parameters, or each parameter its own.
        max_instances: instances to train on in all.
        max_time: seconds after which training stops, and 20 later a validation; null for no limit.
        checkpoint_every: instances between two writings of last.pt.
        start_from: checkpoint whose policy this run begins with, on this or another problem: file,
            run folder, or released name.
        resume: run folder to continue in.
        progress: whether to show a progress bar.
    """

    name: str
    problem: dict = field(metadata={"package": "vrp.problem"})
    encoder: dict = field(
        metadata={"package": "vrp.policy.encoders", "also": "vrp.policy.mistakes"}
    )
    policy: dict = field(metadata={"package": "vrp.policy"})
    baseline: dict = field(metadata={"package": "vrp.training.baselines"})
    seed: int = limits(min=0, max=MAX_SEED)
    device: Literal["auto", "cpu", "cuda"] = field()
    threads: int | None = limits(min=1)
    compile: Literal["auto", "off"] = field()
    batch_size: int = limits(min=1)
    num_rollouts: int = limits(min=1)
    multistart: bool = field()
    leader_weight: float = limits(min=1)
    entropy_weight: float = limits(min=0)
    embedding_dim: int = limits(min=1)
    learning_rate: float = limits(above=0)
    learning_rate_decay: Literal["linear", "steps", "none"] = field()
    learning_rate_steps: list[float] = field(metadata={"above": 0, "max": 1})
    learning_rate_factor: float = limits(above=0, max=1)
    weight_decay: float = limits(min=0)
    decay_instances: int = limits(min=1)
    grad_clip: float | None = limits(above=0)
    grad_clip_kind: Literal["global", "per_variable"] = field()
    max_instances: int = limits(min=1)
    max_time: float | None = limits(above=0)
    validation: Validation = field()
    checkpoint_every: int = limits(min=1)
    start_from: str | None = field()
    resume: str | None = field()
    progress: bool = field()


@dataclass(frozen=True)
class EvaluateConfig:
    """Keys of `scripts/evaluate.py`.

    Attributes:
        checkpoint: file, run folder or released name.
        data: standard set or file.
        decode: the search.
        limit: number of instances; null for all.
        output: folder for the results; null for outputs/evaluate/NAME.
        compile: `auto` plays with the policy's loops in C++ where it has any and there is a
            compiler; `off` does not.
        batch_size: instances solved at once; null for 250, or for fewer where their size and the
            search would take more memory than 250 of 100 customers.
        capacity: for files that hold demands as fractions.
        split_delivery: null keeps what the checkpoint was trained with.
    """

    checkpoint: str
    data: str
    decode: dict = field(metadata={"package": "vrp.search"})
    limit: int | None = limits(min=1)
    output: str | None = field()
    seed: int = limits(min=0, max=MAX_SEED)
    device: Literal["auto", "cpu", "cuda"] = field()
    threads: int | None = limits(min=1)
    compile: Literal["auto", "off"] = field()
    batch_size: int | None = limits(min=1)
    capacity: int | None = limits(min=1)
    split_delivery: bool | None = field()


@dataclass(frozen=True)
class BenchmarkConfig(TrainConfig):
    """Keys of `scripts/benchmark.py`: those of `train.py`, and how long to measure.

    Attributes:
        warmup: steps before the measurement.
        steps: measured steps.
        decoded: instances decoded at once.
    """

    warmup: int = limits(min=1)
    steps: int = limits(min=1)
    decoded: int = limits(min=1)
