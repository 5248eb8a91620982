"""The attention model of Kool et al. (2019), with the changes of POMO (Kwon et al. 2020).

    x_0 = depot_encoder(depot),  x_i = encoder(customer i) + demand_i w         (C + 1 nodes)
    h   = transformer(x)
    q   = W_query [h_last; load] (+ W_graph mean_i h_i)
    g   = W_combine multi_head_attention(q; keys h, values h; legal nodes)
    logit_i = c tanh(g . pointer_key(h_i) / sqrt(M))

`glimpse` says how the last three lines are computed.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from vrp.policy.base import Encoding, Policy, Replay
from vrp.policy.blocks import BlockLinear
from vrp.policy.choice import Choice
from vrp.policy.encoders import Encoder
from vrp.policy.features import goods_scale
from vrp.policy.glimpse import (
    GlimpseTape,
    Tables,
    glimpse_logits,
    make_factors,
)
from vrp.policy.glimpse_replay import replay_tours
from vrp.policy.initialisation import check_scheme, initialise_layers
from vrp.policy.native import glimpse as native
from vrp.policy.native.library import NotBuilt, library
from vrp.policy.precision import check_parameters, product_dtype
from vrp.policy.trunk import Trunk, TrunkShape
from vrp.problem.environment import State
from vrp.problem.instances import Instances


@dataclass(frozen=True)
class AttentionEncoding(Encoding):
    """As `Encoding`, its nodes the trunk's output, and the decoder.

    Attributes:
        values: (N, H, V, D) of the glimpse's heads, M = H D.
        pointer_keys: (N, V, M).
        tables: the decoder.
    """

    values: Tensor
    pointer_keys: Tensor
    tables: Tables


@dataclass(frozen=True)
class StepCount:
    """All that this decoder remembers; the rest it reads from the vehicle's state.

    Attributes:
        taken: steps so far.
    """

    taken: int

    def select(self, index: Tensor) -> StepCount:
        """Itself: all solutions are at the same step."""
        return self


class AttentionPolicy(Policy):
    """Transformer trunk, multi-head glimpse, single-head pointer.

    With `encoder=linear`, `normalization=batch`, `graph_context=true`, `combine_bias=false` and
    `pointer_projection=true` its parameters are those of Kool et al.; with `instance`, false,
    true and false those of POMO; with `batch`, true, true and false those of POMO's notebooks, the
    code of its paper. Where deliveries may be split, it sees the demands at the start; what is left
    of them it sees through the mask alone.

    Weights start as those of the papers' layers do in PyTorch, the encoders' excepted: an encoder
    starts as it does under every other policy, with a fan-in of 2 where the papers' layer, which
    reads the demand too, has 3. The code of Kool et al. draws the trunk's queries, keys and values
    by another rule, the bound being 1 over the square root of a head's size.

    Args:
        encoder: embeds the customers' coordinates; the depot gets a copy with weights of its own.
        embedding_dim: M (papers: 128); must be the encoder's.
        num_layers: of the trunk (Kool et al.: 3; POMO: 6).
        num_heads: of trunk and glimpse (papers: 8); must divide M.
        feed_forward_dim: of the trunk (papers: 512).
        normalization: `instance` (POMO), `batch` (Kool et al.), or `rms`.
        graph_context: add the projected mean of all nodes to the query (Kool et al.; POMO's
            notebooks).
        combine_bias: whether the maps behind the heads have a bias (POMO).
        pointer_projection: project the pointer's keys (Kool et al.); else they are the nodes.
        tanh_clipping: c > 0 turns each logit into c tanh(logit); 0 leaves it (papers: 10).
        precision: of the large products in trunk and decoder: `float32`, `bfloat16`, or `auto`,
            which is bfloat16 where the hardware multiplies it.
        init: `torch` or `glorot`, for everything but the encoders.

    Raises:
        ValueError: for a value out of range; names it and what is allowed.

    Source: Kool et al. (2019), section 3 and appendix C.1; Kwon et al. (2020), section 5.
    """

    starts_anywhere: bool = True
    sees_remaining: ClassVar[bool] = False
    keeps_kernels: ClassVar[bool] = True

    def __init__(
        self,
        encoder: Encoder,
        embedding_dim: int = 128,
        num_layers: int = 6,
        num_heads: int = 8,
        feed_forward_dim: int = 512,
        normalization: str = "instance",
        graph_context: bool = False,
        combine_bias: bool = True,
        pointer_projection: bool = False,
        tanh_clipping: float = 10.0,
        precision: str = "float32",
        init: str = "torch",
    ) -> None:
        super().__init__()
        if encoder.embedding_dim != embedding_dim:
            raise ValueError(
                f"the encoder's embedding_dim is {encoder.embedding_dim}, "
                f"the policy's {embedding_dim}; they must be equal"
            )
        if tanh_clipping < 0:
            raise ValueError(f"tanh_clipping is {tanh_clipping}; it must not be negative")
        self._is_native = False
        self.init = check_scheme(init)
        self.num_heads = num_heads
        self.tanh_clipping = float(tanh_clipping)
        self.precision = precision
        self.encoder = encoder
        self.depot_encoder = copy.deepcopy(encoder)
        # Coordinates and demand are the three inputs of one layer in the papers.
        self.demand = BlockLinear(1, embedding_dim, fan_in=3, fan_out=embedding_dim)
        self.trunk = Trunk(
            TrunkShape(
                num_layers=num_layers,
                embedding_dim=embedding_dim,
                num_heads=num_heads,
                feed_forward_dim=feed_forward_dim,
                normalization=normalization,
                combine_bias=combine_bias,
                precision=precision,
            )
        )
        # Last node and load are the M + 1 inputs of one layer in the papers.
        context = {"fan_in": embedding_dim + 1, "fan_out": embedding_dim}
        self.query = BlockLinear(embedding_dim, embedding_dim, **context)
        self.load = BlockLinear(1, embedding_dim, **context)
        self.graph = nn.Linear(embedding_dim, embedding_dim, bias=False) if graph_context else None
        self.keys_values = BlockLinear(
            embedding_dim, 2 * embedding_dim, fan_in=embedding_dim, fan_out=embedding_dim
        )
        self.combine = nn.Linear(embedding_dim, embedding_dim, bias=combine_bias)
        self.pointer = (
            nn.Linear(embedding_dim, embedding_dim, bias=False) if pointer_projection else None
        )

    def settings(self) -> dict[str, object]:
        """As `Policy.settings`; rounding, which the hardware may decide, is none."""
        return {"num_heads": self.num_heads, "tanh_clipping": self.tanh_clipping}

    def initialise(self, seed: int) -> None:
        """Set every parameter from `seed` and its name."""
        self.encoder.initialise(seed, "encoder.")
        self.depot_encoder.initialise(seed, "depot_encoder.")
        for name, child in self.named_children():
            if child is not self.encoder and child is not self.depot_encoder:
                initialise_layers(child, self.init, seed, f"{name}.")

    def has_kernels(self, device: torch.device) -> bool:
        """On a CPU."""
        return device.type == "cpu"

    def compile_kernels(self) -> None:
        """Let C++ play and replay whole tours from now on, where instances are on a CPU.

        What `torch.compile` makes of the loops in PyTorch is hardly faster than they are.
        """
        try:
            library("glimpse")
            library("trunk")
        except NotBuilt as error:
            warnings.warn(f"not compiled: {error}; it runs without", stacklevel=2)
        else:
            self._is_native = True
            for layer in self.trunk:
                layer.is_native = True

    def is_compiled(self) -> bool:
        """Whether there are such loops; they are used where the instances fit them."""
        return self._is_native

    def products(self, device: torch.device) -> torch.dtype:
        """As `precision` says, in the trunk and in the decoder."""
        return product_dtype(self.precision, device)

    def in_float32(self) -> AttentionPolicy:
        """As `Policy.in_float32`: a copy whose products are not rounded."""
        exact = copy.deepcopy(self)
        for part in (exact, *exact.trunk):
            part.precision = "float32"
        return exact

    def dropout_mask(
        self, num_instances: int, num_solutions: int, generator: torch.Generator
    ) -> None:
        """None: this policy has no dropout."""
        return None

    def embed(self, coordinates: Tensor) -> Tensor:
        """As `Policy.embed`, the depot by an encoder of its own."""
        depot, customers = coordinates[:, :1], coordinates[:, 1:]
        return torch.cat([self.depot_encoder(depot), self.encoder(customers)], 1)

    def encode(self, instances: Instances) -> AttentionEncoding:
        """Everything of the instances that no step changes, as `Policy.encode`."""
        check_parameters(self)
        scale = goods_scale(instances, True)
        demand = (instances.node_demand() * scale[:, None])[..., None]  # (N, V, 1)
        embedded = self.embed(instances.coordinates())
        nodes = self.trunk(torch.addcmul(embedded, demand, self.demand.weight[:, 0]))
        keys, values = self._heads(self.keys_values(nodes), 2)
        query = self.query(nodes)
        if self.graph is not None:
            query = query + self.graph(nodes.mean(1, keepdim=True))
        (query,) = self._heads(query, 1)
        keys = keys * keys.shape[-1] ** -0.5
        scores = (query @ keys.transpose(2, 3)).transpose(1, 2)  # (N, V, H, V)
        per_load = (keys @ self.load.weight.view(self.num_heads, -1, 1)).squeeze(-1)  # (N, H, V)
        pointer_keys = nodes if self.pointer is None else self.pointer(nodes)
        outputs, bias = self._outputs(values, pointer_keys)
        dtype, most_load = self.products(scores.device), _most_load(instances)
        is_native = self._is_native and native.fits(instances, most_load, dtype)
        make = native.make_factors if is_native else make_factors
        factors = make(scores, per_load, outputs, scale, most_load, dtype)
        if torch.is_grad_enabled():
            scores, per_load = scores.flatten(2), per_load.flatten(1)
        else:  # only their gradient would ask for them
            scores = per_load = outputs = None
        return AttentionEncoding(
            nodes=nodes,
            scale=scale,
            values=values,
            pointer_keys=pointer_keys,
            tables=Tables(
                scores=scores,
                per_load=per_load,
                outputs=outputs,
                bias=bias,
                scale=scale,
                clipping=self.tanh_clipping,
                factors=factors,
                is_native=is_native,
            ),
        )

    def start(
        self,
        encoding: AttentionEncoding,
        num_solutions: int,
        dropout_mask: Tensor | None = None,
    ) -> StepCount:
        """No step taken."""
        return StepCount(0)

    def new_tape(
        self,
        encoding: AttentionEncoding,
        num_solutions: int,
        most: int,
        old: object = None,
    ) -> GlimpseTape | native.StepTape | None:
        """What `log_probs` would compute anew; None where the weights would take too much memory.

        In C++ it holds no weights, and is what the replay takes anyway.
        """
        if encoding.tables.is_native:
            return native.StepTape.make(encoding.tables, num_solutions, most, old)
        return GlimpseTape.make(encoding.tables, num_solutions, most, old)

    @torch.no_grad()
    def step(
        self,
        encoding: AttentionEncoding,
        memory: StepCount,
        state: State,
        legal: Tensor,
        tape: GlimpseTape | None = None,
    ) -> tuple[Tensor, StepCount]:
        """Logits of the next node, as `Policy.step`."""
        logits = glimpse_logits(
            encoding.tables, state.position, state.load, legal, tape, memory.taken
        )
        return logits, StepCount(memory.taken + 1)

    def play(
        self,
        encoding: AttentionEncoding,
        instances: Instances,
        state: State,
        most: int,
        choice: Choice,
        first: Tensor | None = None,
        tape: native.StepTape | None = None,
    ) -> Tensor | None:
        """As `Policy.play`, where the kernels are compiled and made for such instances."""
        if not encoding.tables.is_native:
            return None
        return native.play(encoding.tables, instances, state, most, choice, first, tape)

    def log_probs(
        self,
        encoding: AttentionEncoding,
        instances: Instances,
        actions: Tensor,
        forced: int = 0,
        dropout_mask: Tensor | None = None,
        tape: GlimpseTape | native.StepTape | None = None,
    ) -> Replay:
        """Log-probabilities of whole tours, as `Policy.log_probs`."""
        replay = native.replay_tours if encoding.tables.is_native else replay_tours
        log_prob, entropy, counted = replay(encoding.tables, instances, actions, tape)
        counted[:, :forced] = False  # (N, T, K), as all three
        return Replay(
            log_prob=(log_prob * counted).transpose(1, 2),
            entropy=(entropy * counted).transpose(1, 2),
            counted=counted.transpose(1, 2),
        )

    def replay_bytes(self, num_nodes: int) -> int:
        """As `Policy.replay_bytes`: what belongs to each logit, 4 to 6 bytes as measured."""
        return 6 * num_nodes

    def addable(self, encoding: AttentionEncoding) -> Tensor:
        """(N, V, M) zeros that `with_added` takes."""
        return torch.zeros_like(encoding.pointer_keys)

    def with_added(self, encoding: AttentionEncoding, added: Tensor) -> AttentionEncoding:
        """The encoding whose pointer keys have moved by `added`, with its gradient."""
        keys = encoding.pointer_keys + added
        outputs, bias = self._outputs(encoding.values, keys)
        before = encoding.tables
        factors = replace(before.factors, outputs=outputs.detach().to(before.factors.outputs.dtype))
        tables = replace(before, outputs=outputs, bias=bias, factors=factors)
        return replace(encoding, pointer_keys=keys, tables=tables)

    def _heads(self, projected: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(N, V, parts M) to `parts` tensors (N, H, V, D)."""
        return projected.unflatten(2, (parts, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def _outputs(self, values: Tensor, pointer_keys: Tensor) -> tuple[Tensor, Tensor]:
        """The tables (N, H V, V) and (N, V) behind the softmax of the glimpse."""
        scaled = pointer_keys * pointer_keys.shape[-1] ** -0.5
        (folded,) = self._heads(linear(scaled, self.combine.weight.T), 1)
        outputs = (values @ folded.transpose(2, 3)).flatten(1, 2)
        if self.combine.bias is None:
            return outputs, scaled.new_zeros(scaled.shape[:2])
        return outputs, scaled @ self.combine.bias


def _most_load(instances: Instances) -> int | None:
    """The largest capacity; None without any, or on a GPU, which would have to be waited for."""
    if instances.device.type != "cpu" or not len(instances):
        return None
    return int(instances.capacity.max())
