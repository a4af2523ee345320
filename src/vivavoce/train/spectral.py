"""Log-mel spectrograms for losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vivavoce.core import SAMPLE_RATE

BANDS = 40


def mel_matrix(bands: int, bins: int) -> Tensor:
    """Triangular filters [bins, bands], evenly spaced on the mel scale from 40 Hz to 11 kHz, each summing to one."""
    low, high = (2595 * torch.log10(1 + torch.tensor(f) / 700) for f in (40.0, 11_000.0))
    centres = 700 * (10 ** (torch.linspace(float(low), float(high), bands + 2) / 2595) - 1)
    frequency = torch.linspace(0, SAMPLE_RATE / 2, bins)[:, None]
    rise = (frequency - centres[:-2]) / (centres[1:-1] - centres[:-2])
    fall = (centres[2:] - frequency) / (centres[2:] - centres[1:-1])
    filters = torch.minimum(rise, fall).clamp_min(0)
    return filters / filters.sum(0).clamp_min(1e-6)


class LogMel(nn.Module):
    """audio [B, samples] to natural-log band energies [B, 1 + samples / hop, bands]."""

    def __init__(self, size: int, hop: int, bands: int = BANDS) -> None:
        super().__init__()
        self.size, self.hop = size, hop
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        self.register_buffer("filters", mel_matrix(bands, size // 2 + 1), persistent=False)
        self.window: Tensor
        self.filters: Tensor

    def forward(self, audio: Tensor) -> Tensor:
        spectrum = torch.stft(audio, self.size, self.hop, window=self.window, return_complex=True, pad_mode="constant")
        power = spectrum.real.square() + spectrum.imag.square()  # |.|^2 without the root's bad gradient at zero
        return torch.log(power.transpose(1, 2) @ self.filters / self.size + 1e-6)
