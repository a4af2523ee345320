"""Mimi, the neural audio codec: 24 kHz audio to 12.5 columns of codes a second and back (spec/model.md §1)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from . import seanet
from .conv import CausalConv1d, CausalConvTranspose1d, ConvState, OverlapState
from .quantizer import SplitQuantizer
from .rows import Rows
from .seanet import SeanetState
from .transformer import Transformer, TransformerConfig, TransformerState


@dataclass(frozen=True)
class MimiConfig:
    """Sizes, all but `heads`, `context` and `max_period` readable from a checkpoint's tensors."""

    encoder_filters: int
    decoder_filters: int
    ratios: tuple[int, ...]  # strides of the encoder in order
    kernels: tuple[int, int, int]  # first, residual and last convolution of the encoder
    dimension: int
    encoder_layers: int
    decoder_layers: int
    hidden: int
    codebooks: int
    bins: int
    codebook_dim: int
    heads: int = 8
    context: int = 250  # positions at twice the frame rate
    max_period: float = 10_000.0
    decoder_kernels: tuple[int, int, int] | None = None  # first, residual and last of the decoder; None: as `kernels`

    @property
    def frame_size(self) -> int:
        """Samples in a frame."""
        return 2 * prod(self.ratios)


@dataclass
class EncoderState:
    """Per-slot memory of the encoding half."""

    seanet: SeanetState
    transformer: TransformerState
    downsample: ConvState

    def reset(self, slot: int) -> None:
        for part in [*self.seanet, self.transformer, self.downsample]:
            part.reset(slot)


@dataclass
class DecoderState:
    """Per-slot memory of the decoding half."""

    upsample: OverlapState
    transformer: TransformerState
    seanet: SeanetState

    def reset(self, slot: int) -> None:
        for part in [self.upsample, self.transformer, *self.seanet]:
            part.reset(slot)


class Mimi(nn.Module):
    """The codec. Without a state a call is offline over a whole recording; with one it continues the rows' streams."""

    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        self.config = config
        dim, kernels = config.dimension, config.kernels
        self.encoder = seanet.encoder(config.encoder_filters, config.ratios, dim, kernels)
        self.encoder_transformer = Transformer(self._transformer_config(config.encoder_layers))
        self.downsample = CausalConv1d(dim, dim, 4, 2, bias=False, replicate=True)
        self.quantizer = SplitQuantizer(dim, config.codebooks, config.bins, config.codebook_dim)
        self.upsample = CausalConvTranspose1d(dim, dim, 2, bias=False, depthwise=True)
        self.decoder_transformer = Transformer(self._transformer_config(config.decoder_layers))
        self.decoder = seanet.decoder(config.decoder_filters, config.ratios, dim, config.decoder_kernels or kernels)

    def _transformer_config(self, layers: int) -> TransformerConfig:
        c = self.config
        return TransformerConfig(c.dimension, c.heads, layers, c.hidden, c.context, c.max_period, gated=False)

    def encoder_state(self, slots: int, frames: int = 1) -> EncoderState:
        """Memory for `slots` streams that bring at most `frames` frames a call."""
        return EncoderState(
            self.encoder.state(slots),
            self.encoder_transformer.state(slots, 2 * frames),
            self.downsample.state(slots),
        )

    def decoder_state(self, slots: int, frames: int = 1) -> DecoderState:
        """Memory for `slots` streams that bring at most `frames` frames a call."""
        return DecoderState(
            self.upsample.state(slots), self.decoder_transformer.state(slots, 2 * frames), self.decoder.state(slots)
        )

    def latent(self, audio: Tensor, state: EncoderState | None = None, rows: Rows | None = None) -> Tensor:
        """audio float [B, frames * frame_size] to unquantised latents [B, frames, dimension]."""
        x = self.encoder(audio[:, :, None], state and state.seanet, rows)
        x = self.encoder_transformer(x, state and state.transformer, rows)
        return self.downsample(x, state and state.downsample, rows)

    def prefill(self, audio: Tensor, state: EncoderState, slot: int, frame: int) -> None:
        """`slot`, which was reset, hears audio float [1, frames * frame_size] in one pass, as from frame `frame` on."""
        rows = Rows([slot], audio.device)
        x = self.encoder(audio[:, :, None], state.seanet, rows)
        x = self.encoder_transformer.prefill(x, state.transformer, slot, 2 * frame)
        self.downsample(x, state.downsample, rows)

    def encode(
        self,
        audio: Tensor,
        state: EncoderState | None = None,
        rows: Rows | None = None,
        codebooks: int | None = None,
    ) -> Tensor:
        """audio float [B, frames * frame_size] to codes int64 [B, frames, codebooks]."""
        assert audio.shape[1] % self.config.frame_size == 0, f"{audio.shape[1]} samples are not whole frames"
        latent = self.latent(audio, state, rows)
        return self.quantizer.encode(latent, self.config.codebooks if codebooks is None else codebooks)

    def decode(self, codes: Tensor, state: DecoderState | None = None, rows: Rows | None = None) -> Tensor:
        """codes int64 [B, frames, k] to audio float [B, frames * frame_size]; any k up to `codebooks`."""
        return self.synthesize(self.quantizer.decode(codes), state, rows)

    def prefill_decoder(self, codes: Tensor, state: DecoderState, slot: int, frame: int) -> None:
        """`slot`, which was reset, says codes int64 [1, frames, k] in one pass, as from frame `frame` on."""
        rows = Rows([slot], codes.device)
        x = self.upsample(self.quantizer.decode(codes), state.upsample, rows)
        x = self.decoder_transformer.prefill(x, state.transformer, slot, 2 * frame)
        self.decoder(x, state.seanet, rows)

    def synthesize(self, latent: Tensor, state: DecoderState | None = None, rows: Rows | None = None) -> Tensor:
        """latent [B, frames, dimension] to audio float [B, frames * frame_size]."""
        x = self.upsample(latent, state and state.upsample, rows)
        x = self.decoder_transformer(x, state and state.transformer, rows)
        return self.decoder(x, state and state.seanet, rows)[:, :, 0]


def pad_to_frames(audio: Tensor, frame_size: int) -> Tensor:
    """Zeros on the right up to a whole number of frames; audio [B, T]."""
    return torch.nn.functional.pad(audio, (0, -audio.shape[1] % frame_size))
