"""The names and sizes of the released PyTorch layout, which the Rust (candle) repositories share.

spec/model.md §1.10 (Mimi), §2.9a and b (LM). Convolutions are [out, in, kernel] there and [out, kernel, in] here;
transposed ones [in, out, kernel] there and [in, kernel, out] here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

import torch

from ..core import FRAME_SIZE, CheckpointError
from ..nn.lm import LmConfig
from ..nn.mimi import MimiConfig
from . import speech
from .config import Fields
from .pieces import Layout, Parameters, Piece
from .tensors import Sizes, Tensors

Kernels = tuple[int, int, int]


def lm_layout(config: LmConfig) -> Layout:
    """The LM's tensors, in the released order of names."""

    def pieces(ours: Parameters) -> Iterator[Piece]:
        rows = [config.text_card + 1, *[config.card + 1] * config.n_q, 1]  # the last, id -1, is in no file
        text, *codes, _ = torch.split(ours["embeddings"], rows)
        yield Piece.of("text_emb.weight", text)
        if config.demux:
            yield Piece.of("text_emb.out1.weight", ours["text_first.weight"])
            yield Piece.of("text_emb.out2.weight", ours["text_second.weight"])
        for i, table in enumerate(codes):
            yield Piece.of(f"emb.{i}.weight", table)
        for i in range(config.num_layers):
            yield from _lm_layer(ours, f"transformer.layers.{i}", config.cross_attention)
        yield Piece.of("out_norm.alpha", ours["norm.alpha"][None, None])
        yield Piece.of("text_linear.weight", ours["text_head.weight"])
        for i in range(config.extra_heads):
            yield Piece.of(f"extra_heads.{i}.weight", ours["extra_heads"][i])
        yield from speech.depformer_pieces(ours, config)

    return pieces


def _lm_layer(ours: Parameters, at: str, cross: bool) -> Iterator[Piece]:
    yield Piece.of(f"{at}.norm1.alpha", ours[f"{at}.norm1.alpha"][None, None])
    yield Piece.of(f"{at}.norm2.alpha", ours[f"{at}.norm2.alpha"][None, None])
    yield Piece.of(f"{at}.self_attn.in_proj_weight", ours[f"{at}.attention.qkv.weight"])
    yield Piece.of(f"{at}.self_attn.out_proj.weight", ours[f"{at}.attention.out.weight"])
    if cross:
        yield Piece.of(f"{at}.norm_cross.weight", ours[f"{at}.norm_cross.weight"])
        yield Piece.of(f"{at}.norm_cross.bias", ours[f"{at}.norm_cross.bias"])
        yield Piece.of(f"{at}.cross_attention.in_proj_weight", ours[f"{at}.cross.qkv.weight"])
        yield Piece.of(f"{at}.cross_attention.out_proj.weight", ours[f"{at}.cross.out.weight"])
    yield Piece.of(f"{at}.gating.linear_in.weight", ours[f"{at}.feed_forward.inner.weight"])
    yield Piece.of(f"{at}.gating.linear_out.weight", ours[f"{at}.feed_forward.outer.weight"])


def mimi_layout(config: MimiConfig) -> Layout:
    """The codec's tensors."""

    def pieces(ours: Parameters) -> Iterator[Piece]:
        yield from _seanet(ours, "encoder", len(config.ratios), up=False)
        yield from _seanet(ours, "decoder", len(config.ratios), up=True)
        for half, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
            for i in range(layers):
                theirs = f"{half}_transformer.transformer.layers.{i}"
                yield from _mimi_layer(ours, f"{half}_transformer.layers.{i}", theirs)
        yield Piece.of("downsample.conv.conv.conv.weight", ours["downsample.weight"].transpose(1, 2))
        yield Piece.of("upsample.convtr.convtr.convtr.weight", ours["upsample.weight"].permute(2, 0, 1))
        yield from _quantizer(ours, "quantizer.semantic", "quantizer.rvq_first")
        yield from _quantizer(ours, "quantizer.acoustic", "quantizer.rvq_rest")

    return pieces


def _seanet(ours: Parameters, half: str, ratios: int, *, up: bool) -> Iterator[Piece]:
    """Their list counts the ELUs, three entries a ratio; ours does not, two a ratio."""
    blocks, model = f"{half}.blocks", f"{half}.model"
    yield from _conv(ours, f"{blocks}.0", f"{model}.0.conv.conv")
    for i in range(ratios):
        residual, resample = (2, 1) if up else (1, 2)
        theirs = f"{model}.{3 * i + (3 if up else 1)}.block"
        yield from _conv(ours, f"{blocks}.{2 * i + residual}.narrow", f"{theirs}.1.conv.conv")
        yield from _conv(ours, f"{blocks}.{2 * i + residual}.widen", f"{theirs}.3.conv.conv")
        theirs = f"{model}.{3 * i + (2 if up else 3)}." + ("convtr.convtr" if up else "conv.conv")
        yield from _conv(ours, f"{blocks}.{2 * i + resample}", theirs)
    yield from _conv(ours, f"{blocks}.{2 * ratios + 1}", f"{model}.{3 * ratios + 2}.conv.conv")


def _conv(ours: Parameters, at: str, theirs: str) -> Iterator[Piece]:
    yield Piece.of(f"{theirs}.weight", ours[f"{at}.weight"].transpose(1, 2))
    yield Piece.of(f"{theirs}.bias", ours[f"{at}.bias"])


def _mimi_layer(ours: Parameters, at: str, theirs: str) -> Iterator[Piece]:
    for i in (1, 2):
        yield Piece.of(f"{theirs}.norm{i}.weight", ours[f"{at}.norm{i}.weight"])
        yield Piece.of(f"{theirs}.norm{i}.bias", ours[f"{at}.norm{i}.bias"])
        yield Piece.of(f"{theirs}.layer_scale_{i}.scale", ours[f"{at}.scale{i}.scale"])
    yield Piece.of(f"{theirs}.self_attn.in_proj_weight", ours[f"{at}.attention.qkv.weight"])
    yield Piece.of(f"{theirs}.self_attn.out_proj.weight", ours[f"{at}.attention.out.weight"])
    yield Piece.of(f"{theirs}.linear1.weight", ours[f"{at}.feed_forward.inner.weight"])
    yield Piece.of(f"{theirs}.linear2.weight", ours[f"{at}.feed_forward.outer.weight"])


def _quantizer(ours: Parameters, at: str, theirs: str) -> Iterator[Piece]:
    yield Piece.of(f"{theirs}.input_proj.weight", ours[f"{at}.project_in.weight"][:, :, None])
    yield Piece.of(f"{theirs}.output_proj.weight", ours[f"{at}.project_out.weight"][:, :, None])
    for i, book in enumerate(ours[f"{at}.codebooks"]):
        name = f"{theirs}.vq.layers.{i}._codebook"
        usage = torch.ones(len(book), device="cpu")
        yield Piece(f"{name}.embedding_sum", book, tuple(book.shape), divisor=f"{name}.cluster_usage")
        yield Piece(f"{name}.cluster_usage", usage, (len(book),), fixed=True)
        yield Piece(f"{name}._initialized", usage[:1], (1,), fixed=True)


def lm_config(config: Fields, sizes: Sizes) -> LmConfig:
    """Sizes from config.json, but the feed-forward width (two rules exist, §9.2) and the VAD heads from the tensors."""
    heads = config.integer("extra_heads_num_heads", sizes.count("extra_heads.{}.weight"))
    text_card = config.integer("text_card")
    return LmConfig(
        dim=config.integer("dim"),
        num_heads=config.integer("num_heads"),
        num_layers=config.integer("num_layers"),
        hidden=sizes.shape("transformer.layers.0.gating.linear_in.weight", 2)[0] // 2,
        n_q=config.integer("n_q"),
        card=config.integer("card"),
        text_card=text_card,
        text_card_out=config.integer("text_card_out", text_card),
        context=config.integer("context"),
        max_period=config.number("max_period", 10_000.0),
        extra_heads=heads,
        extra_heads_dim=sizes.shape("extra_heads.0.weight", 2)[0] if heads else 0,
        depformer=speech.depformer_config(config, sizes),
        delays=speech.delays(config) if config.integer("dep_q", 0) else (),
        demux=config.flag("demux_second_stream"),
        cross_attention=config.flag("cross_attention"),
    )


def hear_fewer(config: LmConfig, tensors: Tensors, codebooks: int) -> tuple[LmConfig, Tensors]:
    """An LM that hears only the first `codebooks`, as moshi-server's `audio_codebooks` has it."""
    if not 1 <= codebooks <= config.n_q:
        raise CheckpointError(f"{tensors.where}: the LM hears 1 to {config.n_q} codebooks, not {codebooks}")
    unheard = {f"emb.{i}.weight" for i in range(codebooks, config.n_q)}
    return replace(config, n_q=codebooks), tensors.select(lambda name: None if name in unheard else name)


def mimi_config(sizes: Sizes, attention: dict[str, Any]) -> MimiConfig:
    """Sizes from the tensors (spec/model.md §1.1); `attention` has heads, context and max_period where known."""
    strided = [i for i in range(3, 99, 3) if f"encoder.model.{i}.conv.conv.weight" in sizes]
    ratios = tuple(sizes.shape(f"encoder.model.{i}.conv.conv.weight", 3)[2] // 2 for i in strided)
    last = 3 * len(ratios) + 2
    bins, width = sizes.shape("quantizer.rvq_first.vq.layers.0._codebook.embedding_sum", 2)
    config = MimiConfig(
        encoder_filters=sizes.shape("encoder.model.0.conv.conv.weight", 3)[0],
        decoder_filters=sizes.shape(f"decoder.model.{last}.conv.conv.weight", 3)[1],
        ratios=ratios,
        kernels=_kernels(sizes, "encoder", "encoder.model.1", last),
        decoder_kernels=_kernels(sizes, "decoder", "decoder.model.3", last),
        dimension=sizes.shape("downsample.conv.conv.conv.weight", 3)[1],
        encoder_layers=sizes.count("encoder_transformer.transformer.layers.{}.norm1.weight"),
        decoder_layers=sizes.count("decoder_transformer.transformer.layers.{}.norm1.weight"),
        hidden=sizes.shape("encoder_transformer.transformer.layers.0.linear1.weight", 2)[0],
        codebooks=1 + sizes.count("quantizer.rvq_rest.vq.layers.{}._codebook.embedding_sum"),
        bins=bins,
        codebook_dim=width,
        **attention,
    )
    if 2 * prod(ratios) != FRAME_SIZE:
        raise CheckpointError(f"{sizes.tensors.where}: frames of {2 * prod(ratios)} samples, expected {FRAME_SIZE}")
    return config


def _kernels(sizes: Sizes, half: str, residual: str, last: int) -> Kernels:
    names = f"{half}.model.0.conv.conv", f"{residual}.block.1.conv.conv", f"{half}.model.{last}.conv.conv"
    first, inner, final = (sizes.shape(f"{name}.weight", 3)[2] for name in names)
    return first, inner, final


def mimi_attention(config: Fields, mimi: Fields | None) -> dict[str, Any]:
    """What no tensor shows: from a "mimi" object in config.json, or from the reference's own codec description."""
    own = config.section("mimi")
    theirs = Fields(config.where, {}) if mimi is None else mimi.section("transformer")
    return {
        "heads": own.integer("num_heads", theirs.integer("num_heads", 8)),
        "context": own.integer("context", theirs.integer("context", 250)),
        "max_period": own.number("max_period", theirs.number("max_period", 10_000.0)),
    }


def check_supported(config: Fields) -> None:
    """Raise CheckpointError for a model of another kind, or a variant of the architecture that was never released."""
    kind = config.values.get("model_type", "stt")
    if kind != "stt" or config.integer("dep_q"):
        raise CheckpointError(f"{config.where}: a {kind} model that speaks (dep_q > 0), not a speech-to-text model")
    config.demand("gating", "silu")
    config.demand("norm", "rms_norm_f32")
    config.demand("positional_embedding", "rope")
    for switch in ("quantize", "lora", "demux_second_stream", "cross_attention"):
        config.demand(switch, False)
    config.demand("conditioners", {})
    config.demand("delays", [0] * (config.integer("n_q") + 1))
