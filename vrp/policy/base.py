"""What every policy promises to search and to learning."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from vrp.policy.choice import Choice
from vrp.policy.encoders import Encoder
from vrp.policy.record import TensorRecord
from vrp.problem.environment import State
from vrp.problem.instances import Instances

# What a policy records of each step of a rollout, so that the replay need not compute it again;
# only the policy that made it knows its form.
Tape = object


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Without dropout and the like, whatever happens meanwhile; then as before."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


@dataclass(frozen=True)
class Encoding(TensorRecord):
    """What a decoder needs of N instances, computed once.

    Attributes:
        nodes: (N, V, M) embeddings of all nodes, the depot first.
        scale: (N,), factor from goods to network input.
    """

    nodes: Tensor
    scale: Tensor


class Memory(Protocol):
    """What a decoder remembers of K solutions per instance from one step to the next."""

    def select(self, index: Tensor) -> Self:
        """The memories at `index`, (N, J) int64 along the second axis."""


@dataclass(frozen=True)
class Replay:
    """Given tours, as the policy sees them.

    Attributes:
        log_prob: (N, K, T) of each chosen node; 0 where the step was forced or the tour closed.
        entropy: (N, K, T) of each step's distribution, in nats; 0 at the same places.
        counted: (N, K, T) bool, false at those places.
    """

    log_prob: Tensor
    entropy: Tensor
    counted: Tensor


class Policy(nn.Module, ABC):
    """A distribution over the next node, in two views: step by step, and of whole tours.

    Attributes:
        encoder: embeds the customers' coordinates.
        starts_anywhere: whether the policy is made for tours that begin with any given customer,
            so that searches start one from each. A class says what it is meant for; who knows
            how a policy was trained sets it on the policy.
        sees_remaining: whether it sees at each step what is left of every customer's demand, where
            deliveries may be split; else it sees the demands at the start.
        keeps_kernels: whether its fused loops are kept for the next process, so that even a single
            evaluation is faster with them; else each process compiles them anew.
    """

    encoder: Encoder
    starts_anywhere: bool
    sees_remaining: ClassVar[bool]
    keeps_kernels: ClassVar[bool]

    @abstractmethod
    def settings(self) -> dict[str, object]:
        """Arguments that make another function of weights of the same names and shapes."""

    @abstractmethod
    def initialise(self, seed: int) -> None:
        """Set every parameter from `seed` and its name."""

    @abstractmethod
    def has_kernels(self, device: torch.device) -> bool:
        """Whether there are inner loops that `compile_kernels` fuses on `device`."""

    @abstractmethod
    def compile_kernels(self) -> None:
        """Fuse the inner loops from the next call on, and warn where that fails."""

    @abstractmethod
    def is_compiled(self) -> bool:
        """Whether the inner loops are fused, none that was called having failed to compile."""

    @abstractmethod
    def products(self, device: torch.device) -> torch.dtype:
        """What the factors of the large products are rounded to on `device`."""

    @abstractmethod
    def in_float32(self) -> Policy:
        """A policy with these weights whose products are all float32; itself if they are."""

    @abstractmethod
    def dropout_mask(
        self, num_instances: int, num_solutions: int, generator: torch.Generator
    ) -> Tensor | None:
        """(N, K, M) of 0 and 1 / (1 - dropout), on the CPU; None without dropout."""

    def embed(self, coordinates: Tensor) -> Tensor:
        """What the encoders make of (N, V, 2) coordinates, the depot's first: (N, V, M)."""
        return self.encoder(coordinates)

    @abstractmethod
    def encode(self, instances: Instances) -> Encoding:
        """Everything of the instances that no step changes.

        Raises:
            TypeError: if the parameters are not float32.
        """

    @abstractmethod
    def start(
        self, encoding: Encoding, num_solutions: int, dropout_mask: Tensor | None = None
    ) -> Memory:
        """The empty memory of K = `num_solutions` solutions per instance."""

    @abstractmethod
    def new_tape(
        self, encoding: Encoding, num_solutions: int, most: int, old: Tape | None = None
    ) -> Tape | None:
        """A tape for up to `most` steps of K solutions; None where it would not pay.

        Args:
            encoding: of N instances.
            num_solutions: K.
            most: steps.
            old: a tape nobody needs any more; its memory may serve again.
        """

    @abstractmethod
    def step(
        self,
        encoding: Encoding,
        memory: Memory,
        state: State,
        legal: Tensor,
        tape: Tape | None = None,
    ) -> tuple[Tensor, Memory]:
        """Logits of the next node, without gradient.

        Args:
            encoding: of N instances, detached.
            memory: before this step.
            state: where the vehicles stand.
            legal: (N, K, V) bool, true where a node may be chosen.
            tape: records the step for `log_probs`.

        Returns:
            (N, K, V) logits, minus infinity where not legal, and the memory after this step.
        """

    def play(
        self,
        encoding: Encoding,
        instances: Instances,
        state: State,
        most: int,
        choice: Choice,
        first: Tensor | None = None,
        tape: Tape | None = None,
    ) -> Tensor | None:
        """The rest of all tours in one call; None where it has to be played step by step.

        Args:
            encoding: of N instances, detached.
            instances: the same N instances.
            state: where the vehicles stand.
            most: steps that no tour exceeds from there on.
            choice: its steps count from 0 here.
            first: (N, K) int64, nodes imposed on the first step; below 0 leaves it to `choice`.
            tape: records each step for `log_probs`; only where the state is the first one.

        Returns:
            (N, K, T) int64 actions, padded with 0; T is the longest rest's number of steps.

        Raises:
            FloatingPointError: if the logits are no numbers.
        """
        return None

    @abstractmethod
    def log_probs(
        self,
        encoding: Encoding,
        instances: Instances,
        actions: Tensor,
        forced: int = 0,
        dropout_mask: Tensor | None = None,
        tape: Tape | None = None,
    ) -> Replay:
        """Log-probabilities of whole tours, all steps at once, with gradient.

        Args:
            encoding: of N instances, with gradient.
            instances: the same N instances.
            actions: (N, K, T) int64, legal tours padded with 0.
            forced: how many first steps were imposed by the search and count 0.
            dropout_mask: (N, K, M), the one the tours were made with.
            tape: recorded while these very tours were made with these very weights; it spares
                what the policy finds there. Without it that is computed anew.
        """

    @abstractmethod
    def replay_bytes(self, num_nodes: int) -> int:
        """About how much memory `log_probs` and its gradient take for each step of a tour.

        Without dropout and tape, on a CPU, for several instances of V nodes whose deliveries are
        not split.
        """

    @abstractmethod
    def addable(self, encoding: Encoding) -> Tensor:
        """(N, V, M) zeros that `with_added` takes; for searches that learn per instance."""

    @abstractmethod
    def with_added(self, encoding: Encoding, added: Tensor) -> Encoding:
        """The encoding whose pointer keys have moved by `added`, (N, V, M), with its gradient."""
