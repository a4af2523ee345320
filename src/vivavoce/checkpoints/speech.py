"""What only models that speak have, in the released PyTorch layout: depformer, conditioners, delays.

spec/model.md §2.5, §2.6, §2.9a. A model that hears has none of these names.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..core import CheckpointError
from ..nn.conditions import ConditionerConfig, ConditionsConfig
from ..nn.depformer import DepformerConfig
from ..nn.lm import LmConfig
from .config import Fields
from .pieces import Layout, Parameters, Piece
from .tensors import Sizes, Tensors

CONDITIONS = "condition_provider.conditioners."


def depformer_pieces(ours: Parameters, config: LmConfig) -> Iterator[Piece]:
    """The depformer's tensors; none for a model that only hears."""
    depformer = config.depformer
    if depformer is None:
        return
    yield from _text_pieces(ours, depformer, config.demux)
    for k in range(depformer.dep_q - 1):
        yield Piece.of(f"depformer_emb.{k}.weight", ours["depformer.tables"][k])
        if depformer.rank:
            yield Piece.of(f"depformer_emb.{k}.low_rank.weight", ours["depformer.widen"][k])
    for index in range(depformer.sets):
        yield Piece.of(f"depformer_in.{index}.weight", ours["depformer.project"][index])
    for i in range(depformer.num_layers):
        yield from _layer_pieces(ours, f"depformer.layers.{i}", depformer.sets)
    for k in range(depformer.dep_q):
        yield Piece.of(f"linears.{k}.weight", ours["depformer.heads"][k])


def _text_pieces(ours: Parameters, depformer: DepformerConfig, demux: bool) -> Iterator[Piece]:
    at = "depformer_text_emb"
    yield Piece.of(f"{at}.weight", ours["depformer.text_table"])
    if demux:
        for i in range(2):
            yield Piece.of(f"{at}.out{i + 1}.weight", ours["depformer.text_widen"][i])
        if depformer.rank:  # in the files, but nothing reads it (spec §9.15)
            unused = torch.zeros(depformer.dim, depformer.rank, device="cpu")
            yield Piece(f"{at}.low_rank.weight", unused, tuple(unused.shape), fixed=True)
    elif depformer.rank:
        yield Piece.of(f"{at}.low_rank.weight", ours["depformer.text_widen"][0])


def _layer_pieces(ours: Parameters, at: str, sets: int) -> Iterator[Piece]:
    yield Piece.of(f"{at}.norm1.alpha", ours[f"{at}.norm1.alpha"][None, None])
    yield Piece.of(f"{at}.norm2.alpha", ours[f"{at}.norm2.alpha"][None, None])
    yield Piece.of(f"{at}.self_attn.in_proj_weight", ours[f"{at}.qkv.weight"].flatten(0, 1))
    yield Piece.of(f"{at}.self_attn.out_proj.weight", ours[f"{at}.out.weight"].flatten(0, 1))
    for index in range(sets):
        yield Piece.of(f"{at}.gating.{index}.linear_in.weight", ours[f"{at}.inner.weight"][index])
        yield Piece.of(f"{at}.gating.{index}.linear_out.weight", ours[f"{at}.outer.weight"][index])


def conditions_layout(config: ConditionsConfig) -> Layout:
    """The conditioners' tensors, always fp32."""

    def pieces(ours: Parameters) -> Iterator[Piece]:
        for conditioner in config.conditioners:
            at, theirs = f"conditioners.{conditioner.name}", f"{CONDITIONS}{conditioner.name}"
            if conditioner.bins:
                yield Piece.of(f"{theirs}.embed.weight", ours[f"{at}.table"])
            yield Piece.of(f"{theirs}.output_proj.weight", ours[f"{at}.project.weight"])
            yield Piece.of(f"{theirs}.learnt_padding", ours[f"{at}.padding"][None, None])

    return pieces


def split(tensors: Tensors) -> tuple[Tensors, Tensors]:
    """The tensors of the LM and those of the conditioners."""
    lm = tensors.select(lambda name: None if name.startswith(CONDITIONS) else name)
    return lm, tensors.select(lambda name: name if name.startswith(CONDITIONS) else None)


def depformer_config(config: Fields, sizes: Sizes) -> DepformerConfig | None:
    """Sizes from config.json, the feed-forward width from the tensors."""
    dep_q = config.integer("dep_q", 0)
    if not dep_q:
        return None
    schedule = config.integers("depformer_weights_per_step_schedule") or tuple(range(dep_q))
    if len(schedule) != dep_q or {*schedule} != {*range(max(schedule) + 1)}:
        raise CheckpointError(
            f"{config.where}: depformer_weights_per_step_schedule is {list(schedule)}, "
            f"expected a set of weights for each of {dep_q} codebooks, none left out"
        )
    return DepformerConfig(
        dim=config.integer("depformer_dim"),
        num_heads=config.integer("depformer_num_heads"),
        num_layers=config.integer("depformer_num_layers"),
        hidden=sizes.shape("depformer.layers.0.gating.0.linear_in.weight", 2)[0] // 2,
        schedule=schedule,
        rank=config.integer("depformer_low_rank_embeddings", 0),
    )


def delays(config: Fields) -> tuple[int, ...]:
    """Of the codebooks; the text has none."""
    text, *codes = config.integers("delays") or (0,) * (config.integer("n_q") + 1)
    if text or len(codes) != config.integer("n_q"):
        raise CheckpointError(
            f"{config.where}: delays is {[text, *codes]}, expected 0 and then one for each of "
            f"{config.integer('n_q')} codebooks"
        )
    return tuple(codes)


def conditions_config(config: Fields) -> ConditionsConfig:
    """The conditioners and how they are fused."""
    fuser, conditioners = config.section("fuser"), config.section("conditioners")
    fuser.demand("prepend", [])
    found = tuple(_conditioner(name, conditioners.section(name)) for name in conditioners.values)
    added, crossed = fuser.strings("sum"), fuser.strings("cross")
    known = {conditioner.name for conditioner in found}
    if {*added, *crossed} != known:
        raise CheckpointError(
            f"{fuser.where}: fuses {sorted({*added, *crossed})}, the conditioners are {sorted(known)}"
        )
    return ConditionsConfig(
        dim=config.integer("dim"),
        conditioners=found,
        added=added,
        crossed=crossed,
        positions=fuser.flag("cross_attention_pos_emb"),
        scale=fuser.number("cross_attention_pos_emb_scale", 1.0),
    )


def _conditioner(name: str, config: Fields) -> ConditionerConfig:
    kind = config.text("type")
    config.demand("type", "lut", "tensor")
    sizes = config.section(kind)
    sizes.demand("learn_padding", True)
    sizes.demand("output_bias", False)
    if kind == "tensor":
        return ConditionerConfig(name, sizes.integer("dim"))
    sizes.demand("tokenizer", "noop")
    values = sizes.strings("possible_values")
    bins = sizes.integer("n_bins")
    if not 0 < len(values) <= bins:
        raise CheckpointError(f"{sizes.where}: {len(values)} possible_values in {bins} n_bins")
    return ConditionerConfig(name, sizes.integer("dim"), bins, values)


def check_supported(config: Fields) -> None:
    """Raise CheckpointError for a model of another kind, or a variant of the architecture that was never released."""
    kind = config.values.get("model_type", "tts")
    if kind != "tts" or not config.integer("dep_q", 0):
        raise CheckpointError(f"{config.where}: a {kind} model that does not speak, not a text-to-speech model")
    config.demand("dep_q", config.integer("n_q"))
    config.demand("gating", "silu")
    config.demand("norm", "rms_norm_f32")
    config.demand("positional_embedding", "rope")
    config.demand("depformer_pos_emb", "none")
    for needed in ("depformer_multi_linear", "depformer_weights_per_step"):
        config.demand(needed, True)
    for switch in ("quantize", "lora"):
        config.demand(switch, False)
    config.demand("extra_heads_num_heads", 0)
    config.demand("existing_text_padding_id", 3)
    config.section("tts_config").demand("multistream", False)
