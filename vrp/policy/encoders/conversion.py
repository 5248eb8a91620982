"""The same function written as another encoder, weights carried over exactly."""

from __future__ import annotations

import torch
from torch import nn

from vrp.policy.encoders.conv1d import Conv1dEncoder
from vrp.policy.encoders.embedding import EmbeddingEncoder
from vrp.policy.encoders.linear import LinearEncoder


@torch.no_grad()
def linear_from_conv1d(encoder: Conv1dEncoder) -> LinearEncoder:
    """The linear encoder with the weights of `encoder`: (M, 2, 1) becomes (M, 2)."""
    linear = LinearEncoder(encoder.embedding_dim, encoder.init)
    linear.layer.weight.copy_(encoder.layer.weight[:, :, 0])
    linear.layer.bias.copy_(encoder.layer.bias)
    return linear


@torch.no_grad()
def conv1d_from_linear(encoder: LinearEncoder) -> Conv1dEncoder:
    """The convolutional encoder with the weights of `encoder`: (M, 2) becomes (M, 2, 1)."""
    conv1d = Conv1dEncoder(encoder.embedding_dim, encoder.init)
    conv1d.layer.weight.copy_(encoder.layer.weight[:, :, None])
    conv1d.layer.bias.copy_(encoder.layer.bias)
    return conv1d


@torch.no_grad()
def linear_on_one_hot(encoder: EmbeddingEncoder) -> nn.Linear:
    """The bias-free layer that maps `encoder.one_hot(...)` to the embedding."""
    rows, embedding_dim = encoder.table.weight.shape
    linear = nn.Linear(rows, embedding_dim, bias=False)
    linear.weight.copy_(encoder.table.weight.T)
    return linear
