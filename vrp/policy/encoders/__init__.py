"""Swappable maps from coordinates to embeddings. They see coordinates only."""

from vrp.policy.encoders.base import Encoder
from vrp.policy.encoders.conv1d import Conv1dEncoder
from vrp.policy.encoders.embedding import EmbeddingEncoder
from vrp.policy.encoders.linear import LinearEncoder

__all__ = ["Conv1dEncoder", "EmbeddingEncoder", "Encoder", "LinearEncoder"]
