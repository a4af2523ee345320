"""Files with every name, shape and dtype of the released ones (spec/names), random inside, load strictly and step."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from safetensors.torch import save_file
from torch import Tensor

from vivavoce.checkpoints import SttModel, load_stt, pytorch, save_stt, tensors, trfs
from vivavoce.checkpoints.config import Fields
from vivavoce.checkpoints.pieces import Layout, check
from vivavoce.core import CheckpointError
from vivavoce.nn.lm import Lm, LmConfig
from vivavoce.nn.rows import Rows

RELEASED: dict[str, dict[str, Any]] = {
    "stt-1b": {"num_heads": 16, "num_layers": 16, "context": 750, "text_card": 8000, "delay": 0.5},
    "stt-2.6b": {"num_heads": 32, "num_layers": 48, "context": 375, "text_card": 4000, "delay": 2.5},
}
NAMES = [f"{model}-{layout}" for model in RELEASED for layout in ("pytorch", "candle")]


def released_config(name: str) -> dict[str, Any]:
    """config.json as spec/model.md §6 gives it."""
    sizes = RELEASED[name.rpartition("-")[0]]
    heads = {"extra_heads_num_heads": 4, "extra_heads_dim": 6} if name == "stt-1b-candle" else {}
    return {
        "card": 2048, "n_q": 32, "dep_q": 0, "delays": [0] * 33, "dim": 2048, "text_card": sizes["text_card"],
        "existing_text_padding_id": 3, "num_heads": sizes["num_heads"], "num_layers": sizes["num_layers"],
        "hidden_scale": 4.125, "causal": True, "layer_scale": None, "context": sizes["context"],
        "max_period": 100000.0, "gating": "silu", "norm": "rms_norm_f32", "positional_embedding": "rope",
        "depformer_dim": 1024, "depformer_num_heads": 16, "depformer_num_layers": 6,
        "depformer_dim_feedforward": None, "depformer_multi_linear": True, "depformer_pos_emb": "none",
        "depformer_weights_per_step": True, "conditioners": {}, "cross_attention": False,
        "lm_gen_config": {"temp": 0.0, "temp_text": 0.0, "top_k": 250, "top_k_text": 50},
        "stt_config": {"audio_delay_seconds": sizes["delay"], "audio_silence_prefix_seconds": 0.0},
        "model_type": "stt", "mimi_name": "mimi.safetensors", "tokenizer_name": "tokenizer.model", **heads,
    }  # fmt: skip


class Listing(tensors.Tensors):
    """Names and shapes without a file."""

    def __init__(self, listed: dict[str, tuple[tuple[int, ...], str]]) -> None:
        self.where = "listing"
        self.shapes = {name: shape for name, (shape, _) in listed.items()}
        self._names = dict.fromkeys(listed)  # type: ignore[assignment]


def layout_on_meta(config: LmConfig) -> Layout:
    with torch.device("meta"):
        lm = Lm(config)
    return lambda _: pytorch.lm_layout(config)(dict(lm.named_parameters()))


@pytest.mark.parametrize("name", NAMES)
def test_the_released_names_and_shapes_are_exactly_the_expected_ones(name: str, listed: Callable[[str], Any]) -> None:
    listing = Listing(listed(name))
    config = pytorch.lm_config(Fields("config.json", released_config(name)), tensors.Sizes(listing))
    assert config.hidden == 5632
    assert config.extra_heads == (4 if name == "stt-1b-candle" else 0)
    check(layout_on_meta(config)({}), listing)


def test_a_speech_synthesis_model_does_not_pass_for_one(listed: Callable[[str], Any]) -> None:
    listing = Listing(listed("tts-1.6b-pytorch"))
    config = pytorch.lm_config(Fields("config.json", released_config("stt-1b-pytorch")), tensors.Sizes(listing))
    with pytest.raises(CheckpointError, match="is not part of this model"):
        check(layout_on_meta(config)({}), listing)


def random_file(path: Path, listed: dict[str, tuple[tuple[int, ...], str]]) -> None:
    contents: dict[str, Tensor] = {}
    for name, (shape, dtype) in listed.items():
        contents[name] = torch.empty(shape, dtype=tensors.DTYPES[dtype]).normal_(0, 0.02)
        if name.endswith(("cluster_usage", "alpha")):
            contents[name].fill_(1)
    save_file(contents, path)


def test_both_layouts_share_the_codec(listed: Callable[[str], Any]) -> None:
    assert listed("mimi-pytorch") == listed("mimi-candle")


def test_a_codec_of_the_released_shapes_loads_and_encodes(
    listed: Callable[[str], Any], make_model: Callable[..., SttModel], tmp_path: Path, tokenizer: bytes
) -> None:
    save_stt(make_model(lm={"card": 2048}, mimi={"bins": 2048}), tmp_path, tokenizer=tokenizer)
    random_file(tmp_path / "mimi.safetensors", listed("mimi-pytorch"))
    (tmp_path / "mimi.json").write_text("{}")
    mimi = load_stt(tmp_path, device="cpu").mimi
    assert (mimi.config.codebooks, mimi.config.bins, mimi.config.ratios) == (32, 2048, (4, 5, 6, 8))
    assert (mimi.config.kernels, mimi.config.decoder_kernels) == ((7, 3, 3), (7, 3, 3))
    with torch.no_grad():
        codes = mimi.encode(torch.randn(1, 1920), mimi.encoder_state(1), Rows([0]))
        assert codes.shape == (1, 1, 32)
        assert mimi.decode(codes).shape == (1, 1920)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stt-1b-pytorch", "stt-1b-candle"])
def test_the_full_size_model_loads_within_its_own_size_and_steps(
    name: str, listed: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_file(tmp_path / "model.safetensors", listed(name))
    random_file(tmp_path / "mimi.safetensors", listed("mimi-pytorch"))
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_of(8000))
    (tmp_path / "config.json").write_text(json.dumps(released_config(name)))
    before, peaks, get = private_bytes(), [0], tensors.Tensors.__getitem__

    def measured(self: tensors.Tensors, tensor: str) -> Tensor:
        peaks.append(private_bytes())
        return get(self, tensor)

    monkeypatch.setattr(tensors.Tensors, "__getitem__", measured)
    loaded = load_stt(tmp_path, device="cpu")
    size = sum(file.stat().st_size for file in tmp_path.glob("*.safetensors"))
    assert max(peaks) - before < 1.1 * size
    assert loaded.lm.embeddings.dtype == torch.bfloat16
    with torch.no_grad():
        logits, pauses = loaded.lm(*loaded.lm.start(1), loaded.lm.state(1), Rows([0]))
    assert (logits.shape[-1], pauses.shape[-2]) == (8000, 4 if name == "stt-1b-candle" else 0)
    assert logits.isfinite().all()


def private_bytes() -> int:
    """Memory of this process that no file backs."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon"))) * 1024


def sentencepiece_of(size: int) -> bytes:
    """A tokenizer with `size` pieces, four of them reserved."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(f"word{i}" for i in range(size - 4)),
        model_writer=model,
        model_type="word",
        vocab_size=size,
        pad_id=3,
        minloglevel=2,
    )
    return model.getvalue()


# --- the layout of transformers ---


@torch.no_grad()
def write_trfs(model: SttModel, folder: Path, tokenizer: bytes) -> dict[str, Tensor]:
    """The same model as transformers would save it, in two shards; tests/reference has transformers itself do it."""
    contents: dict[str, Tensor] = {}
    layouts = (model.lm, trfs.lm_layout(model.lm.config)), (model.mimi, trfs.mimi_layout(model.mimi.config))
    for network, layout in layouts:
        for piece in layout(dict(network.named_parameters())):
            contents[piece.name] = torch.zeros(piece.shape)
            contents[piece.name].view(-1)[: piece.ours.numel()] = piece.ours.flatten()
    names = sorted(contents)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, members in shards.items():
        save_file({name: contents[name] for name in members}, folder / shard)
    weight_map = {name: shard for shard, members in shards.items() for name in members}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "preprocessor_config.json").write_text(json.dumps({"audio_delay_seconds": 0.5}))
    (folder / "tokenizer.model").write_bytes(tokenizer)
    lm, mimi = model.lm.config, model.mimi.config
    config = {
        "model_type": trfs.MODEL_TYPE, "hidden_size": lm.dim, "num_attention_heads": lm.num_heads,
        "num_hidden_layers": lm.num_layers, "ffn_dim": 2 * lm.hidden, "num_codebooks": lm.n_q,
        "codebook_vocab_size": lm.card + 1, "vocab_size": lm.text_card + 1, "sliding_window": lm.context,
        "rope_theta": lm.max_period,
        "codec_config": {"num_attention_heads": mimi.heads, "sliding_window": mimi.context},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return contents


@pytest.fixture
def spoken(make_model: Callable[..., SttModel]) -> SttModel:
    return make_model(lm={"extra_heads": 0, "extra_heads_dim": 0})


def test_a_transformers_folder_loads_as_the_same_model(spoken: SttModel, tmp_path: Path, tokenizer: bytes) -> None:
    write_trfs(spoken, tmp_path, tokenizer)
    loaded = load_stt(tmp_path, device="cpu")
    assert (loaded.lm.config, loaded.mimi.config) == (spoken.lm.config, spoken.mimi.config)
    for ours, theirs in ((spoken.lm, loaded.lm), (spoken.mimi, loaded.mimi)):
        expected, found = ours.state_dict(), theirs.state_dict()
        assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def test_a_transformers_file_in_one_piece_loads_too(spoken: SttModel, tmp_path: Path, tokenizer: bytes) -> None:
    contents = write_trfs(spoken, tmp_path, tokenizer)
    (tmp_path / "model.safetensors.index.json").unlink()
    save_file(contents, tmp_path / "model.safetensors")
    assert torch.equal(load_stt(tmp_path, device="cpu").lm.embeddings, spoken.lm.embeddings)


@pytest.mark.parametrize(
    "name", ["codec_model.upsample.conv.weight", "model.layers.1.self_attn.k_proj.linear.weight", "lm_head.weight"]
)
def test_a_tensor_missing_from_a_transformers_folder_is_named_as_there(
    name: str, spoken: SttModel, tmp_path: Path, tokenizer: bytes
) -> None:
    contents = write_trfs(spoken, tmp_path, tokenizer)
    (tmp_path / "model.safetensors.index.json").unlink()
    del contents[name]
    save_file(contents, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=name):
        load_stt(tmp_path, device="cpu")


def test_a_missing_shard_is_named(spoken: SttModel, tmp_path: Path, tokenizer: bytes) -> None:
    write_trfs(spoken, tmp_path, tokenizer)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors is missing"):
        load_stt(tmp_path, device="cpu")


def test_the_released_transformers_names_follow_from_the_released_shapes() -> None:
    """Sizes of spec/model.md §2.9c: 69,570 embedding rows for the 2.6B, 73,570 for the 1B."""
    for text_card, rows in ((4000, 69_570), (8000, 73_570)):
        config = LmConfig(2048, 32, 1, 5632, 32, 2048, text_card, text_card, 375, 1e5)
        with torch.device("meta"):
            lm = Lm(config)
        shapes = {piece.name: piece.shape for piece in trfs.lm_layout(config)(dict(lm.named_parameters()))}
        assert shapes["model.embed_tokens.embed_tokens.weight"] == (rows, 2048)
        assert shapes["lm_head.weight"] == (text_card + 1, 2048)
        assert shapes["model.layers.0.mlp.fc1.weight"] == (11_264, 2048)
