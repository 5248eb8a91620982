"""From a config to objects: what is wrong is named as it is typed."""

from __future__ import annotations

import re

import pytest
from runs import small_config

from vrp.training.build import build_generator, build_learner


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("problem.capacity=0",), "problem.capacity is 0; it must be at least 1"),
        (("encoder.embedding_dim=0",), "encoder.embedding_dim is 0; it must be at least 1"),
        (("encoder.init=x",), "encoder.init is 'x'; allowed: torch, glorot"),
        (("encoder=embedding", "encoder.bins=0"), "encoder.bins is 0; it must be at least 1"),
        (("policy.glimpses=2",), "policy.glimpses is 2; allowed: 0, 1"),
        (("policy=attention", "policy.num_layers=0"), "policy.num_layers is 0; it must be"),
        (
            ("encoder.embedding_dim=4",),
            "policy: the encoder's embedding_dim is 4, the policy's 8; they must be equal",
        ),
        (("baseline=exponential", "baseline.decay=2"), "baseline.decay is 2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_argument_out_of_range_is_named_with_its_section(overrides, told):
    """Or the section alone, where two of its parts do not fit."""
    config = small_config(*overrides)
    with pytest.raises(ValueError, match=f"^{re.escape(told)}"):
        build_learner(config, build_generator(config))
