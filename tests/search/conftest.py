"""What the tests of the searches share."""

from __future__ import annotations

import pytest
import torch
from situations import SITUATIONS

from vrp.policy import AttentionPolicy, PointerPolicy
from vrp.policy.base import Policy
from vrp.policy.encoders import LinearEncoder
from vrp.problem import Instances


@pytest.fixture(params=["pointer", "attention"])
def policy(request: pytest.FixtureRequest) -> Policy:
    """A small policy of each kind, large enough weights for choices to hang on its memory."""
    encoder = LinearEncoder(16)
    if request.param == "pointer":
        found = PointerPolicy(encoder, 16)
    else:
        found = AttentionPolicy(encoder, 16, num_layers=1, num_heads=2, feed_forward_dim=16)
    found.initialise(0)
    # No further for attention: where tanh is 1, logits are equal.
    scale = {"pointer": 2, "attention": 1}[request.param]
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            parameter.mul_(3 * scale if name.startswith(("lstm", "query")) else scale)
    return found.eval()


@pytest.fixture(params=SITUATIONS)
def situation(request: pytest.FixtureRequest) -> Instances:
    """Each of `SITUATIONS` in turn."""
    return SITUATIONS[request.param]


@pytest.fixture
def several_trips() -> Instances:
    """Five instances of seven customers that need about three trips."""
    return SITUATIONS["several trips"]
