"""Sampled tours: as frequent as they are likely, always legal, more never worse."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from trials import stream

from vrp.policy.choice import Choice
from vrp.problem import UniformGenerator
from vrp.search import Greedy, Sampling
from vrp.search.base import ENCODING
from vrp.search.rollout import rollout


def test_more_samples_never_cost_more(policy, several_trips):
    """Equal streams: the first samples are the same, so the best only improves."""
    costs = [Sampling(k)(policy, several_trips, stream()).cost for k in (1, 2, 15, 16, 17, 33, 70)]
    for few, many in pairwise(costs):
        assert (many <= few).all()
    assert (costs[-1] < costs[0]).any()


@pytest.mark.parametrize("samples", [1, 16, 17])
def test_effort_counts_what_is_played(samples, policy, several_trips, monkeypatch):
    """Sixteen samples at a time, however few of the last ones are asked for."""
    played = []

    def counting(policy, instances, encoding, num_solutions, choose):
        played.append(num_solutions)
        return rollout(policy, instances, encoding, num_solutions, choose)

    monkeypatch.setattr("vrp.search.sampling.rollout", counting)
    search = Sampling(samples)
    search(policy, several_trips, stream())
    assert search.effort(7, policy.starts_anywhere) == ENCODING + sum(played)


def test_samples_depend_on_the_stream(policy, several_trips):
    """Equal streams give equal tours, another stream others."""
    search = Sampling(1)
    one, again, other = (search(policy, several_trips, stream(s)).actions for s in (0, 0, 1))
    assert torch.equal(one, again)
    assert one.shape != other.shape or not torch.equal(one, other)


def test_cold_samples_are_greedy(policy, several_trips):
    """At a temperature near 0 every sample is the likeliest tour."""
    cold = Sampling(3, temperature=1e-4)(policy, several_trips, stream())
    assert torch.equal(cold.cost, Greedy()(policy, several_trips, stream()).cost)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_chosen_as_often_as_likely(temperature):
    """Evenly spread numbers choose each node as often as the tempered softmax says."""
    logits = torch.tensor([1.0, -torch.inf, 0.0, 2.0, -torch.inf, -1.0, -torch.inf])
    count = 20_000
    uniforms = ((torch.arange(count) + 0.5) / count).view(1, 1, count)
    chosen = Choice(uniforms, temperature)(logits.expand(1, count, 7), 0)
    frequency = torch.bincount(chosen[0], minlength=7) / count
    expected = (logits / temperature).softmax(-1)
    torch.testing.assert_close(frequency, expected, rtol=0, atol=2 / count)


@pytest.mark.parametrize("uniform", [0.0, 2**-24, 0.5, 1 - 2**-24], ids=["0", "eps", "half", "1"])
def test_only_legal_nodes_are_sampled(uniform):
    """Whatever the number and however unequal the logits, the chosen node is legal."""
    random = stream()
    logits = torch.randn(1, 5000, 30, generator=random) * 10
    legal = torch.rand(1, 5000, 30, generator=random) < 0.2
    legal[..., 0] |= ~legal.any(-1)
    logits = logits.masked_fill(~legal, -torch.inf)
    choose = Choice(torch.full((1, 1, 5000), uniform))
    chosen = choose(logits, 0)
    assert legal.gather(-1, chosen[..., None]).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_what_is_no_number_still_chooses_a_node(temperature):
    """So that whoever plays on can say what is wrong."""
    choose = Choice(torch.full((1, 1, 2), 0.5), temperature)
    chosen = choose(torch.full((1, 2, 7), torch.nan), 0)
    assert ((chosen >= 0) & (chosen < 7)).all()


def test_sampled_tours_are_as_frequent_as_likely(policy):
    """Over 20,000 samples each tour comes as often as its log-probability says."""
    instances = UniformGenerator(3, 12)(1, stream())
    count, steps = 20_000, 7
    encoding = policy.encode(instances).detach()
    uniforms = torch.rand(steps, 1, count, generator=stream())
    actions = rollout(policy, instances, encoding, count, Choice(uniforms))
    tours, times = actions[0].unique(dim=0, return_counts=True)
    with torch.no_grad():
        likely = policy.log_probs(encoding, instances, tours[None]).log_prob[0].sum(-1).exp()
    assert likely.sum().item() == pytest.approx(1, abs=0.01)  # none that matters is missing
    error = (likely * (1 - likely) / count).sqrt()
    assert ((times / count - likely).abs() < 4.5 * error + 1e-4).all()
