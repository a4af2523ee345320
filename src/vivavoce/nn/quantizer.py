"""Split residual vector quantisation (spec/model.md §1.6): one semantic codebook and a residual chain of acoustic ones.

Both halves quantise the same latent. Everything is fp32: one flipped code disturbs all later residuals.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ResidualQuantizer(nn.Module):
    """A chain of codebooks on a projection of the latent."""

    def __init__(self, dimension: int, codebooks: int, bins: int, width: int) -> None:
        super().__init__()
        self.project_in = nn.Linear(dimension, width, bias=False)
        self.project_out = nn.Linear(width, dimension, bias=False)
        self.codebooks = nn.Parameter(torch.zeros(codebooks, bins, width))
        self._measured, self._bias = (0, 0, -1), torch.empty(0)

    def encode(self, latent: Tensor, codebooks: int) -> Tensor:
        """latent [..., dimension] to codes int64 [..., codebooks], the nearest entries in Euclidean distance."""
        return self.encode_projected(self.project_in(latent), codebooks)

    def encode_projected(self, residual: Tensor, codebooks: int) -> Tensor:
        """`encode` from the projected latent [..., width]."""
        codes = []
        for book, bias in zip(self.codebooks[:codebooks], self._biases(), strict=False):
            # ||r - e||^2 = const - 2 (r.e - ||e||^2 / 2)
            code = torch.addmm(bias, residual.flatten(0, -2), book.T).argmax(-1)
            code = code.view(residual.shape[:-1])
            codes.append(code)
            residual = residual - book[code]
        return torch.stack(codes, -1)

    def _biases(self) -> Tensor:
        """-||e||^2 / 2 of every entry, [codebooks, bins]; taken again only when the codebooks have changed or moved."""
        version = (id(self.codebooks), self.codebooks.data_ptr(), self.codebooks._version)
        if version != self._measured:
            self._measured, self._bias = version, self.codebooks.detach().square().sum(-1) * -0.5
        return self._bias

    def decode(self, codes: Tensor) -> Tensor:
        """codes int64 [..., codebooks] to the latent they stand for, [..., dimension]."""
        total = self.codebooks[0][codes[..., 0]]
        for book, code in zip(self.codebooks[1:], codes[..., 1:].unbind(-1), strict=False):
            total = total + book[code]
        return self.project_out(total)


class SplitQuantizer(nn.Module):
    """codes[..., 0] is semantic, the rest acoustic."""

    def __init__(self, dimension: int, codebooks: int, bins: int, width: int) -> None:
        super().__init__()
        self.semantic = ResidualQuantizer(dimension, 1, bins, width)
        self.acoustic = ResidualQuantizer(dimension, codebooks - 1, bins, width)

    def encode(self, latent: Tensor, codebooks: int) -> Tensor:
        """latent [..., dimension] to codes int64 [..., codebooks]."""
        first = self.semantic.encode(latent, 1)
        return first if codebooks == 1 else torch.cat([first, self.acoustic.encode(latent, codebooks - 1)], -1)

    def decode(self, codes: Tensor) -> Tensor:
        """codes int64 [..., k], k >= 1, to latent [..., dimension]."""
        latent = self.semantic.decode(codes[..., :1])
        return latent if codes.shape[-1] == 1 else latent + self.acoustic.decode(codes[..., 1:])
