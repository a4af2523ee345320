"""An LM whose layers keep their weights in 8 bits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vivavoce.nn.lm import Lm

from .kernels.product import product

INT8_MOST = 127


class PackedLinear(nn.Module):
    """`nn.Linear` without a bias over int8 weights, with a scale for each output."""

    weight: Tensor  # int8 [outputs, width]
    scale: Tensor  # fp32 [outputs]

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        assert linear.bias is None, "the layers of an LM have no biases"
        self.in_features, self.out_features = linear.in_features, linear.out_features
        numbers = linear.weight.detach().float()
        scale = (numbers.abs().amax(1) / INT8_MOST).clamp_min(1e-30)
        self.register_buffer("weight", (numbers / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] to [..., outputs]."""
        return product(x.flatten(0, -2).contiguous(), self.weight, self.scale).unflatten(0, x.shape[:-1])

    @property
    def unpacked(self) -> Tensor:
        """The weights that are multiplied with, fp32."""
        return self.weight * self.scale[:, None]


def pack(lm: Lm) -> None:
    """In place, so that no weight is there twice; one that is packed stays as it is.

    Embeddings and heads, a tenth of the weights of which a step reads little, stay in the model's dtype.
    """
    for module in list(lm.transformer.modules()):
        for name, part in module.named_children():
            if isinstance(part, nn.Linear):
                setattr(module, name, PackedLinear(part))
    if lm.embeddings.device.type == "cuda":
        torch.cuda.empty_cache()  # for the budget, which asks the device what is free
