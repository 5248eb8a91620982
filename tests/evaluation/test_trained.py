"""From the name of a checkpoint to its policy, and every file that is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from vrp.evaluation import trained
from vrp.evaluation.trained import find_checkpoint, load_trained
from vrp.training.checkpoint import save_checkpoint


class Touch:
    """Makes a file when it is unpickled carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        """Say how the object is to be made again."""
        return (Path.touch, (self.path,))


@pytest.fixture
def released(tmp_path, tiny_content, monkeypatch):
    """Two released models; the folder where a command is typed is another one."""
    folder = tmp_path / "checkpoints"
    for name in ("vrp20-conv1d", "vrp10-linear"):
        (folder / name).mkdir(parents=True)
        save_checkpoint(folder / name / "model.pt", tiny_content)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(trained, "RELEASED", folder)
    return folder


def test_best_is_taken_of_a_run_folder(tiny_run):
    """best.pt before last.pt; the name is the run's."""
    assert find_checkpoint(str(tiny_run)) == ("tiny-run", tiny_run / "best.pt")


def test_last_is_taken_where_there_is_no_best(tiny_run):
    """The short name says so."""
    (tiny_run / "best.pt").unlink()
    assert find_checkpoint(str(tiny_run)) == ("tiny-run-last", tiny_run / "last.pt")


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        ({"instances": 0}, "last.pt"),
        ({"instances": 8}, "best.pt"),
        (None, "best.pt"),
    ],
)
def test_a_best_from_before_the_first_step_is_not_taken(tiny_run, tiny_content, best, expected):
    """It is what the seed drew, unless the run began with trained weights."""
    progress = {} if best is None else {"progress": best}
    for start, file in ((None, expected), ({"name": "other"}, "best.pt")):
        save_checkpoint(tiny_run / "best.pt", tiny_content | progress | {"started_from": start})
        assert find_checkpoint(str(tiny_run))[1] == tiny_run / file


def test_a_damaged_best_is_not_passed_over(tiny_run):
    """Whoever reads it says what is wrong."""
    (tiny_run / "best.pt").write_bytes(b"no checkpoint")
    assert find_checkpoint(str(tiny_run))[1] == tiny_run / "best.pt"


def test_a_file_is_taken_as_it_is(tiny_run):
    """Also with a name of one's own."""
    mine = tiny_run / "mine.pt"
    (tiny_run / "best.pt").rename(mine)
    assert find_checkpoint(str(mine)) == ("mine", mine)


def test_a_run_of_a_sweep_is_named_after_the_sweep(tmp_path):
    """Runs of the same choices in two sweeps are two models."""
    for sweep in ("vrp10", "vrp20"):
        folder = tmp_path / sweep / "linear-s0"
        folder.mkdir(parents=True)
        (folder / "best.pt").touch()
        assert find_checkpoint(str(folder))[0] == "linear-s0"
        (folder.parent / "sweep.json").touch()
        assert find_checkpoint(str(folder))[0] == f"{sweep}-linear-s0"


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    """The message names the folder and what it lacks."""
    with pytest.raises(FileNotFoundError, match=r"holds none of best\.pt, last\.pt, model\.pt"):
        find_checkpoint(str(tmp_path))


def test_a_released_name_is_found_from_anywhere(released):
    """Beside the code, not where the command is typed."""
    name, file = find_checkpoint("vrp20-conv1d")
    assert (name, file) == ("vrp20-conv1d", released / "vrp20-conv1d" / "model.pt")


def test_an_existing_path_comes_before_a_released_name(released, tiny_content):
    """A file of that name in the folder where the command is typed."""
    save_checkpoint(Path("vrp20-conv1d"), tiny_content)
    assert find_checkpoint("vrp20-conv1d")[1] == Path("vrp20-conv1d")


@pytest.mark.parametrize("name", ["vrp30", "../checkpoints-not", "vrp20-conv1d/../x"])
def test_an_unknown_name_lists_the_released_models(released, name):
    """Also one that looks like a path."""
    with pytest.raises(FileNotFoundError, match="released: vrp10-linear, vrp20-conv1d"):
        find_checkpoint(name)


@pytest.mark.parametrize(
    ("started_from", "instances"),
    [(None, 1234), ({"instances": 1000}, 2234), ({"instances": None}, None)],
)
def test_instances_before_its_own(tiny_run, tiny_content, started_from, instances):
    """Those of the weights it began with count, too; it is not known if theirs are not."""
    save_checkpoint(tiny_run / "best.pt", tiny_content | {"started_from": started_from})
    assert load_trained("tiny", tiny_run / "best.pt").instances == instances


def test_the_policy_has_the_weights_of_the_file(tiny_run, tiny_content):
    """In evaluation mode, with what the file says of its training."""
    found = load_trained("tiny", tiny_run / "best.pt")
    assert not found.policy.training
    assert found.instances == 1234
    assert found.problem["num_customers"] == 10
    for name, tensor in found.policy.state_dict().items():
        assert torch.equal(tensor, tiny_content["policy"][name])


@pytest.mark.parametrize("multistart", [True, False, None])
def test_starts_are_a_fact_of_the_training(tiny_run, tiny_content, multistart):
    """Taken from its config, or from the architecture where that does not say it."""
    if multistart is not None:
        tiny_content["config"]["multistart"] = multistart
    save_checkpoint(tiny_run / "best.pt", tiny_content)
    policy = load_trained("tiny", tiny_run / "best.pt").policy
    assert policy.starts_anywhere is bool(multistart)
    assert type(policy).starts_anywhere is False


def test_an_empty_file_is_refused(tmp_path):
    """The message names the file."""
    file = tmp_path / "empty.pt"
    file.touch()
    with pytest.raises(ValueError, match=r"empty\.pt is empty"):
        load_trained("x", file)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tiny_run, share):
    """The message names the file."""
    file = tiny_run / "best.pt"
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r"best\.pt is damaged"):
        load_trained("x", file)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_flipped_bit_is_noticed(tiny_run, share):
    """The message names the file."""
    file = tiny_run / "best.pt"
    data = bytearray(file.read_bytes())
    data[int(share * len(data))] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"best\.pt is damaged"):
        load_trained("x", file)


def test_another_file_is_refused(tmp_path):
    """Text, say."""
    file = tmp_path / "notes.pt"
    file.write_text("no checkpoint")
    with pytest.raises(ValueError, match=r"notes\.pt"):
        load_trained("x", file)


def test_a_malicious_pickle_is_not_executed(tmp_path):
    """Neither as a bare pickle nor inside a file of torch."""
    victim = tmp_path / "victim"
    bare, wrapped = tmp_path / "bare.pt", tmp_path / "wrapped.pt"
    bare.write_bytes(pickle.dumps(Touch(victim), protocol=2))
    torch.save({"format": Touch(victim)}, wrapped)
    for file in (bare, wrapped):
        with pytest.raises(ValueError, match=file.name):
            load_trained("x", file)
    assert not victim.exists()


@pytest.mark.parametrize("target", ["os.system", "vrp.policy.encoders.base.Encoder", None])
def test_a_foreign_class_is_refused(tmp_path, tiny_content, target):
    """Whatever its config names, only the package's own classes are built."""
    tiny_content["config"]["encoder"] = {"_target_": target, "command": "exit 1"}
    file = tmp_path / "foreign.pt"
    save_checkpoint(file, tiny_content)
    with pytest.raises(ValueError, match=rf"foreign\.pt: .*_target_ is {target!r}; allowed"):
        load_trained("x", file)


def test_weights_of_another_encoder_are_refused(tmp_path, tiny_content):
    """The message names the parameter and both shapes."""
    tiny_content["config"]["encoder"]["_target_"] = "vrp.policy.encoders.LinearEncoder"
    file = tmp_path / "mixed.pt"
    save_checkpoint(file, tiny_content)
    with pytest.raises(ValueError, match="do not fit") as refused:
        load_trained("x", file)
    text = str(refused.value)
    assert "mixed.pt" in text
    assert "encoder." in text
    assert "(8, 2, 1) and should be (8, 2)" in text
    assert "\n" not in text


@pytest.mark.parametrize("key", ["config", "policy"])
def test_a_checkpoint_without_its_parts_is_refused(tmp_path, tiny_content, key):
    """The message names the part."""
    del tiny_content[key]
    file = tmp_path / "part.pt"
    save_checkpoint(file, tiny_content)
    with pytest.raises(ValueError, match=rf"part\.pt: holds no '{key}'"):
        load_trained("x", file)


def test_weights_that_are_not_finite_are_refused(tmp_path, tiny_content):
    """A run that diverged cannot be measured."""
    tiny_content["policy"]["query.weight"][0, 0] = torch.nan
    file = tmp_path / "nan.pt"
    save_checkpoint(file, tiny_content)
    with pytest.raises(ValueError, match=r"nan\.pt: query\.weight holds values that are not fin"):
        load_trained("x", file)
