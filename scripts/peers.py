"""The same training in this code and in RL4CO's, to be measured side by side.

RL4CO (Berto et al. 2023, https://arxiv.org/abs/2306.17100), the extra `peers`, has the networks of
Kool et al. and of POMO. Its step is put together here from its own parts, in float32, without
Lightning and its logging. Its trainer would allow products of less precision, which on the one
CPU that was tried took three times as long.
"""

from __future__ import annotations

import copy
import importlib.util
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.metadata import version
from itertools import count
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from scripts.memory import peak_memory
from vrp.problem import Instances
from vrp.problem.tours import check_tours, tour_length
from vrp.search import Greedy, Multistart
from vrp.training.build import build_generator, build_learner
from vrp.training.compilation import can_compile
from vrp.training.device import set_up_device
from vrp.training.step import TrainingStep, make_optimizer

if TYPE_CHECKING:
    from tensordict import TensorDict

_COURSE = 10**9  # parts of a learning rate's course, which follows the clock
_TOGETHER = 500  # instances solved at once
# What RL4CO has, too.
_ALIKE = {
    "policy._target_": ("vrp.policy.AttentionPolicy",),
    "policy.normalization": ("batch", "instance"),
    "policy.init": ("torch",),
    "encoder._target_": ("vrp.policy.encoders.LinearEncoder",),
    "problem._target_": ("vrp.problem.UniformGenerator",),
    "problem.min_demand": (1,),
    "problem.max_demand": (9,),
    "problem.split_delivery": (False,),
    "leader_weight": (1.0,),
    "entropy_weight": (0.0,),
    "grad_clip_kind": ("global",),
}


def check_comparable(config: dict) -> None:
    """Refuse what RL4CO does not train.

    Args:
        config: plain and complete, as `configs/config.yaml` composes it.

    Raises:
        ValueError: names the key, its value and what is allowed; or says that RL4CO is missing.
    """
    for key, allowed in _ALIKE.items():
        section, _, name = key.rpartition(".")
        found = (config[section] if section else config).get(name, allowed[0])
        if found not in allowed:
            raise ValueError(
                f"{key} is {found}; RL4CO is compared with {' or '.join(map(str, allowed))}"
            )
    baseline = config["baseline"]["_target_"].rpartition(".")[2]
    played = (baseline, config["multistart"], config["num_rollouts"])
    customers = config["problem"]["num_customers"]
    if played not in [("SharedBaseline", True, customers), ("RolloutBaseline", False, 1)]:
        raise ValueError(
            f"{baseline} with num_rollouts={played[2]} and multistart={str(played[1]).lower()}; "
            f"RL4CO is compared with baseline=shared, num_rollouts={customers} and multistart=true,"
            " or baseline=rollout, num_rollouts=1 and multistart=false"
        )
    if importlib.util.find_spec("rl4co") is None:
        raise ValueError("RL4CO is not installed: pip install -c constraints.txt -e '.[peers]'")


def names() -> tuple[str, str]:
    """Of `Ours` and `Rl4co`, for tables and figures."""
    return "this code", f"RL4CO {version('rl4co')}"


class Peer(ABC):
    """One code's training of the policy that a config describes, on the CPU.

    Args:
        config: as `check_comparable` takes it. The learning rate falls to zero with `passed`.
    """

    _policy: nn.Module

    @abstractmethod
    def __init__(self, config: dict) -> None: ...

    @abstractmethod
    def step(self, passed: float = 0.0) -> None:
        """Train on one batch after this part of the whole course, 0 to 1."""

    @abstractmethod
    def decode(self, instances: Instances) -> None:
        """Find greedy tours and their lengths."""

    @abstractmethod
    def solve(self, instances: Instances) -> Tensor:
        """(N,) costs of the shortest of greedy tours from each customer, by the judge."""

    def parameters(self) -> int:
        """How many numbers the policy learns."""
        return sum(p.numel() for p in self._policy.parameters())

    def train(self, seconds: float, before: float, budget: float) -> tuple[int, float]:
        """Train until `seconds` are over.

        Args:
            seconds: to train now.
            before: seconds trained before.
            budget: seconds in all, after which the learning rate is zero.

        Returns:
            Steps and seconds, to the end of the last step.
        """
        begun = time.perf_counter()
        for steps in count(1):
            self.step(min(1.0, (before + time.perf_counter() - begun) / budget))
            spent = time.perf_counter() - begun
            if spent >= seconds:
                return steps, spent

    def peak_memory(self) -> float:
        """GB that this process has held at most."""
        return peak_memory()


class Ours(Peer):
    """This project's."""

    def __init__(self, config: dict) -> None:
        device = set_up_device("cpu", config["threads"])
        generator = build_generator(config)
        learner = build_learner(config, generator)
        learner.policy.initialise(config["seed"])
        learner.baseline.initialise(config["seed"], learner.policy)
        learner.baseline.end_warmup()
        if config["compile"] == "auto" and can_compile(learner.policy, device):
            learner.compile_kernels()
        timed = config | {"learning_rate_decay": "linear", "decay_instances": _COURSE}
        optimizer = make_optimizer(config, learner)
        self._step = TrainingStep(timed, generator, learner, optimizer, device)
        self._number = count()
        self._policy = learner.policy

    def step(self, passed: float = 0.0) -> None:
        """As `Peer.step`."""
        self._step(next(self._number), round(passed * _COURSE))

    def decode(self, instances: Instances) -> None:
        """As `Peer.decode`."""
        Greedy()(self._policy.eval(), instances, torch.Generator())

    def solve(self, instances: Instances) -> Tensor:
        """As `Peer.solve`."""
        self._policy.eval()
        return _costs(
            instances, lambda part: Multistart()(self._policy, part, torch.Generator()).actions
        )


class Rl4co(Peer):
    """RL4CO's."""

    def __init__(self, config: dict) -> None:
        set_up_device("cpu", config["threads"])
        warnings.simplefilter("ignore")
        from rl4co.envs import CVRPEnv
        from rl4co.models.zoo import POMO, AttentionModel, AttentionModelPolicy

        torch.manual_seed(config["seed"])
        problem, policy = config["problem"], config["policy"]
        sizes = {"num_loc": problem["num_customers"], "capacity": problem["capacity"]}
        self._env = CVRPEnv(generator_params=sizes)
        self._policy = AttentionModelPolicy(
            env_name=self._env.name,
            embed_dim=config["embedding_dim"],
            num_encoder_layers=policy["num_layers"],
            num_heads=policy["num_heads"],
            feedforward_hidden=policy["feed_forward_dim"],
            normalization=policy["normalization"],
            use_graph_context=policy["graph_context"],
            tanh_clipping=policy["tanh_clipping"],
        )
        self._config = config
        self._starts = config["num_rollouts"] if config["multistart"] else 0
        self._rollout = None if self._starts else copy.deepcopy(self._policy).eval()
        self._model = (POMO if self._starts else AttentionModel)(
            self._env,
            self._policy,
            optimizer_kwargs={
                "lr": config["learning_rate"],
                "weight_decay": config["weight_decay"],
            },
        )
        self._optimizer = self._model.configure_optimizers()

    def step(self, passed: float = 0.0) -> None:
        """As `Peer.step`."""
        from rl4co.utils.ops import unbatchify

        config, env = self._config, self._env
        batch = env.generator([config["batch_size"]])
        self._policy.train()
        if self._starts:
            state = env.reset(batch)
            found = self._policy(state, env, phase="train", num_starts=self._starts)
            played = [unbatchify(found[key], self._starts) for key in ("reward", "log_likelihood")]
        else:
            with torch.inference_mode():
                start = env.reset(batch.clone())  # `reset` changes what it is given
                expected = self._rollout(start, env, decode_type="greedy")["reward"]
            batch["extra"] = expected.clone()
            state = env.reset(batch)
            found = self._policy(state, env, phase="train")
            played = [found["reward"], found["log_likelihood"]]
        self._model.calculate_loss(state, batch, found, *played)
        self._optimizer.zero_grad()
        found["loss"].backward()
        if config["grad_clip"] is not None:
            torch.nn.utils.clip_grad_norm_(self._policy.parameters(), config["grad_clip"])
        for group in self._optimizer.param_groups:
            group["lr"] = config["learning_rate"] * (1 - passed)
        self._optimizer.step()

    def decode(self, instances: Instances) -> None:
        """As `Peer.decode`."""
        self._policy.eval()
        with torch.inference_mode():
            self._policy(self._state(instances), self._env, decode_type="greedy")

    def solve(self, instances: Instances) -> Tensor:
        """As `Peer.solve`."""
        from rl4co.utils.ops import unbatchify

        self._policy.eval()
        starts = instances.num_customers

        def shortest(part: Instances) -> Tensor:
            with torch.inference_mode():
                found = self._policy(
                    self._state(part), self._env, decode_type="multistart_greedy", num_starts=starts
                )
            best = unbatchify(found["reward"], starts).argmax(1)
            tours = unbatchify(found["actions"], starts)[torch.arange(len(part)), best]
            return torch.nn.functional.pad(tours, (0, 1))  # ends at the depot

        return _costs(instances, shortest)

    def _state(self, instances: Instances) -> TensorDict:
        from tensordict import TensorDict

        capacity = instances.capacity[:, None].float()
        drawn = {
            "locs": instances.customers,
            "depot": instances.depot,
            "demand": instances.demand / capacity,
            "capacity": capacity,
        }
        return self._env.reset(TensorDict(drawn, batch_size=[len(instances)]))


def _costs(instances: Instances, solve: Callable[[Instances], Tensor]) -> Tensor:
    """(N,) costs of the tours (N, T) that `solve` finds, all of them legal."""
    costs = []
    for first in range(0, len(instances), _TOGETHER):
        part = instances[first : first + _TOGETHER]
        tours = solve(part)[:, None]
        check_tours(part, tours)
        costs.append(tour_length(part, tours)[:, 0])
    return torch.cat(costs)
