"""The attention pointer network of Nazari et al. (2018).

    x_i = [encoder(node i); embed(demand_i); embed(load - demand_i)]
    h_t = LSTM(encoder(last node), h_{t-1})
    glimpse: a = softmax(v_a . tanh(W_a [x_i; h_t])),  c = sum_i a_i x_i        (Eq. 4 and 5)
    pointer: logit_i = v_c . tanh(W_c [x_i; c])                                  (Eq. 6)

With `glimpses=0` the pointer reads h_t in the place of c, as the released code does by default.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from vrp.policy.additive import additive_scores, key_factors
from vrp.policy.base import Encoding, Policy, Replay
from vrp.policy.encoders import Encoder
from vrp.policy.features import goods_scale
from vrp.policy.initialisation import check_scheme, initialise_layers
from vrp.policy.kernels import EAGER, compiled_kernels
from vrp.policy.lstm import LstmTape, lstm_sequence
from vrp.policy.precision import check_parameters
from vrp.policy.projection import NodeProjection, Projection
from vrp.problem.environment import State, seen_before_each_step
from vrp.problem.instances import Instances


@dataclass(frozen=True)
class PointerEncoding(Encoding):
    """As `Encoding`, and the parts of decoder and attention that no step changes.

    Attributes:
        gates: (N, V, 4H), the share of each node in the LSTM's gates; None under dropout.
        pointer: keys of the pointer.
        glimpse: keys of the glimpse; None with `glimpses=0`.
        values: what the glimpse sums, projected for the pointer; None with `glimpses=0`.
    """

    gates: Tensor | None
    pointer: Projection
    glimpse: Projection | None
    values: Projection | None


@dataclass(frozen=True)
class LstmMemory:
    """The LSTM's memory of K solutions per instance.

    Attributes:
        hidden: (N, K, H).
        cell: (N, K, H).
        dropout_mask: (N, K, M), one per tour, or None.
    """

    hidden: Tensor
    cell: Tensor
    dropout_mask: Tensor | None

    def select(self, index: Tensor) -> LstmMemory:
        """The memories at `index`, (N, J) int64 along the second axis."""

        def take(tensor: Tensor) -> Tensor:
            return tensor.gather(1, index[..., None].expand(-1, -1, tensor.shape[-1]))

        mask = None if self.dropout_mask is None else take(self.dropout_mask)
        return LstmMemory(take(self.hidden), take(self.cell), mask)


class PointerPolicy(Policy):
    """LSTM decoder with additive attention over static and dynamic embeddings.

    Args:
        encoder: embeds all V nodes, the depot too.
        embedding_dim: M, also the LSTM's size (paper: 128); must be the encoder's.
        glimpses: 1, the paper's network; or 0, the released code's default.
        dropout: on the LSTM's input, in training only (paper: 0.1).
        tanh_clipping: c > 0 turns each logit into c tanh(logit); 0 leaves it (paper: 0).
        scale_demand: divide demands and loads by the capacity (paper: no).
        init: `torch` or `glorot`, for everything but the encoder.

    Raises:
        ValueError: for a value out of range; names it and what is allowed.

    Source: Nazari et al. (2018), section 3 and figure 2.
    """

    starts_anywhere: bool = False
    sees_remaining: ClassVar[bool] = True
    keeps_kernels: ClassVar[bool] = False

    def __init__(
        self,
        encoder: Encoder,
        embedding_dim: int = 128,
        glimpses: int = 1,
        dropout: float = 0.0,
        tanh_clipping: float = 0.0,
        scale_demand: bool = True,
        init: str = "torch",
    ) -> None:
        super().__init__()
        if embedding_dim < 1:
            raise ValueError(f"embedding_dim is {embedding_dim}; it must be at least 1")
        if encoder.embedding_dim != embedding_dim:
            raise ValueError(
                f"the encoder's embedding_dim is {encoder.embedding_dim}, "
                f"the policy's {embedding_dim}; they must be equal"
            )
        if glimpses not in (0, 1):
            raise ValueError(f"glimpses is {glimpses}; allowed: 0, 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; it must be in [0, 1)")
        if tanh_clipping < 0:
            raise ValueError(f"tanh_clipping is {tanh_clipping}; it must not be negative")
        self.init = check_scheme(init)
        self.dropout = dropout
        self.tanh_clipping = tanh_clipping
        self.scale_demand = scale_demand
        self.encoder = encoder
        self.demand_embedding = nn.Linear(1, embedding_dim)
        self.load_embedding = nn.Linear(1, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, embedding_dim)
        self.query = nn.Linear(embedding_dim, embedding_dim, bias=False)
        self.pointer = NodeProjection(embedding_dim)
        self.pointer_vector = nn.Linear(embedding_dim, 1, bias=False)
        self.glimpse = NodeProjection(embedding_dim) if glimpses else None
        self.glimpse_vector = nn.Linear(embedding_dim, 1, bias=False) if glimpses else None
        self.values = NodeProjection(embedding_dim) if glimpses else None
        self._kernels = EAGER

    def settings(self) -> dict[str, object]:
        """As `Policy.settings`; dropout, which acts in training alone, is none."""
        return {"tanh_clipping": self.tanh_clipping, "scale_demand": self.scale_demand}

    def initialise(self, seed: int) -> None:
        """Set every parameter from `seed` and its name."""
        self.encoder.initialise(seed, "encoder.")
        for name, child in self.named_children():
            if child is not self.encoder:
                initialise_layers(child, self.init, seed, f"{name}.")

    def has_kernels(self, device: torch.device) -> bool:
        """On all."""
        return True

    def compile_kernels(self) -> None:
        """Fuse the inner loops with `torch.compile` from the next call on."""
        self._kernels = compiled_kernels()

    def is_compiled(self) -> bool:
        """Whether the kernels are."""
        return self._kernels.are_fused()

    def products(self, device: torch.device) -> torch.dtype:
        """As `Policy.products`: nothing is rounded."""
        return torch.float32

    def in_float32(self) -> PointerPolicy:
        """As `Policy.in_float32`: it is already."""
        return self

    def dropout_mask(
        self, num_instances: int, num_solutions: int, generator: torch.Generator
    ) -> Tensor | None:
        """(N, K, M) of 0 and 1 / (1 - dropout), on the CPU; None without dropout."""
        if not (self.training and self.dropout):
            return None
        shape = (num_instances, num_solutions, self.lstm.input_size)
        kept = torch.rand(shape, generator=generator) >= self.dropout
        return kept.float().div_(1 - self.dropout)

    def encode(self, instances: Instances) -> PointerEncoding:
        """Everything of the instances that no step changes, as `Policy.encode`."""
        check_parameters(self)
        nodes = self.encoder(instances.coordinates())
        scale = goods_scale(instances, self.scale_demand)
        demand = instances.node_demand() * scale[:, None]

        def project(part: NodeProjection, is_key: bool) -> Projection:
            return part(
                nodes,
                demand,
                self.demand_embedding,
                self.load_embedding,
                instances.split_delivery,
                is_key and self.scale_demand,
            )

        drops = self.training and self.dropout > 0
        return PointerEncoding(
            nodes=nodes,
            gates=None if drops else self._input_gates(nodes),
            scale=scale,
            pointer=project(self.pointer, True),
            glimpse=project(self.glimpse, True) if self.glimpse else None,
            values=project(self.values, False) if self.values else None,
        )

    def start(
        self, encoding: PointerEncoding, num_solutions: int, dropout_mask: Tensor | None = None
    ) -> LstmMemory:
        """The empty memory of K = `num_solutions` solutions per instance."""
        n, _, m = encoding.nodes.shape
        zeros = encoding.nodes.new_zeros(n, num_solutions, m)
        return LstmMemory(zeros, zeros, dropout_mask)

    def new_tape(
        self,
        encoding: PointerEncoding,
        num_solutions: int,
        most: int,
        old: LstmTape | None = None,
    ) -> LstmTape:
        """For the states of the LSTM at each step."""
        return []

    @torch.no_grad()
    def step(
        self,
        encoding: PointerEncoding,
        memory: LstmMemory,
        state: State,
        legal: Tensor,
        tape: LstmTape | None = None,
    ) -> tuple[Tensor, LstmMemory]:
        """Logits of the next node, as `Policy.step`; the tape holds the LSTM's states."""
        n, k = state.position.shape
        size = self.lstm.hidden_size
        table, rows = self._gate_rows(encoding, state.position, memory.dropout_mask)
        gates = table.index_select(0, rows)
        gates.addmm_(memory.hidden.reshape(n * k, size), self.lstm.weight_hh_l0.T)
        before = memory.cell.reshape(n * k, size)
        if tape is None:
            hidden, cell = self._kernels.lstm_step(gates, before)
        else:
            tape.append(self._kernels.lstm_step_saving(gates, before))
            hidden, cell = tape[-1][:2]
        hidden, cell = hidden.view(n, k, size), cell.view(n, k, size)
        remaining = state.remaining if encoding.pointer.per_demand is not None else None
        logits = self._logits(encoding, hidden, state.load, remaining, legal)
        return logits, LstmMemory(hidden, cell, memory.dropout_mask)

    def log_probs(
        self,
        encoding: PointerEncoding,
        instances: Instances,
        actions: Tensor,
        forced: int = 0,
        dropout_mask: Tensor | None = None,
        tape: LstmTape | None = None,
    ) -> Replay:
        """Log-probabilities of whole tours, as `Policy.log_probs`."""
        n, k, steps = actions.shape
        seen = seen_before_each_step(instances, actions)
        visited = seen.position.permute(2, 0, 1)  # (T, N, K)
        table, rows = self._gate_rows(encoding, visited, dropout_mask)
        hidden = lstm_sequence(
            self._kernels, table, rows.view(steps, n * k), self.lstm.weight_hh_l0, tape
        ).view(n, k * steps, -1)
        logits = self._logits(
            encoding,
            hidden,
            seen.load.view(n, k * steps),
            None if seen.remaining is None else seen.remaining.flatten(1, 2),
            seen.legal.view(n, k * steps, -1),
        )
        log_probs = logits.log_softmax(-1).view(n, k, steps, -1)
        counted = seen.open.clone()
        counted[..., :forced] = False
        chosen = log_probs.gather(-1, actions[..., None])[..., 0]
        entropy = -(log_probs.exp() * log_probs.masked_fill(~seen.legal, 0.0)).sum(-1)
        return Replay(chosen * counted, entropy * counted, counted)

    def replay_bytes(self, num_nodes: int) -> int:
        """As `Policy.replay_bytes`: the LSTM's states, and what belongs to each logit; measured."""
        return 64 * self.lstm.hidden_size + 15 * num_nodes

    def addable(self, encoding: PointerEncoding) -> Tensor:
        """(N, V, M) zeros that `with_added` takes."""
        return torch.zeros_like(encoding.pointer.nodes)

    def with_added(self, encoding: PointerEncoding, added: Tensor) -> PointerEncoding:
        """The encoding whose pointer keys have moved by `added`, with its gradient."""
        keys = encoding.pointer.nodes + added
        shared = None if encoding.pointer.shared is None else key_factors(keys)
        return replace(encoding, pointer=replace(encoding.pointer, nodes=keys, shared=shared))

    def _input_gates(self, inputs: Tensor) -> Tensor:
        bias = self.lstm.bias_ih_l0 + self.lstm.bias_hh_l0
        return linear(inputs, self.lstm.weight_ih_l0, bias)

    def _gate_rows(
        self, encoding: PointerEncoding, position: Tensor, dropout_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """A table (R, 4H) of shares in the gates, and its rows for (..., N, K) positions."""
        table = encoding.nodes if encoding.gates is None else encoding.gates
        n, v, width = table.shape
        rows = position + torch.arange(0, n * v, v, device=position.device)[:, None]
        table, rows = table.reshape(n * v, width), rows.reshape(-1)
        if encoding.gates is not None:
            return table, rows
        inputs = table.index_select(0, rows)
        if dropout_mask is not None:
            inputs = (inputs.view(*position.shape, width) * dropout_mask).view(-1, width)
        return self._input_gates(inputs), torch.arange(len(rows), device=rows.device)

    def _logits(
        self,
        encoding: PointerEncoding,
        hidden: Tensor,
        load: Tensor,
        remaining: Tensor | None,
        legal: Tensor,
    ) -> Tensor:
        """Masked logits (N, Q, V) for hidden (N, Q, H), load (N, Q), remaining (N, Q, V)."""
        load = (load * encoding.scale[:, None])[..., None]  # (N, Q, 1)
        demand = None if remaining is None else remaining * encoding.scale[:, None, None]
        query = self.query(hidden)
        if encoding.glimpse is not None:
            scores = self._scores(encoding.glimpse, self.glimpse_vector, query, load, demand)
            weights = scores.masked_fill(~legal, -torch.inf).softmax(-1)
            values = encoding.values
            query = torch.addcmul(weights @ values.nodes, load, values.per_load)
            if demand is not None:
                query = query + (weights * demand).sum(-1, keepdim=True) * values.per_demand
        scores = self._scores(encoding.pointer, self.pointer_vector, query, load, demand)
        if self.tanh_clipping:
            scores = self.tanh_clipping * scores.tanh()
        return scores.masked_fill(~legal, -torch.inf)

    def _scores(
        self,
        keys: Projection,
        vector: nn.Linear,
        query: Tensor,
        load: Tensor,
        demand: Tensor | None,
    ) -> Tensor:
        return additive_scores(
            self._kernels,
            keys.nodes,
            keys.shared,
            torch.addcmul(query, load, keys.per_load),
            vector.weight[0],
            demand,
            keys.per_demand,
        )
