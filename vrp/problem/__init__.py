"""What an instance is and what a legal tour is. Imports nothing of ours."""

from vrp.problem.generators import ClusteredGenerator, InstanceGenerator, UniformGenerator
from vrp.problem.instances import Instances

__all__ = ["ClusteredGenerator", "InstanceGenerator", "Instances", "UniformGenerator"]
