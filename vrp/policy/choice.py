"""How the next node is taken from the policy's logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Choice:
    """Takes the likeliest node, or samples by one uniform number per tour and step.

    Of nodes that are equally likely, since the clipping of their scores has made them so, the first
    is taken here, and the one with the highest score where a policy plays whole tours by itself.

    Attributes:
        uniforms: (T, N, K) float32 in [0, 1), a row for each step; None takes the likeliest.
        temperature: divides the logits before they are sampled from.
    """

    uniforms: Tensor | None = None
    temperature: float = 1.0

    def __call__(self, logits: Tensor, t: int) -> Tensor:
        """Nodes (N, K) int64 of logits (N, K, V) at step t."""
        if self.uniforms is None:
            return logits.argmax(-1)
        if self.temperature != 1:
            # The best logit becomes 0 first, so that no temperature can make it infinite.
            logits = (logits - logits.amax(-1, keepdim=True)) / self.temperature
        cumulated = logits.softmax(-1).cumsum(-1)
        # Kept a little under 1 so that rounding never reaches past the last legal node.
        share = self.uniforms[t] * (1 - 2**-22)
        threshold = (share * cumulated[..., -1]).contiguous()[..., None]
        chosen = torch.searchsorted(cumulated, threshold, right=True)[..., 0]
        return chosen.clamp_(max=logits.shape[-1] - 1)  # beyond it only if they are not numbers
