"""What the cost of an instance is expected to be, to subtract it from what it was."""

from vrp.training.baselines.averages import ExponentialBaseline, SharedBaseline
from vrp.training.baselines.base import Baseline
from vrp.training.baselines.critic import CriticBaseline
from vrp.training.baselines.rollout import RolloutBaseline

__all__ = [
    "Baseline",
    "CriticBaseline",
    "ExponentialBaseline",
    "RolloutBaseline",
    "SharedBaseline",
]
