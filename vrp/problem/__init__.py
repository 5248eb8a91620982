"""What an instance is and what a legal tour is. Imports nothing of ours."""

from vrp.problem.generators import (
    BandedGenerator,
    ClusteredGenerator,
    InstanceGenerator,
    UniformGenerator,
)
from vrp.problem.instances import Instances

__all__ = [
    "BandedGenerator",
    "ClusteredGenerator",
    "InstanceGenerator",
    "Instances",
    "UniformGenerator",
]
