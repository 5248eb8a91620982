"""How beliefs become tours."""

from vrp.search.augmentation import Augment
from vrp.search.beam import Beam
from vrp.search.eas import Eas
from vrp.search.greedy import Greedy, Multistart
from vrp.search.sampling import Sampling
from vrp.search.sgbs import Sgbs
from vrp.search.solution import Solution

__all__ = ["Augment", "Beam", "Eas", "Greedy", "Multistart", "Sampling", "Sgbs", "Solution"]
