"""Who tells the decoder's sound from the recorded one: convolutions over complex spectrograms of several sizes.

Distances between spectrograms make a decoder that hums where it is unsure; a critic does not let that pass.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZES = (512, 1024, 2048)  # samples of the windows
CHANNELS = 16


class _Spectral(nn.Module):
    """Judges every patch of one spectrogram."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        self.window: Tensor
        widths = (2, *[CHANNELS] * 4)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, (9, 3), (2, 1), (4, 1)) for a, b in pairwise(widths))
        self.last = nn.Conv2d(CHANNELS, 1, (3, 3), padding=(1, 1))

    def forward(self, audio: Tensor) -> list[Tensor]:
        """audio [B, samples] to each layer's features, the judgement last."""
        spectrum = torch.stft(audio, self.size, self.size // 4, window=self.window, return_complex=True)
        x = torch.view_as_real(spectrum).permute(0, 3, 1, 2)  # [B, 2, frequency, time]
        x = x / (x.abs().mean((1, 2, 3), keepdim=True) + 1e-5)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
            features.append(x)
        return [*features, self.last(x)]


class Critic(nn.Module):
    """One judge for each of SIZES; a step asks one of them, which takes a third of the time and is as good a guide."""

    def __init__(self) -> None:
        super().__init__()
        self.judges = nn.ModuleList(_Spectral(size) for size in SIZES)

    def loss(self, real: Tensor, made: Tensor, judge: int) -> Tensor:
        """What judge number `judge` minimises: hinge, real above one and made below minus one."""
        told = self._ask(judge, torch.cat([real, made.detach()]))[-1]
        one, other = told.chunk(2)
        return F.relu(1 - one).mean() + F.relu(1 + other).mean()

    def losses_of(self, real: Tensor, made: Tensor, judge: int) -> tuple[Tensor, Tensor]:
        """What the decoder minimises: being told apart, and the distance of the features."""
        with torch.no_grad():
            wanted = self._ask(judge, real)
        heard = self._ask(judge, made)
        near = [F.l1_loss(a, b) / b.abs().mean() for a, b in zip(heard[:-1], wanted[:-1], strict=True)]
        return -heard[-1].mean(), torch.stack(near).mean()

    def _ask(self, judge: int, audio: Tensor) -> list[Tensor]:
        return cast("list[Tensor]", self.judges[judge](audio))
