"""Published weights, read and renamed."""

from __future__ import annotations

import importlib
import io
import pickle
import re
import sys
import tarfile
import warnings

import pytest
import torch
from published_networks import (
    kool_logits,
    kool_state,
    notebook_logits,
    notebook_state,
    pomo_logits,
    pomo_state,
)
from situations import uniform
from test_attention import HEADS, SIZE, make_policy, step_through
from textbook import random_play

from vrp.policy import AttentionPolicy
from vrp.policy.encoders import LinearEncoder
from vrp.policy.foreign import convert, read_state_dict

MODULE = """
import torch


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 3)
        self.register_buffer("mean", torch.zeros(3))
"""
LAYOUTS = {
    "kool": kool_state,
    "kool, instance normalisation": kool_state,
    "pomo": pomo_state,
    "pomo, batch normalisation": pomo_state,
    "pomo, notebooks": notebook_state,
}
KNOWN = ("kool", "pomo", "pomo-notebooks")


class Strange:
    """A class of another program's."""

    def __init__(self):
        self.parts = [torch.zeros(3), {"a": 1}]


class Bomb:
    """Runs code where it is unpickled carelessly."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('the file was executed')",))


def plain(state: dict) -> dict[str, torch.Tensor]:
    """As it stands in a file."""
    return {name: value.detach().clone() for name, value in state.items()}


@pytest.mark.parametrize("variant", LAYOUTS)
def test_logits_survive_the_conversion(variant):
    """A state dict in the published layout, run by the published equations and by us."""
    state = plain(LAYOUTS[variant](make_policy(variant, seed=7)))
    found = convert(state, HEADS)
    policy = AttentionPolicy(LinearEncoder(SIZE), **found.arguments)
    policy.load_state_dict(found.weights)
    instances = uniform(6, 14, 3)
    play = random_play(instances, 2)
    if found.layout == "kool":
        expected = kool_logits(state, instances, play, False)
    else:
        theirs = pomo_logits if found.layout == "pomo" else notebook_logits
        expected = theirs(state, instances, play, HEADS, False)
    assert (expected[play.legal].abs() < 9.9).float().mean() > 0.9  # else weights hardly matter
    logits = step_through(policy.eval(), instances, play)
    torch.testing.assert_close(logits, expected.float(), rtol=1e-4, atol=1e-4)


def drawn_notebook_state(layers: int = 2, hidden: int = 24) -> dict[str, torch.Tensor]:
    """A state dict as POMO's notebooks make and store it, none of it from a policy of ours."""
    m = SIZE
    layer = {
        "Wq.weight": (m, m),
        "Wk.weight": (m, m),
        "Wv.weight": (m, m),
        "multi_head_combine.weight": (m, m),
        "multi_head_combine.bias": (m,),
        "addAndNormalization1.norm_by_EMB.weight": (m,),
        "addAndNormalization1.norm_by_EMB.bias": (m,),
        "addAndNormalization1.norm_by_EMB.running_mean": (m,),
        "addAndNormalization1.norm_by_EMB.running_var": (m,),
        "addAndNormalization1.norm_by_EMB.num_batches_tracked": (),
        "feedForward.W1.weight": (hidden, m),
        "feedForward.W1.bias": (hidden,),
        "feedForward.W2.weight": (m, hidden),
        "feedForward.W2.bias": (m,),
        "addAndNormalization2.norm_by_EMB.weight": (m,),
        "addAndNormalization2.norm_by_EMB.bias": (m,),
        "addAndNormalization2.norm_by_EMB.running_mean": (m,),
        "addAndNormalization2.norm_by_EMB.running_var": (m,),
        "addAndNormalization2.norm_by_EMB.num_batches_tracked": (),
    }
    shapes = {
        "encoder.embedding_depot.weight": (m, 2),
        "encoder.embedding_depot.bias": (m,),
        "encoder.embedding_node.weight": (m, 3),
        "encoder.embedding_node.bias": (m,),
        **{f"encoder.layers.{i}.{name}": layer[name] for i in range(layers) for name in layer},
        "node_prob_calculator.Wq.weight": (m, 2 * m + 1),
        "node_prob_calculator.Wk.weight": (m, m),
        "node_prob_calculator.Wv.weight": (m, m),
        "node_prob_calculator.multi_head_combine.weight": (m, m),
        "node_prob_calculator.multi_head_combine.bias": (m,),
    }
    random = torch.Generator().manual_seed(1)
    state = {name: torch.randn(shape, generator=random) / 10 for name, shape in shapes.items()}
    for name, value in state.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(1563)
        elif name.endswith(("running_var", "norm_by_EMB.weight")):
            value += 1
        elif name.endswith("weight"):
            value *= 10 / value.shape[1] ** 0.5
    return state


def test_the_notebooks_of_pomo():
    """Statistics of the training's batches, the graph's mean, a bias, and the nodes as keys."""
    state = drawn_notebook_state()
    found = convert(state, HEADS)
    assert (found.layout, found.multistart) == ("pomo-notebooks", True)
    assert found.arguments == {
        "embedding_dim": SIZE,
        "num_layers": 2,
        "num_heads": HEADS,
        "feed_forward_dim": 24,
        "tanh_clipping": 10.0,
        "normalization": "batch",
        "graph_context": True,
        "combine_bias": True,
        "pointer_projection": False,
    }
    policy = AttentionPolicy(LinearEncoder(SIZE), **found.arguments)
    policy.load_state_dict(found.weights)
    instances = uniform(6, 14, 3)
    play = random_play(instances, 2)
    expected = notebook_logits(state, instances, play, HEADS, training=False).float()
    assert (expected[play.legal].abs() < 9.9).float().mean() > 0.9  # else weights hardly matter
    logits = step_through(policy.eval(), instances, play)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", LAYOUTS)
def test_the_way_back(variant):
    """Every weight of ours is one of theirs, bit for bit."""
    policy = make_policy(variant)
    found = convert(plain(LAYOUTS[variant](policy)), HEADS).weights
    assert found.keys() == policy.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in policy.state_dict().items())


@pytest.mark.parametrize("variant", ["kool", "pomo, batch normalisation", "pomo, notebooks"])
def test_batches_need_not_have_been_counted(variant):
    """PyTorch before 0.4.1 did not count them; all else of such a file is read as ever."""
    state = plain(LAYOUTS[variant](make_policy(variant)))
    uncounted = {name: value for name, value in state.items() if not name.endswith("_tracked")}
    assert len(uncounted) < len(state)
    counted, found = convert(state, HEADS).weights, convert(uncounted, HEADS).weights
    assert found.keys() == counted.keys()
    assert all(torch.equal(found[name], value) for name, value in counted.items())
    assert found["trunk.1.norm_attention.num_batches_tracked"].dtype == torch.int64


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("place", ["model", "model_state_dict", None])
def test_files_with_foreign_objects(tmp_path, monkeypatch, place, legacy):
    """Whole objects beside the weights become inert; the weights are read without a warning."""
    # The older format keeps the source of a module's class, where it lies in a file.
    (tmp_path / "foreign_network.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    network = importlib.import_module("foreign_network")
    state = plain(kool_state(make_policy("kool")))
    strange = {"model": network.Network(), "parts": Strange(), "bomb": Bomb()}
    content = {place: state, "baseline": strange} if place else state
    path = tmp_path / "epoch-99.pt"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    del sys.modules["foreign_network"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_state_dict(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_unusable_files(tmp_path):
    """Each is named, with what is wrong."""
    with pytest.raises(FileNotFoundError, match="no file at"):
        read_state_dict(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match=r"text.pt is damaged or no file of PyTorch"):
        read_state_dict(tmp_path / "text.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds no weights"):
        read_state_dict(tmp_path / "list.pt")
    torch.save({"model": {"a": 3}}, tmp_path / "numbers.pt")
    with pytest.raises(ValueError, match="a is no tensor"):
        read_state_dict(tmp_path / "numbers.pt")
    (tmp_path / "bomb.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=r"bomb\.pt"):
        read_state_dict(tmp_path / "bomb.pt")


class Program(torch.nn.Module):
    """What TorchScript keeps as code."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_programs_are_not_loaded(tmp_path, monkeypatch):
    """A TorchScript archive and a tar archive are refused before PyTorch's reader opens them."""
    torch.jit.save(torch.jit.script(Program()), tmp_path / "script.pt")
    with tarfile.open(tmp_path / "old.pt", "w") as tar:
        tar.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    monkeypatch.setattr("torch.load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(ValueError, match=r"script\.pt is refused: it is a TorchScript program"):
        read_state_dict(tmp_path / "script.pt")
    with pytest.raises(ValueError, match=r"old\.pt is refused: it is a tar archive"):
        read_state_dict(tmp_path / "old.pt")


@pytest.mark.parametrize("variant", LAYOUTS)
def test_every_shape_is_checked(variant):
    """A weight of another shape is named, whichever it is."""
    state = plain(LAYOUTS[variant](make_policy(variant)))
    for name, value in state.items():
        wrong = value.new_zeros([size + 1 for size in value.shape] or [2])
        with pytest.raises(ValueError, match=rf"{re.escape(name)} has shape .*, not \("):
            convert(state | {name: wrong}, HEADS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("project_out.weight"), "project_out.weight is missing"),
        (lambda s: s.update(W_placeholder=torch.zeros(4)), "W_placeholder is not known"),
        (lambda s: s.update({"project_node_step.weight": torch.zeros(3)}), "not known in the kool"),
        (lambda s: s.update({"init_embed.weight": torch.zeros(16, 2)}), r"\(16, 2\), not \(M, 3\)"),
        (lambda s: s.pop("init_embed_depot.weight"), "no weights of a CVRP network"),
    ],
)
def test_other_networks(change, message):
    """A TSP network, one for split deliveries, an incomplete one."""
    state = plain(kool_state(make_policy("kool")))
    change(state)
    with pytest.raises(ValueError, match=message):
        convert(state)


@pytest.mark.parametrize(
    "names",
    [
        ["embedding.weight", "encoder.layers.0.Wq.weight"],  # of another project
        ["encoder.embedding_depot.weight", "decoder.Wq_first.weight"],  # of one that began as POMO
        ["encoder.embedding.weight", "decoder.Wq_last.weight"],  # POMO's TSP network
        ["encoder.embedding.weight", "node_prob_calculator.Wq_last.weight"],  # its notebooks' one
    ],
)
def test_an_unknown_layout(names):
    """The error says how the weights begin and which layouts are known, not what one lacks."""
    with pytest.raises(ValueError, match="in a layout known here") as caught:
        convert({name: torch.zeros(2) for name in names})
    message = str(caught.value)
    assert names[0] in message
    assert all(f"{layout} (" in message for layout in KNOWN)
    assert "missing" not in message
