"""What an instance is and what a legal tour is. Imports nothing of ours."""

from vrp.problem.generators import UniformGenerator
from vrp.problem.instances import Instances

__all__ = ["Instances", "UniformGenerator"]
