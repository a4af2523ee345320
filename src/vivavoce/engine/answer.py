"""What the LM answers to T frames of B streams."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Answer:
    """The text's logits and what they come to."""

    logits: Tensor  # fp32 [B, T, V]
    token: Tensor  # int64 [B, T]: the most probable, of equal ones the first
    norm: Tensor  # fp32 [B, T]: the logarithm of what e to the logits sums to
    logprob: Tensor  # fp32 [B, T]: of `token`
    pauses: Tensor  # fp32 [B, T, heads]: of each head the probability of its first class

    @classmethod
    def of(cls, logits: Tensor, extra: Tensor) -> Answer:
        """Of logits [B, T, V] and those of the heads [B, T, heads, classes]."""
        top, token = logits.max(-1)
        norm = logits.logsumexp(-1)
        pauses = extra.softmax(-1)[..., 0] if extra.shape[2] else extra.flatten(2)
        return cls(logits, token, norm, top - norm, pauses)
