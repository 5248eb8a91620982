"""How beliefs become tours."""

from vrp.search.beam import Beam
from vrp.search.rollout import Greedy, Sampling
from vrp.search.solution import Solution

__all__ = ["Beam", "Greedy", "Sampling", "Solution"]
