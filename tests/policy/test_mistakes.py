"""The wrong encoders are wrong in just the way they say."""

from __future__ import annotations

import math

import pytest
import torch

from vrp.policy import encoders, mistakes
from vrp.policy.encoders import EmbeddingEncoder, LinearEncoder
from vrp.policy.mistakes import (
    BlindEncoder,
    FlattenedEncoder,
    ReshapedEncoder,
    Tf32Encoder,
    round_to_tf32,
)
from vrp.training.build import build, build_policy

SIZE = 8


def started(encoder):
    """The encoder with its parameters set from seed 0."""
    encoder.initialise(0, "encoder.")
    return encoder


def places(num_nodes: int = 6) -> torch.Tensor:
    """(4, num_nodes, 2) coordinates in the unit square."""
    return torch.rand(4, num_nodes, 2, generator=torch.Generator().manual_seed(1))


def jacobian(encoder, num_nodes: int = 6) -> torch.Tensor:
    """(V, V) of how strongly the embedding of each node reacts to each node's coordinates."""
    point = places(num_nodes)[:1]
    found = torch.autograd.functional.jacobian(encoder, point)  # (1, V, M, 1, V, 2)
    return found[0, :, :, 0].abs().amax((1, 3))


def test_blind_reads_nothing():
    """Every node has one embedding, wherever it is, from weights that begin as the right ones."""
    encoder = started(BlindEncoder(SIZE))
    assert torch.equal(encoder.layer.weight, started(LinearEncoder(SIZE)).layer.weight)
    assert not jacobian(encoder).any()
    assert torch.equal(encoder(places()), encoder.layer.bias.expand(4, 6, SIZE))


def test_reshaped_reads_the_wrong_nodes():
    """Places 0 to V / 2 - 1 hold x of two nodes, the others y of two nodes."""
    encoder = started(ReshapedEncoder(SIZE))
    assert torch.equal(encoder.layer.weight, started(LinearEncoder(SIZE)).layer.weight)
    reached = jacobian(encoder) > 0
    for place in range(6):
        assert set(reached[place].nonzero()[:, 0].tolist()) == {2 * place % 6, (2 * place + 1) % 6}
    point = places()
    pair = torch.stack((point[:, 2, 0], point[:, 3, 0]), -1)
    torch.testing.assert_close(encoder(point)[:, 1], encoder.layer(pair))


def test_flattened_reads_every_node():
    """Each embedding depends on all coordinates; in the right encoder on its own alone."""
    assert (jacobian(started(FlattenedEncoder(SIZE, 5))) > 0).all()
    assert torch.equal(jacobian(started(LinearEncoder(SIZE))) > 0, torch.eye(6, dtype=torch.bool))


def test_flattened_takes_one_size_only():
    """It says which when it is given another."""
    with pytest.raises(ValueError, match="made for 6 nodes, not 7"):
        FlattenedEncoder(SIZE, 5)(places(7))
    with pytest.raises(ValueError, match="num_customers is 0"):
        FlattenedEncoder(SIZE, 0)


@pytest.mark.parametrize(
    ("number", "rounded"),
    [
        (1.0, 1.0),
        (1 + 2**-10, 1 + 2**-10),
        (1 + 2**-11, 1.0),  # a tie goes to the even neighbour
        (1 + 3 * 2**-11, 1 + 2**-9),
        (1 + 2**-11 + 2**-20, 1 + 2**-10),
        (-(1 + 2**-12), -1.0),
        (0.0, 0.0),
        (2 - 2**-20, 2.0),
    ],
)
def test_rounding(number, rounded):
    """To 10 bits behind the point of the mantissa."""
    assert round_to_tf32(torch.tensor([number])).item() == rounded


def test_tf32_is_the_linear_encoder_but_for_rounding():
    """From one seed both have equal weights; outputs and gradients agree to 2^-10, not more."""
    exact, rounded = started(LinearEncoder(SIZE)), started(Tf32Encoder(SIZE))
    assert torch.equal(exact.layer.weight, rounded.layer.weight)
    results = []
    for encoder in (exact, rounded):
        coordinates = places().requires_grad_()
        output = encoder(coordinates)
        output.square().sum().backward()
        results.append((output, encoder.layer.weight.grad, coordinates.grad))
    for a, b in zip(*results, strict=True):
        difference = (a - b).abs().max() / a.abs().max()
        assert 1e-6 < difference < 4 * 2**-11


def test_a_matched_embedding_spreads_as_a_linear_encoder():
    """Over many units the spread of both is 0.53; by default the embedding's is 1.41."""
    coordinates = places(2000)
    wide = 4096
    linear = started(LinearEncoder(wide))(coordinates).std()
    assert linear.item() == pytest.approx(math.sqrt(5 / 18), rel=0.03)
    for tables in ("factorised", "joint"):
        matched = started(EmbeddingEncoder(wide, tables=tables, bins=32, init="matched"))
        assert matched(coordinates).std().item() == pytest.approx(linear.item(), rel=0.03)
    assert started(EmbeddingEncoder(wide))(coordinates).std().item() == pytest.approx(2**0.5, 0.03)


def test_only_where_asked_for():
    """A config can name a mistake; no other section and no other class is built from them."""
    target = "vrp.policy.mistakes.ReshapedEncoder"
    section = {"_target_": target, "embedding_dim": SIZE}
    policy = {"_target_": "vrp.policy.PointerPolicy", "embedding_dim": SIZE}
    made = build_policy({"encoder": section, "policy": policy})
    assert isinstance(made.encoder, ReshapedEncoder)
    with pytest.raises(ValueError, match="_target_ is"):
        build(section, encoders)
    with pytest.raises(ValueError, match="_target_ is"):
        build({"_target_": "vrp.policy.mistakes.nn", "embedding_dim": 1}, encoders, mistakes)
