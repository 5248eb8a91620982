"""Every encoder against the interface, and the three against each other."""

from __future__ import annotations

import importlib
import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from vrp.policy import PointerPolicy, encoders
from vrp.policy.encoders import Conv1dEncoder, EmbeddingEncoder, Encoder, LinearEncoder
from vrp.policy.encoders.conversion import (
    conv1d_from_linear,
    linear_from_conv1d,
    linear_on_one_hot,
)
from vrp.training.build import build

SIZE = 12
CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "encoder").glob("*.yaml"))
MODULES = sorted(path.stem for path in Path(encoders.__file__).parent.glob("[!_]*.py"))
every_config = pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
every_module = pytest.mark.parametrize("module", MODULES)
both_tables = pytest.mark.parametrize("tables", ["factorised", "joint"])


def configured(config: Path, **changes: object) -> Encoder:
    """The encoder of a config file, SIZE wide, its parameters set."""
    section = yaml.safe_load(config.read_text().replace("${embedding_dim}", str(SIZE)))
    encoder = build(section | changes, encoders)
    encoder.initialise(0, "encoder.")
    return encoder


def started(encoder: Encoder, seed: int = 0) -> Encoder:
    """The same encoder, its parameters set."""
    encoder.initialise(seed, "encoder.")
    return encoder


def places(num_instances: int = 5, num_nodes: int = 7) -> torch.Tensor:
    """(N, C, 2) coordinates in the unit square."""
    return torch.rand(num_instances, num_nodes, 2, generator=torch.Generator().manual_seed(0))


def classes_in(module: str) -> list[type[Encoder]]:
    """The encoders that a module of the folder defines."""
    found = importlib.import_module(f"vrp.policy.encoders.{module}")
    return [
        item
        for _, item in inspect.getmembers(found, inspect.isclass)
        if issubclass(item, Encoder) and item is not Encoder and item.__module__ == found.__name__
    ]


@every_module
def test_every_encoder_is_exported(module):
    """A class in the folder can be named in a config."""
    for encoder in classes_in(module):
        assert encoder.__name__ in encoders.__all__
        assert getattr(encoders, encoder.__name__) is encoder


@every_module
def test_every_encoder_has_a_config(module):
    """A class in the folder is the `_target_` of a file in configs/encoder."""
    named = {yaml.safe_load(config.read_text())["_target_"] for config in CONFIGS}
    for encoder in classes_in(module):
        assert f"vrp.policy.encoders.{encoder.__name__}" in named


@every_module
def test_working_encoders_are_final(module):
    """An encoder derives from the interface alone and leaves nothing of it open."""
    for encoder in classes_in(module):
        assert encoder.__bases__ == (Encoder,)
        assert not inspect.isabstract(encoder)


@every_config
def test_shape_and_type(config):
    """(N, C, 2) to (N, C, M) float32, one instance and one node included."""
    encoder = configured(config)
    assert encoder.embedding_dim == SIZE
    for n, c in [(5, 7), (1, 1), (3, 1)]:
        embedded = encoder(places(n, c))
        assert embedded.shape == (n, c, SIZE)
        assert embedded.dtype == torch.float32


@every_config
def test_follows_the_order_of_the_nodes(config):
    """Renumbered nodes have renumbered embeddings."""
    encoder, coordinates = configured(config), places()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(encoder(coordinates[:, order]), encoder(coordinates)[:, order])


@every_config
def test_each_node_by_itself(config):
    """A node's embedding depends on its own place alone."""
    encoder, coordinates = configured(config), places()
    torch.testing.assert_close(encoder(coordinates[2:3, 4:5]), encoder(coordinates)[2:3, 4:5])


@every_config
def test_whole_unit_square(config):
    """The corners of the square are places like any other."""
    corners = torch.tensor([[[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]])
    embedded = configured(config)(corners)
    assert embedded.isfinite().all()
    assert len(embedded[0].unique(dim=0)) == 4


@every_config
def test_learns(config):
    """A gradient reaches every parameter."""
    encoder = configured(config)
    encoder(places(50, 20)).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@every_config
def test_start_depends_on_seed_and_name(config):
    """Equal seeds start equal; another seed, or another name, starts differently."""
    one, two = configured(config), configured(config)
    for first, second in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(first, second)
    for seed, prefix in [(1, "encoder."), (0, "other.")]:
        two.initialise(seed, prefix)
        for first, second in zip(one.parameters(), two.parameters(), strict=True):
            assert not torch.equal(first, second)


@every_config
def test_start_leaves_the_global_stream(config):
    """Setting parameters draws nothing from PyTorch's global generator."""
    encoder = configured(config)
    before = torch.get_rng_state()
    encoder.initialise(3, "encoder.")
    assert torch.equal(torch.get_rng_state(), before)


@every_config
def test_evaluation_keeps_every_weight(config):
    """Outside training an encoder changes nothing that it holds."""
    encoder = configured(config).eval()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder(places())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


@every_config
def test_serves_the_policy(config):
    """The pointer policy takes it as it is: a finite logit for every legal node."""
    from vrp.problem import UniformGenerator
    from vrp.problem.environment import legal_mask, reset

    policy = PointerPolicy(configured(config), SIZE)
    policy.initialise(0)
    instances = UniformGenerator(4, 20)(3, torch.Generator().manual_seed(0))
    state, encoding = reset(instances, 2), policy.encode(instances).detach()
    legal = legal_mask(instances, state)
    logits, _ = policy.step(encoding, policy.start(encoding, 2), state, legal)
    assert torch.equal(logits.isfinite(), legal)


@pytest.mark.parametrize("init", ["torch", "glorot"])
def test_conv1d_and_linear_start_equal(init):
    """One seed gives both the same numbers, bit for bit."""
    conv1d, linear = (started(kind(SIZE, init)) for kind in (Conv1dEncoder, LinearEncoder))
    assert torch.equal(conv1d.layer.weight[:, :, 0], linear.layer.weight)
    assert torch.equal(conv1d.layer.bias, linear.layer.bias)


@pytest.mark.parametrize("init", ["torch", "glorot"])
def test_conv1d_to_linear(init):
    """Weights carried over exactly, and equal outputs."""
    conv1d = started(Conv1dEncoder(SIZE, init))
    linear = linear_from_conv1d(conv1d)
    assert linear.init == init
    assert torch.equal(linear.layer.weight, conv1d.layer.weight[:, :, 0])
    assert torch.equal(linear.layer.bias, conv1d.layer.bias)
    torch.testing.assert_close(linear(places()), conv1d(places()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("init", ["torch", "glorot"])
def test_linear_to_conv1d(init):
    """Weights carried over exactly, and equal outputs."""
    linear = started(LinearEncoder(SIZE, init))
    conv1d = conv1d_from_linear(linear)
    assert conv1d.init == init
    assert torch.equal(conv1d.layer.weight[:, :, 0], linear.layer.weight)
    assert torch.equal(conv1d.layer.bias, linear.layer.bias)
    torch.testing.assert_close(conv1d(places()), linear(places()), rtol=0, atol=1e-6)


def test_conversion_there_and_back():
    """Nothing is lost on the way, and the copy learns by itself."""
    conv1d = started(Conv1dEncoder(SIZE))
    back = conv1d_from_linear(linear_from_conv1d(conv1d))
    assert all(torch.equal(v, back.state_dict()[k]) for k, v in conv1d.state_dict().items())
    with torch.no_grad():
        back.layer.weight.zero_()
    assert conv1d.layer.weight.any()
    assert all(parameter.requires_grad for parameter in back.parameters())


def test_conv1d_is_the_affine_map():
    """A convolution of kernel 1 is the same affine map for every node."""
    conv1d = started(Conv1dEncoder(SIZE))
    by_hand = places() @ conv1d.layer.weight[:, :, 0].T + conv1d.layer.bias
    torch.testing.assert_close(conv1d(places()), by_hand, rtol=0, atol=1e-6)


def test_gradients_of_conv1d_and_linear_agree():
    """Equal weights learn alike."""
    conv1d = started(Conv1dEncoder(SIZE))
    linear = linear_from_conv1d(conv1d)
    for encoder in (conv1d, linear):
        encoder(places()).sin().sum().backward()
    torch.testing.assert_close(conv1d.layer.weight.grad[:, :, 0], linear.layer.weight.grad)
    torch.testing.assert_close(conv1d.layer.bias.grad, linear.layer.bias.grad)


@pytest.mark.parametrize("kind", [Conv1dEncoder, LinearEncoder])
@pytest.mark.parametrize(
    ("init", "bound"), [("torch", 1 / math.sqrt(2)), ("glorot", math.sqrt(6 / 130))]
)
def test_affine_bounds(kind, init, bound):
    """Two coordinates to 128: U(0.707) as PyTorch does, or U(0.215) and no bias as TensorFlow."""
    layer = started(kind(128, init)).layer
    assert 0.95 * bound < layer.weight.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.15)
    if init == "torch":
        assert 0.9 * bound < layer.bias.abs().max() <= bound
    else:
        assert not layer.bias.any()


@both_tables
def test_table_bounds(tables):
    """Standard normal as PyTorch does, or uniform by rows and columns."""
    normal = started(EmbeddingEncoder(32, bins=16, tables=tables)).table.weight
    assert normal.mean().item() == pytest.approx(0, abs=0.1)
    assert normal.std().item() == pytest.approx(1, abs=0.1)
    glorot = started(EmbeddingEncoder(32, bins=16, tables=tables, init="glorot")).table.weight
    bound = math.sqrt(6 / sum(glorot.shape))
    assert 0.95 * bound < glorot.abs().max() <= bound


@pytest.mark.parametrize(
    "make",
    [
        lambda: Conv1dEncoder(4, "xavier"),
        lambda: LinearEncoder(4, "xavier"),
        lambda: EmbeddingEncoder(4, init="xavier"),
    ],
)
def test_unknown_start(make):
    """An unknown scheme is named, with those there are."""
    with pytest.raises(ValueError, match="'xavier'; allowed: torch, glorot"):
        make()


@both_tables
def test_embedding_is_linear_on_the_code(tables):
    """A bias-free layer on the one-hot code computes the embedding."""
    encoder = started(EmbeddingEncoder(SIZE, bins=5, tables=tables))
    code = encoder.one_hot(places())
    ones = 2 if tables == "factorised" else 1
    assert code.unique().tolist() == [0, 1]
    assert (code.sum(-1) == ones).all()
    torch.testing.assert_close(linear_on_one_hot(encoder)(code), encoder(places()))


@both_tables
def test_embedding_and_linear_learn_alike(tables):
    """The table's gradient is that of the layer on the one-hot code."""
    encoder = started(EmbeddingEncoder(SIZE, bins=3, tables=tables))
    layer = linear_on_one_hot(encoder)
    encoder(places()).sin().sum().backward()
    layer(encoder.one_hot(places())).sin().sum().backward()
    torch.testing.assert_close(encoder.table.weight.grad, layer.weight.grad.T)


@both_tables
def test_neighbours_in_a_cell(tables):
    """Places of one cell have one embedding, places of two cells have two."""
    encoder = started(EmbeddingEncoder(SIZE, bins=4, tables=tables))
    here, same_cell, next_cell = encoder(
        torch.tensor([[[0.26, 0.74], [0.49, 0.51], [0.49, 0.76]]])
    )[0]
    assert torch.equal(here, same_cell)
    assert not torch.equal(here, next_cell)


@both_tables
def test_axes_are_told_apart(tables):
    """A place and its mirror image have different embeddings."""
    encoder = started(EmbeddingEncoder(SIZE, bins=4, tables=tables))
    one, two = encoder(torch.tensor([[[0.1, 0.9], [0.9, 0.1]]]))[0]
    assert not torch.equal(one, two)


@both_tables
@pytest.mark.parametrize("bins", [1, 3, 7, 64, 1000])
def test_border_is_in_the_last_cell(tables, bins):
    """A coordinate of exactly 1 lies with those just below it; 0 in the first cell."""
    encoder = EmbeddingEncoder(2, bins=bins, tables=tables)
    below = float(np.nextafter(np.float32(1), np.float32(0)))
    cells = encoder.cells(torch.tensor([[[1.0, 1.0], [below, below], [0.0, 0.0]]]))[0]
    assert torch.equal(cells[0], cells[1])
    last = [bins - 1, 2 * bins - 1] if tables == "factorised" else [bins * bins - 1]
    assert cells[0].tolist() == last
    assert cells[2].tolist() == ([0, bins] if tables == "factorised" else [0])


@both_tables
def test_max_norm_in_training(tables):
    """Rows that are looked up are cut to the norm in place, the others stay."""
    encoder = started(EmbeddingEncoder(SIZE, bins=8, tables=tables, max_norm=0.5)).train()
    before = encoder.table.weight.detach().clone()
    coordinates = places(1, 3)
    seen = encoder.cells(coordinates).unique()
    encoder(coordinates)
    norms = encoder.table.weight.norm(dim=-1)
    torch.testing.assert_close(norms[seen], torch.full_like(norms[seen], 0.5), rtol=1e-3, atol=0)
    others = torch.ones(len(before), dtype=torch.bool)
    others[seen] = False
    assert torch.equal(encoder.table.weight[others], before[others])


@both_tables
@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_max_norm_in_evaluation(tables, max_norm):
    """The same embedding as in training, and the table untouched."""
    encoder = started(EmbeddingEncoder(SIZE, bins=4, tables=tables, max_norm=max_norm)).eval()
    before = encoder.table.weight.detach().clone()
    evaluated = encoder(places())
    assert torch.equal(encoder.table.weight, before)
    torch.testing.assert_close(evaluated, encoder.train()(places()), rtol=1e-4, atol=1e-5)


@both_tables
def test_scaled_by_frequency(tables):
    """A row's gradient is divided by how often the row was looked up, as in `nn.Embedding`."""
    arguments = {"bins": 2, "tables": tables}
    encoder = started(EmbeddingEncoder(SIZE, scale_grad_by_freq=True, **arguments))
    plain = started(EmbeddingEncoder(SIZE, **arguments))
    theirs = torch.nn.Embedding(*encoder.table.weight.shape, scale_grad_by_freq=True)
    theirs.weight.data.copy_(encoder.table.weight.data)
    encoder(places()).sin().sum().backward()
    plain(places()).sin().sum().backward()
    theirs(encoder.cells(places())).sum(-2).sin().sum().backward()
    torch.testing.assert_close(encoder.table.weight.grad, theirs.weight.grad)
    count = torch.bincount(encoder.cells(places()).flatten(), minlength=len(theirs.weight))
    torch.testing.assert_close(encoder.table.weight.grad * count[:, None], plain.table.weight.grad)


@both_tables
def test_from_pretrained(tables):
    """Given rows are the table, frozen unless asked otherwise."""
    rows = torch.randn(16, 3)
    frozen = EmbeddingEncoder.from_pretrained(rows, tables)
    assert torch.equal(frozen.table.weight, rows)
    assert frozen.bins == (8 if tables == "factorised" else 4)
    assert frozen.embedding_dim == 3
    assert not frozen.table.weight.requires_grad
    assert EmbeddingEncoder.from_pretrained(rows, tables, freeze=False).table.weight.requires_grad


@pytest.mark.parametrize(("tables", "rows"), [("factorised", 15), ("joint", 15)])
def test_from_pretrained_of_wrong_size(tables, rows):
    """Rows that make no such table are refused with their number."""
    with pytest.raises(ValueError, match="not 15"):
        EmbeddingEncoder.from_pretrained(torch.zeros(rows, 3), tables)


@both_tables
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pretrained_file(tables, dtype, tmp_path):
    """Training starts from the rows of a .npy file, and they learn unless frozen."""
    encoder = EmbeddingEncoder(3, bins=2, tables=tables, pretrained=str(tmp_path / "table.npy"))
    rows = np.arange(12).reshape(4, 3).astype(dtype)
    np.save(tmp_path / "table.npy", rows)
    encoder.initialise(0, "encoder.")
    assert encoder.table.weight.tolist() == rows.tolist()
    assert encoder.table.weight.requires_grad


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (np.zeros((5, 3)), r"\(5, 3\).*\(4, 3\)"),  # another number of rows
        (np.zeros((4, 2)), r"\(4, 2\).*\(4, 3\)"),  # another width
        (np.zeros(12), r"\(12,\).*\(4, 3\)"),  # another rank
        (np.array([{"a": 1}], dtype=object), "table.npy"),  # would need unpickling
        (None, "table.npy"),  # no file
    ],
)
def test_pretrained_file_that_does_not_fit(content, said, tmp_path):
    """The file is named, with its shape and the shape that is needed."""
    if content is not None:
        np.save(tmp_path / "table.npy", content)
    encoder = EmbeddingEncoder(3, bins=2, pretrained=str(tmp_path / "table.npy"))
    with pytest.raises(ValueError, match=said):
        encoder.initialise(0, "encoder.")


def test_frozen_table_learns_nothing():
    """No gradient reaches a frozen table."""
    encoder = started(EmbeddingEncoder(SIZE, bins=4, freeze=True)).train()
    assert not encoder(places()).requires_grad


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"bins": 0}, "bins is 0"),
        ({"tables": "both"}, "'both'; allowed: factorised, joint"),
        ({"max_norm": 0.0}, "max_norm is 0"),
        ({"max_norm": -1.0}, "max_norm is -1"),
    ],
)
def test_refused_embedding(arguments, said):
    """A setting out of range is named with its value."""
    with pytest.raises(ValueError, match=said):
        EmbeddingEncoder(4, **arguments)


@both_tables
def test_from_pretrained_in_a_policy(tables):
    """Setting the policy's parameters keeps the rows that were given."""
    rows = torch.randn(16, 4)
    encoder = EmbeddingEncoder.from_pretrained(rows, tables)
    PointerPolicy(encoder, 4).initialise(0)
    assert torch.equal(encoder.table.weight, rows)


def test_frozen_table_stays():
    """A frozen table gets no gradient, and no norm is cut in it."""
    encoder = started(EmbeddingEncoder(SIZE, bins=4, freeze=True, max_norm=0.5)).train()
    before = encoder.table.weight.clone()
    assert not encoder(places()).requires_grad
    assert torch.equal(encoder.table.weight, before)


@pytest.mark.parametrize(
    "content", [np.array([["a", "b", "c"]] * 4), np.full((4, 3), np.nan)], ids=["text", "nan"]
)
def test_pretrained_file_without_numbers(content, tmp_path):
    """A table that holds no finite numbers is refused by name."""
    np.save(tmp_path / "table.npy", content)
    encoder = EmbeddingEncoder(3, bins=2, pretrained=str(tmp_path / "table.npy"))
    with pytest.raises(ValueError, match=r"table\.npy"):
        encoder.initialise(0, "encoder.")
