"""nn.Embedding: what it is, and what its options do."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vrp.policy.encoders import EmbeddingEncoder
from vrp.policy.encoders.conversion import linear_on_one_hot
from vrp.study.facts.record import Budget, Check, Fact, error_of, verdict


def _table(rows: int = 6, width: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2 + torch.rand(rows, width, generator=generator)  # norms from 4 to 6


def one_hot(_: Budget, perturbation: float = 0.0) -> Fact:
    """Our encoder against a bias-free Linear on its one-hot code, both kinds of tables."""
    points = torch.rand(64, 11, 2, generator=torch.Generator().manual_seed(0))
    apart, learned, cases = 0.0, 0.0, []
    for bins, tables in ((64, "factorised"), (16, "joint")):
        encoder = EmbeddingEncoder(128, bins=bins, tables=tables)
        encoder.initialise(0, "encoder.")
        encoder.double()
        linear = linear_on_one_hot(encoder).double()
        linear.weight.data[:, encoder.cells(points)[0, 0, 0]] += perturbation
        made, wanted = linear(encoder.one_hot(points).double()), encoder(points)
        made.square().sum().backward()
        wanted.square().sum().backward()
        gradient, for_table = linear.weight.grad.T, encoder.table.weight.grad
        apart = max(apart, (made - wanted).abs().max().item())
        learned = max(learned, ((gradient - for_table).norm() / for_table.norm()).item())
        cases.append(apart < 1e-12 and learned < 1e-12)
    return Fact(
        name="one-hot equality",
        claim="Whatever an Embedding computes, a Linear without bias computes on the one-hot "
        "code, and learns the same.",
        verdict=verdict(*cases),
        figure=f"in float64, over 64 + 64 rows and 16 x 16 rows: largest difference {apart:.1e}, "
        f"of the gradients {learned:.1e} of their length",
        why="A row of ones and zeros times the table picks rows: the lookup only saves the "
        "products with zero.",
    )


def out_of_range(_: Budget, indices: tuple[float, ...] = (4, -1, 0.5)) -> Fact:
    """A table of four rows asked for others."""
    layer = nn.Embedding(4, 2)
    errors = {
        index: error_of(lambda index=index: layer(torch.tensor([index]))) for index in indices
    }
    return Fact(
        name="Embedding out of range",
        claim="An Embedding refuses what is no row number, raw coordinates included.",
        verdict=verdict(*map(bool, errors.values())),
        figure="four rows, asked for "
        + "; ".join(f"{index}: {error or 'taken'}" for index, error in errors.items()),
        why="Row numbers are whole and from 0 to rows - 1; negative ones do not count from the "
        "end. On a GPU the error is an assertion that ends the process.",
    )


def padding_idx(_: Budget) -> Fact:
    """The row's start, its gradient, and what a hand-set table does to it."""
    layer = nn.Embedding(6, 4, padding_idx=1)
    starts = not layer.weight[1].any()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    layer(torch.tensor([0, 1, 1])).sum().backward()
    optimizer.step()
    learns = bool(layer.weight.grad[1].any())
    stays = not layer.weight[1].any()
    given = nn.Embedding.from_pretrained(_table(), padding_idx=1)
    filled = bool(given(torch.tensor([1])).any())
    return Fact(
        name="padding_idx",
        claim="The row at padding_idx gives zeros, whatever happens.",
        verdict=verdict(starts, stays, not filled),
        figure=f"starts at zero: {starts}; gets a gradient: {learns}; zero after a step: {stays}; "
        f"zero in a given table: {not filled}",
        why="It is zeroed when the layer is made and gets no gradient. A table set later, or "
        "given, is taken as it is.",
    )


def _looked_up(max_norm: float, norm_type: float, training: bool) -> tuple[Tensor, Tensor]:
    """A table before and after rows 0 and 2 were asked for without gradient."""
    layer = nn.Embedding(6, 4, max_norm=max_norm, norm_type=norm_type).train(training)
    with torch.no_grad():
        layer.weight.copy_(_table())
        layer(torch.tensor([0, 2]))
    return _table(), layer.weight.detach()


def max_norm(_: Budget, limit: float = 1.0) -> Fact:
    """Whether the stored table survives a lookup, in training and in evaluation."""
    kept = []
    for training in (True, False):
        before, after = _looked_up(limit, 2.0, training)
        kept.append(torch.equal(before, after))
    encoder = EmbeddingEncoder(4, bins=3, max_norm=limit).eval()
    with torch.no_grad():
        encoder.table.weight.copy_(_table())
        encoder(torch.rand(2, 5, 2))
    ours = torch.equal(encoder.table.weight, _table())
    norms = after.norm(dim=1)
    return Fact(
        name="max_norm",
        claim="max_norm shortens what is handed out and leaves the table alone.",
        verdict=verdict(*kept),
        figure=f"limit {limit:g}, rows 0 and 2 asked for: norms become "
        f"{', '.join(f'{norm:.2f}' for norm in norms.tolist())}; table kept in training: "
        f"{kept[0]}, in evaluation: {kept[1]} (our encoder: {ours})",
        why="The rows that are looked up are rescaled in place, in evaluation and without "
        "gradient too. Ours caps a copy outside training.",
    )


def norm_type(_: Budget, kinds: tuple[float, ...] = (1.0, 2.0, float("inf"))) -> Fact:
    """Which norm max_norm limits."""
    cases, notes = [], []
    for kind in kinds:
        _before, after = _looked_up(1.0, kind, True)
        row = after[0]
        length, own = row.norm().item(), row.norm(kind).item()
        cases.append(abs(length - 1) < 1e-4)
        notes.append(f"{kind:g}: {own:.3f} (length {length:.3f})")
    return Fact(
        name="norm_type",
        claim="max_norm limits the Euclidean length.",
        verdict=verdict(*cases),
        figure="at limit 1 the norm of type " + "; ".join(notes),
        why="norm_type chooses the norm; 2 is its default.",
    )


def scale_grad_by_freq(_: Budget, scaled: bool = True) -> Fact:
    """The gradients of rows that are looked up once and three times."""
    layer = nn.Embedding(6, 4, scale_grad_by_freq=scaled)
    layer(torch.tensor([0, 2, 2, 2])).sum().backward()
    once, thrice = layer.weight.grad[0, 0].item(), layer.weight.grad[2, 0].item()
    return Fact(
        name="scale_grad_by_freq",
        claim="scale_grad_by_freq divides a row's gradient by how often the batch asks for it.",
        verdict=verdict(once == 1, thrice == 1),
        figure=f"asked for once: {once:g}; three times: {thrice:g}",
        why="The sum over the batch becomes a mean over the row's own uses.",
    )


def from_pretrained(_: Budget) -> Fact:
    """Whether the table learns, as given and with freeze=False; ours the same."""
    learns = {}
    for name, layer in {
        "as it comes": nn.Embedding.from_pretrained(_table()),
        "freeze=False": nn.Embedding.from_pretrained(_table(), freeze=False),
        "our encoder as it comes": EmbeddingEncoder.from_pretrained(_table()).table,
    }.items():
        layer.weight.grad = None
        made = layer(torch.tensor([0, 1])).sum()
        if made.requires_grad:
            made.backward()
        learns[name] = layer.weight.grad is not None
    return Fact(
        name="from_pretrained",
        claim="A table given to from_pretrained goes on learning.",
        verdict=verdict(*learns.values()),
        figure="; ".join(f"{name}: {found}" for name, found in learns.items()),
        why="It is frozen unless asked otherwise.",
    )


def hand_set(_: Budget) -> Fact:
    """Three ways to give an Embedding its table."""

    def assign(layer: nn.Embedding, value: Tensor) -> None:
        layer.weight = value

    def copy(layer: nn.Embedding, value: Tensor) -> None:
        with torch.no_grad():
            layer.weight.copy_(value)

    ways = {
        "a tensor assigned": lambda layer: assign(layer, _table()),
        "a Parameter assigned": lambda layer: assign(layer, nn.Parameter(_table())),
        "copied in without gradient": lambda layer: copy(layer, _table()),
    }
    works = {}
    for name, way in ways.items():
        layer = nn.Embedding(6, 4)
        error = error_of(lambda way=way, layer=layer: way(layer))
        works[name] = error or torch.equal(layer(torch.arange(6)), _table())
    return Fact(
        name="Embedding by hand",
        claim="An Embedding's table can be set by hand.",
        verdict=verdict(*(found is True for found in works.values())),
        figure="; ".join(
            f"{name}: {'works' if found is True else found}" for name, found in works.items()
        ),
        why="As with Linear, a Parameter's place takes a Parameter, or numbers copied into it.",
    )


FACTS: dict[str, Check] = {
    "one-hot equality": one_hot,
    "Embedding out of range": out_of_range,
    "padding_idx": padding_idx,
    "max_norm": max_norm,
    "norm_type": norm_type,
    "scale_grad_by_freq": scale_grad_by_freq,
    "from_pretrained": from_pretrained,
    "Embedding by hand": hand_set,
}
