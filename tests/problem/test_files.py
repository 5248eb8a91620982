"""Files: what is read back, what is refused, and that reading runs nothing."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from vrp.problem import Instances
from vrp.problem.files import load_instances, save_npz

PARTS = ("depot", "customers", "demand", "capacity")


def assert_same(found: Instances, expected: Instances) -> None:
    for part in PARTS:
        assert torch.equal(getattr(found, part), getattr(expected, part)), part


def arrays(instances: Instances, **changes: object) -> dict[str, object]:
    """What `save_npz` writes, with changes."""
    return {part: getattr(instances, part).numpy() for part in PARTS} | changes


def pomo(instances: Instances, capacity: int, **changes: object) -> dict[str, object]:
    """What a POMO test set holds, with changes."""
    return {
        "depot_xy": instances.depot[:, None],
        "node_xy": instances.customers,
        "node_demand": instances.demand / float(capacity),
    } | changes


def kool(instances: Instances) -> list[list]:
    """What a test set of Kool et al. holds: lists of Python numbers, the capacity a float."""
    return [
        [
            instances.depot[n].tolist(),
            instances.customers[n].tolist(),
            instances.demand[n].tolist(),
            float(instances.capacity[n]),
        ]
        for n in range(len(instances))
    ]


def pickled(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def refusal(path: Path, **options: object) -> str:
    """The error of loading `path`, which names the file and is short."""
    with pytest.raises(ValueError) as caught:
        load_instances(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.count("\n") < 2
    assert len(message) < len(str(path)) + 250
    return message


def test_npz_comes_back(tiny_instances, tmp_path):
    """What is saved is what is loaded, and nothing else is left in the folder."""
    path = tmp_path / "two.npz"
    save_npz(tiny_instances, path)
    assert_same(load_instances(path), tiny_instances)
    assert [file.name for file in tmp_path.iterdir()] == ["two.npz"]


def test_saving_replaces_a_file_whole(tiny_instances, tmp_path):
    """An older file is replaced, not changed in place."""
    path = tmp_path / "set.npz"
    save_npz(tiny_instances, path)
    save_npz(tiny_instances[:1], path)
    assert_same(load_instances(path), tiny_instances[:1])


def test_a_failed_save_leaves_the_old_file(tiny_instances, tmp_path, monkeypatch):
    """If writing fails half way, the file there is untouched and no debris stays."""
    path = tmp_path / "set.npz"
    save_npz(tiny_instances, path)

    def break_off(file, **content):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez_compressed", break_off)
    with pytest.raises(OSError, match="no space"):
        save_npz(tiny_instances[:1], path)
    assert_same(load_instances(path), tiny_instances)
    assert [file.name for file in tmp_path.iterdir()] == ["set.npz"]


def test_saving_under_another_suffix_is_refused(tiny_instances, tmp_path):
    """A name that could not be loaded again is an error."""
    with pytest.raises(ValueError, match=r"must be \.npz"):
        save_npz(tiny_instances, tmp_path / "set.pt")


def test_pomo_file(tiny_instances, tmp_path):
    """Fractions of the capacity that is given become the integers that were meant."""
    path = tmp_path / "set.pt"
    torch.save(pomo(tiny_instances, 5), path)
    found = load_instances(path, capacity=5)
    assert found.capacity.tolist() == [5, 5]
    assert torch.equal(found.demand, tiny_instances.demand)
    assert torch.equal(found.depot, tiny_instances.depot)
    assert torch.equal(found.customers, tiny_instances.customers)


def test_kool_file(tiny_instances, tmp_path):
    """Lists of numbers become instances, whether they are held in tuples or lists."""
    expected = kool(tiny_instances)
    assert_same(load_instances(pickled(tmp_path / "lists.pkl", expected)), tiny_instances)
    tuples = [tuple(instance) for instance in expected]
    assert_same(load_instances(pickled(tmp_path / "tuples.pkl", tuples)), tiny_instances)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol_is_read(tiny_instances, tmp_path, protocol):
    """Kool's files exist in several."""
    path = tmp_path / "set.pkl"
    path.write_bytes(pickle.dumps(kool(tiny_instances), protocol=protocol))
    assert_same(load_instances(path), tiny_instances)


def test_split_delivery_is_passed_on(tiny_instances, tmp_path):
    """A demand above the capacity is refused, and allowed where it may be split."""
    path = tmp_path / "big.npz"
    np.savez(path, **arrays(tiny_instances, capacity=np.array([3, 3])))
    assert "demand 4 is above the capacity 3" in refusal(path)
    assert load_instances(path, split_delivery=True).split_delivery


def test_a_capacity_that_the_file_contradicts_is_refused(tiny_instances, tmp_path):
    """The capacity of a file that holds one cannot be overruled; the same may be given."""
    path = tmp_path / "set.npz"
    save_npz(tiny_instances[:1], path)
    assert_same(load_instances(path, capacity=5), tiny_instances[:1])
    assert "capacity 5, not the 7 that was given" in refusal(path, capacity=7)


def test_tensors_that_want_gradients_are_read(tiny_instances, tmp_path):
    """POMO's files may come straight from a program that optimises coordinates."""
    path = tmp_path / "set.pt"
    content = pomo(tiny_instances, 5)
    torch.save({key: value.float().requires_grad_() for key, value in content.items()}, path)
    assert torch.equal(load_instances(path, capacity=5).demand, tiny_instances.demand)


def test_a_missing_file_is_named(tmp_path):
    """The path is in the error."""
    path = tmp_path / "none.npz"
    with pytest.raises(FileNotFoundError, match=r"none\.npz: there is no such file"):
        load_instances(path)


def test_an_unknown_suffix_lists_the_known(tmp_path):
    """The error says what can be read."""
    assert refusal(tmp_path / "set.csv").endswith("it must be .npz, .pt, .pkl")


@pytest.mark.parametrize("suffix", [".npz", ".pt", ".pkl"])
@pytest.mark.parametrize("damage", ["empty", "noise", "half", "corrupt"])
def test_a_damaged_file_is_refused(tiny_instances, tmp_path, suffix, damage):
    """Empty, foreign, truncated and corrupted files are all one error."""
    path = tmp_path / f"set{suffix}"
    if suffix == ".npz":
        save_npz(tiny_instances, path)
    elif suffix == ".pt":
        torch.save(pomo(tiny_instances, 5), path)
    else:
        pickled(path, kool(tiny_instances))
    content = path.read_bytes()
    first, second = content[: len(content) // 2], content[len(content) // 2 :]
    damaged = {
        "empty": b"",
        "noise": bytes(range(256)) * 4,
        "half": first,
        "corrupt": bytes(255 - byte for byte in first) + second,
    }
    path.write_bytes(damaged[damage])
    assert f"cannot be read as {suffix}" in refusal(path, capacity=5)


@pytest.mark.parametrize("missing", PARTS)
def test_npz_without_a_key(tiny_instances, tmp_path, missing):
    """The error names the key, what is needed and what is there."""
    content = arrays(tiny_instances)
    del content[missing]
    path = tmp_path / "set.npz"
    np.savez(path, other=np.zeros(1), **content)
    message = refusal(path)
    assert f"has no {missing}; it must hold depot, customers, demand, capacity" in message
    assert "other" in message


def test_npz_with_pickled_objects_is_refused(tiny_instances, tmp_path):
    """An object array would be unpickled by numpy; it is not."""
    path = tmp_path / "set.npz"
    np.savez(path, **arrays(tiny_instances, demand=np.array([[Trap()] * 4] * 2, dtype=object)))
    assert "cannot be read as .npz" in refusal(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"demand": np.array([[3, 2, 4, 1.5], [1, 1, 1, 1]])}, "customer 4 of instance 0 is 1.5"),
        ({"demand": np.array([[3, 2, 4, 1], [1, math.nan, 1, 1]])}, "customer 2 of instance 1 is"),
        ({"demand": np.array([[3, 2, 4, 1], [1, math.inf, 1, 1]])}, "is inf; it must be an int"),
        ({"demand": np.array([["3"] * 4] * 2)}, "demand is of type <U1"),
        ({"demand": np.ones((2, 4), dtype=bool)}, "demand is of type bool"),
        ({"demand": np.ones((2, 3), dtype=int)}, "demand must have shape (2, 4), not (2, 3)"),
        ({"demand": -np.ones((2, 4), dtype=int)}, "customer 1 of instance 0: demand is -1"),
        ({"capacity": np.array([5, 2.5])}, "capacity of instance 1 is 2.5; it must be an integer"),
        ({"capacity": np.array(5)}, "capacity must have shape (N,)"),
        ({"capacity": np.array([5, 0])}, "capacity of instance 1 is 0"),
        ({"customers": np.array(1.0)}, "customers must have shape (N, C, 2)"),
        ({"customers": np.full((2, 4, 2), 3.0)}, "customer 1 of instance 0: coordinate x is 3.0"),
        ({"customers": np.full((2, 4, 2), 1e300)}, "coordinate x is inf"),
        ({"customers": np.zeros((2, 4, 2), complex)}, "customers is of type complex128"),
        ({"depot": np.full((2, 2), math.nan)}, "depot of instance 0: coordinate x is nan"),
        ({part: np.zeros((0, 4, 2)) for part in PARTS}, "the file holds no instance"),
    ],
)
def test_npz_with_a_bad_value(tiny_instances, tmp_path, changes, words):
    """The error names the instance, the customer and the value."""
    path = tmp_path / "set.npz"
    np.savez(path, **arrays(tiny_instances, **changes))
    assert words in refusal(path)


def test_integers_may_be_written_as_floats(tiny_instances, tmp_path):
    """A demand of 3.0 is 3."""
    path = tmp_path / "set.npz"
    np.savez(path, **arrays(tiny_instances, demand=tiny_instances.demand.double().numpy()))
    assert_same(load_instances(path), tiny_instances)


def test_pt_needs_a_capacity(tiny_instances, tmp_path):
    """The fractions mean nothing without it."""
    path = tmp_path / "set.pt"
    torch.save(pomo(tiny_instances, 5), path)
    assert "give capacity" in refusal(path)
    assert "capacity is 0; it must be at least 1" in refusal(path, capacity=0)


def test_pt_with_another_capacity_is_refused(tiny_instances, tmp_path):
    """What does not come out as an integer to 1e-4 is named, with the value found."""
    path = tmp_path / "set.pt"
    torch.save(pomo(tiny_instances, 5), path)
    message = refusal(path, capacity=6)
    assert "customer 1 of instance 0: demand times capacity 6 is 3.6" in message


@pytest.mark.parametrize(("error", "accepted"), [(0.9e-4, True), (1.5e-4, False)])
def test_pt_margin(tiny_instances, tmp_path, error, accepted):
    """The margin is 1e-4 of a unit of goods, not of a fraction."""
    demand = tiny_instances.demand.double() / 5
    demand[1, 2] += error / 5
    path = tmp_path / "set.pt"
    torch.save(pomo(tiny_instances, 5, node_demand=demand), path)
    if accepted:
        assert torch.equal(load_instances(path, capacity=5).demand, tiny_instances.demand)
    else:
        assert "customer 3 of instance 1" in refusal(path, capacity=5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"node_demand": torch.full((2, 4), math.nan)}, "demand times capacity 5 is nan"),
        ({"node_demand": torch.ones(2, 4, dtype=torch.int64)}, "node_demand has shape (2, 4)"),
        ({"node_demand": [[0.2] * 4] * 2}, "node_demand is a list; it must be a tensor"),
        ({"node_demand": torch.ones(2, 3)}, "demand must have shape (2, 4), not (2, 3)"),
        ({"depot_xy": torch.zeros(2, 2)}, "depot_xy has shape (2, 2)"),
        ({"depot_xy": torch.zeros(2, 3, 2)}, "depot_xy is (2, 3, 2); it must be (N, 1, 2)"),
        ({"node_xy": torch.full((2, 4, 2), -1.0)}, "customer 1 of instance 0: coordinate x is -1"),
    ],
)
def test_pt_with_a_bad_value(tiny_instances, tmp_path, changes, words):
    """The error names what is wrong under POMO's own name where it is the shape."""
    path = tmp_path / "set.pt"
    torch.save(pomo(tiny_instances, 5, **changes), path)
    assert words in refusal(path, capacity=5)


def test_pt_of_something_else(tmp_path):
    """A tensor is no test set, and another dict lacks the keys."""
    path = tmp_path / "set.pt"
    torch.save(torch.zeros(3), path)
    assert "holds a Tensor; it must hold a dict" in refusal(path, capacity=5)
    torch.save({"weight": torch.zeros(3)}, path)
    assert "has no depot_xy; it must hold depot_xy, node_xy, node_demand" in refusal(
        path, capacity=5
    )


SPRUNG: list[str] = []


def spring(what: str) -> None:
    """Leave a mark: something in a file was run."""
    SPRUNG.append(what)


class Trap:
    """Calls `spring` when unpickled."""

    def __reduce__(self):
        return spring, ("reduce",)


class StateTrap:
    """Calls `spring` when its state is set."""

    def __setstate__(self, state):
        spring("state")

    def __getstate__(self):
        return {"a": 1}


@pytest.fixture
def sprung() -> list[str]:
    """The marks that traps leave, none yet."""
    SPRUNG.clear()
    return SPRUNG


@pytest.mark.parametrize("trap", [Trap, StateTrap])
def test_the_traps_work(sprung, trap):
    """An ordinary unpickler runs them, so the next tests prove something."""
    pickle.loads(pickle.dumps(trap()))
    assert sprung


@pytest.mark.parametrize("trap", [Trap, StateTrap])
@pytest.mark.parametrize("suffix", [".pkl", ".pt", ".npz"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_malicious_pickle_runs_nothing(sprung, tmp_path, trap, suffix):
    """Each suffix refuses a pickle that would call a function."""
    path = pickled(tmp_path / f"evil{suffix}", [trap()])
    assert f"cannot be read as {suffix}" in refusal(path, capacity=5)
    assert not sprung


@pytest.mark.parametrize(
    "stream",
    [
        b"cos\nsystem\n(S'false'\ntR.",  # GLOBAL and REDUCE
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x05false\x85R.",  # STACK_GLOBAL
        b"(S'false'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'false'\no.",  # OBJ
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"\x80\x02\x82\x01.",  # the extension registry
        b"\x80\x02K\x01Q.",  # a persistent id
        b"Pid\n.",  # the same, as text
    ],
)
def test_every_way_to_a_name_is_closed(tmp_path, stream):
    """No opcode of the pickle machine finds a class, a function or an outside object."""
    path = tmp_path / "evil.pkl"
    path.write_bytes(stream)
    assert "cannot be read as .pkl" in refusal(path)


def test_numpy_arrays_in_a_pickle_are_refused(tmp_path):
    """They would need a name to be looked up; the error says so."""
    path = pickled(tmp_path / "set.pkl", [[np.zeros(2), np.zeros((4, 2)), np.ones(4), 5]])
    assert "only lists, tuples and numbers are read" in refusal(path)


@pytest.mark.parametrize(
    "stream",
    [
        b"]r\xff\xff\xff\x7f.",  # a reference with a huge number
        b"\x80\x05\x96" + b"\xff" * 7 + b"\x0f.",  # a huge array of bytes
        b"\x80\x04X\xff\xff\xff\xffa.",  # a huge text
        b"]q\x00" + b"]q\x01(h\x00h\x00eq\x00" * 60 + b".",  # lists that double in size 60 times
    ],
)
def test_a_small_file_asks_for_little(tmp_path, stream):
    """A few bytes that claim to hold gigabytes are refused at once."""
    path = tmp_path / "set.pkl"
    path.write_bytes(stream)
    refusal(path)


def test_instances_of_unequal_size_are_refused(tiny_instances, tmp_path):
    """A batch is rectangular; both sizes are in the error."""
    content = kool(tiny_instances)
    content[1][1].pop()
    content[1][2].pop()
    path = pickled(tmp_path / "set.pkl", content)
    assert "instance 1 has 3 customers, instance 0 has 4" in refusal(path)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ((0, 0), [0.5], "depot of instance 0 is [0.5]; it must be two numbers"),
        ((0, 0), "ab", "depot of instance 0 is 'ab'; it must be two numbers"),
        ((1, 1), None, "customers of instance 1 is of type NoneType; it must be a list"),
        ((1, 1, 2), [0.1, "x"], "customer 3 of instance 1 is [0.1, 'x']; it must be two numbers"),
        ((1, 1, 2), [0.1, 7.0], "customer 3 of instance 1: coordinate y is 7.0"),
        ((0, 2), [3, 2, 4], "instance 0 has 4 customers and 3 demands"),
        ((0, 2, 3), 1.5, "demand of customer 4 of instance 0 is 1.5; it must be an integer"),
        ((0, 2, 3), True, "demand 4 of instance 0 is True; it must be a number"),
        ((0, 2, 3), 10**30, "demand"),
        ((1, 3), None, "capacity of instance 1 is None; it must be a number"),
        ((1, 3), float("nan"), "capacity of instance 1 is nan; it must be an integer"),
        ((1,), [[0.1, 0.1]], "instance 1 must be (depot, customers, demand, capacity), not 1"),
        ((1,), 3, "instance 1 must be (depot, customers, demand, capacity), not no parts"),
    ],
)
def test_kool_file_with_a_bad_part(tiny_instances, tmp_path, place, value, words):
    """The error names the instance, the part and what was found."""
    content = kool(tiny_instances)
    target = content
    for index in place[:-1]:
        target = target[index]
    target[place[-1]] = value
    assert words in refusal(pickled(tmp_path / "set.pkl", content))


@pytest.mark.parametrize("content", [[], (), 3, "text", None])
def test_kool_file_of_something_else(tmp_path, content):
    """Only a list with something in it can be a set."""
    assert "it must hold a list of instances" in refusal(pickled(tmp_path / "set.pkl", content))
