"""Every file in configs/: it composes, fits the schema, and fits the class that it names."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from dataclasses import fields
from pathlib import Path

import hydra
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.path.append(str(ROOT / "tests" / "policy"))

from published_networks import kool_state, pomo_state  # noqa: E402

from scripts.checks import UsageError, check_config  # noqa: E402
from scripts.plan import make_plan  # noqa: E402
from scripts.resolve import plain_config  # noqa: E402
from scripts.schema import BenchmarkConfig, EvaluateConfig, TrainConfig  # noqa: E402
from scripts.signatures import signature_of  # noqa: E402
from vrp.policy.foreign import convert  # noqa: E402
from vrp.policy.normalisation import BatchNorm  # noqa: E402
from vrp.training.build import build_policy  # noqa: E402

CONFIGS = ROOT / "configs"
OPTIONS = sorted((file.parent.name, file.stem) for file in CONFIGS.glob("*/*.yaml"))
CLASSES = [o for o in OPTIONS if "_target_" in OmegaConf.load(CONFIGS / o[0] / f"{o[1]}.yaml")]
SIZES = {"problem.num_customers": 5, "problem.capacity": 20}
PUBLISHED = sorted(
    [
        file
        for name in ("nazari", "kool", "pomo")
        for file in CONFIGS.glob(f"experiment/{name}*.yaml")
    ]
    + [CONFIGS / "policy" / f"{name}.yaml" for name in ("am", "pomo")]
)


def composed(config_name: str, overrides: list[str]) -> dict:
    """The plain, resolved config of a program."""
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose(config_name, overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    own: DictConfig = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    return plain_config(own)


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_fits_the_schema(group, option):
    """Each option of each group, all else at its default."""
    overrides = [f"{group}={option}"]
    if (group, option) == ("problem", "uniform"):
        overrides += [f"{key}={value}" for key, value in SIZES.items()]
    if group == "decode":
        config = composed("evaluate", [*overrides, "checkpoint=x", "data=kool20"])
        checked = check_config(EvaluateConfig, config, ROOT)
    else:
        checked = check_config(TrainConfig, composed("config", overrides), ROOT)
    assert group in ("experiment", "measure", "suspect", "sweep") or "_target_" in checked[group]


@pytest.mark.parametrize(
    ("config_name", "schema"),
    [("config", TrainConfig), ("evaluate", EvaluateConfig), ("benchmark", BenchmarkConfig)],
)
def test_a_value_for_every_key(config_name, schema):
    """The main files name exactly the schema's keys."""
    assert set(composed(config_name, [])) == {field.name for field in fields(schema)}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], ("pointer", 20, "Critic", 512, 1)),
        (["problem=vrp10"], ("pointer", 10, "Critic", 512, 1)),
        (["policy=attention"], ("attention", 20, "Critic", 512, 20)),
        (["experiment=pomo20"], ("attention", 20, "Shared", 64, 20)),
        (["experiment=pomo50"], ("attention", 50, "Shared", 64, 50)),
        (["experiment=kool20"], ("attention", 20, "Rollout", 512, 1)),
        (["experiment=kool50", "batch_size=32"], ("attention", 50, "Rollout", 32, 1)),
    ],
)
def test_what_is_timed(overrides, expected):
    """The pointer's step unless told otherwise; every choice brings its own batch and tours."""
    config = check_config(BenchmarkConfig, composed("benchmark", overrides), ROOT)
    policy, size, baseline, batch_size, rollouts = expected
    assert config["policy"]["_target_"].lower() == f"vrp.policy.{policy}policy"
    assert config["baseline"]["_target_"] == f"vrp.training.baselines.{baseline}Baseline"
    assert config["problem"]["num_customers"] == size
    assert (config["batch_size"], config["num_rollouts"]) == (batch_size, rollouts)


@pytest.mark.parametrize(
    ("preset", "rate"),
    [
        ("pomo20", 362),
        ("pomo50", 67),
        ("pomo100", 11),
        ("kool20", 1693),
        ("kool50", 99),
        ("kool100", 32),
    ],
)
def test_a_kill_costs_ten_minutes_at_most(preset, rate):
    """At the least instances per second that the README gives, or of kool50 and kool100 its file.

    These were measured on one core of the slower machine, beside other work.
    """
    config = composed("config", [f"experiment={preset}"])
    assert config["checkpoint_every"] <= 600 * rate


@pytest.mark.parametrize("size", [20, 50, 100])
def test_ten_validations_in_an_epoch_of_kools(size):
    """Whatever the epoch's length."""
    config = composed("config", [f"experiment=kool{size}"])
    assert config["validation"]["every"] == config["baseline"]["epoch_instances"] / 10


@pytest.mark.parametrize(("group", "option"), CLASSES)
def test_the_class_takes_what_its_file_gives(group, option):
    """The imported class agrees with the reading of its source; no value it needs is missing."""
    config = OmegaConf.load(CONFIGS / group / f"{option}.yaml")
    module, _, name = config["_target_"].rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    real = {key: value for key, value in parameters.items() if value.kind not in variadic}
    read = signature_of(ROOT, config["_target_"])
    assert read.keys() == real.keys()
    given = set(config) - {"_target_"}
    assert given <= {key for key, kind in read.items() if kind is not None}
    needed = {key for key, argument in real.items() if argument.default is argument.empty}
    assert {key for key in needed if read[key] is not None} <= given


def test_the_network_of_pomos_paper_can_be_had():
    """By the two settings that its file names."""
    named = re.findall(r"policy\.\w+=\w+", (CONFIGS / "policy" / "pomo.yaml").read_text())
    policy = build_policy(composed("config", ["experiment=pomo20", *named]))
    assert isinstance(policy.trunk[0].norm_attention, BatchNorm)
    assert policy.graph is not None


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.stem)
def test_published_numbers_have_a_source(file):
    """Every number of a published experiment or network has its source on its line."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    settings = [line for line in lines if ":" in line]
    numbers = [line for line in settings if any(c.isdigit() for c in line.partition("#")[0])]
    unsourced = [line for line in numbers if "#" not in line and "override" not in line]
    assert not unsourced


@pytest.mark.parametrize(
    ("preset", "as_published", "sizes"),
    [("am", kool_state, (3, 8, 512, 128)), ("pomo", pomo_state, (6, 8, 512, 128))],
)
def test_presets_are_the_published_networks(preset, as_published, sizes):
    """Their weights, named as the authors do, are read back as a network of the same arguments."""
    config = composed("config", [f"policy={preset}", "encoder=linear"])
    policy = build_policy(config)
    state = {name: value.detach() for name, value in as_published(policy).items()}
    found = convert(state).arguments
    given = config["policy"]
    assert found == {name: given[name] for name in found}
    assert given.keys() - found.keys() == {"_target_", "precision", "init"}
    names = "num_layers", "num_heads", "feed_forward_dim", "embedding_dim"
    assert tuple(given[name] for name in names) == sizes
    assert len(policy.state_dict()) == len(convert(state).weights)


@pytest.mark.parametrize(
    ("schema", "config_name", "argument", "allowed"),
    [
        (TrainConfig, "config", "decode=beam", "baseline"),
        (EvaluateConfig, "evaluate", "policy=pomo", "decode"),
    ],
)
def test_a_choice_of_another_program_is_named(schema, config_name, argument, allowed):
    """With those of this one."""
    name = argument.partition("=")[0]
    with pytest.raises(UsageError, match=rf"^{name}: no choice of this program; .*{allowed}"):
        make_plan(schema, config_name, ROOT, [argument], multirun=False, shown=True)
