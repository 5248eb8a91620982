"""What the network believes about the next node."""

from vrp.policy.attention import AttentionPolicy
from vrp.policy.pointer import PointerPolicy

__all__ = ["AttentionPolicy", "PointerPolicy"]
