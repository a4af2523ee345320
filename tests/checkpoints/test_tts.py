"""Text-to-speech checkpoints: what is written is what is read, strictly, and the released files' names are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vivavoce.checkpoints import Instead, TtsModel, load_stt, load_tts, pytorch, save_tts, speech
from vivavoce.checkpoints.config import Fields
from vivavoce.checkpoints.pieces import check
from vivavoce.checkpoints.random_tts import TTS_SHAPES
from vivavoce.checkpoints.save_tts import config_json
from vivavoce.checkpoints.tensors import Sizes
from vivavoce.core import CheckpointError, UnsupportedError
from vivavoce.engine import TtsEngine, TtsOptions
from vivavoce.nn.conditions import Conditions
from vivavoce.nn.lm import Lm

from ..speech_models import DISTILLED, PLAIN, small_tts
from .test_released_shapes import Listing, sentencepiece_of


@pytest.fixture(params=["distilled", "plain", "one text stream"])
def spoken(request: pytest.FixtureRequest, tokenizer: bytes) -> TtsModel:
    """The kinds that there are, and one simpler than any."""
    if request.param == "one text stream":
        simple = {"demux": False, "depformer": replace(small_tts(tokenizer).lm.config.depformer, rank=0)}  # type: ignore[type-var]
        return small_tts(tokenizer, PLAIN, lm=simple)
    return small_tts(tokenizer, DISTILLED if request.param == "distilled" else PLAIN)


def networks(model: TtsModel) -> tuple[nn.Module, ...]:
    return model.lm, model.mimi, model.conditions


def test_a_saved_model_loads_with_the_same_weights_and_settings(spoken: TtsModel, tmp_path: Path) -> None:
    save_tts(spoken, tmp_path / "small", dtype=torch.float32)
    loaded = load_tts(tmp_path / "small", device="cpu")
    for ours, theirs in zip(networks(spoken), networks(loaded), strict=True):
        expected, found = ours.state_dict(), theirs.state_dict()
        assert expected.keys() == found.keys()
        assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
        assert ours.config == theirs.config
    voice_suffix = ".none@0.safetensors" if spoken.voice_dim else ""
    assert loaded.config == replace(spoken.config, voice_suffix=voice_suffix)
    assert loaded.tokenizer.encode("viva voce") == spoken.tokenizer.encode("viva voce")


def test_conditioners_stay_fp32_in_a_half_precision_file(tmp_path: Path, tokenizer: bytes) -> None:
    save_tts(small_tts(tokenizer), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    fp32 = {name for name, tensor in tensors.items() if tensor.dtype == torch.float32}
    assert fp32 == {name for name in tensors if name.startswith("condition_provider.")}
    loaded = load_tts(tmp_path, device="cpu", dtype="bf16")
    assert loaded.lm.embeddings.dtype == torch.bfloat16
    assert loaded.conditions["cfg"].project.weight.dtype == torch.float32


def test_a_codec_may_lie_in_another_models_folder(tmp_path: Path, tokenizer: bytes) -> None:
    model = small_tts(tokenizer)
    save_tts(model, tmp_path / "one")
    save_tts(model, tmp_path / "two", codec="../one")
    assert not list((tmp_path / "two").glob("mimi*"))
    assert load_tts(tmp_path / "two", device="cpu").mimi.config == model.mimi.config


@pytest.mark.parametrize(
    "name",
    [
        "depformer.layers.1.gating.2.linear_in.weight",
        "depformer_emb.0.low_rank.weight",
        "depformer_text_emb.out2.weight",
        "condition_provider.conditioners.cfg.embed.weight",
        "transformer.layers.0.norm_cross.bias",
        "text_emb.out1.weight",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "misshapen"])
def test_a_missing_or_misshapen_tensor_is_named(name: str, damage: str, tmp_path: Path, tokenizer: bytes) -> None:
    save_tts(small_tts(tokenizer), tmp_path)
    tensors: dict[str, Tensor] = load_file(tmp_path / "model.safetensors")
    tensor = tensors.pop(name)
    if damage == "misshapen":
        tensors[name] = torch.cat([tensor, tensor[:1]])
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_tts(tmp_path, device="cpu")


@pytest.mark.parametrize("name", ["depformer_emb.9.weight", "condition_provider.conditioners.mood.embed.weight"])
def test_an_unexpected_tensor_is_named(name: str, tmp_path: Path, tokenizer: bytes) -> None:
    save_tts(small_tts(tokenizer), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors[name] = torch.zeros(2)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.") + r" \[2\] is not part of this model"):
        load_tts(tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dep_q": 2}, "dep_q is 2, only 4 is supported"),
        ({"model_type": "stt"}, "a stt model that does not speak"),
        ({"delays": [0, 0, 2]}, r"delays is \[0, 0, 2\]"),
        ({"depformer_weights_per_step_schedule": [0, 1, 3, 3]}, r"schedule is \[0, 1, 3, 3\]"),
        ({"depformer_pos_emb": "sin"}, "depformer_pos_emb is 'sin'"),
        ({"fuser": {"sum": ["cfg"]}}, r"fuses \['cfg'\], the conditioners are"),
        ({"tts_config": {}}, "audio_delay is missing"),
        ({"tts_config": {"audio_delay": 1, "multistream": True}}, "multistream is True"),
    ],
)
def test_what_cannot_be_spoken_is_told(change: dict[str, Any], told: str, tmp_path: Path, tokenizer: bytes) -> None:
    save_tts(small_tts(tokenizer), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=told):
        load_tts(tmp_path, device="cpu")


def test_a_model_that_speaks_is_not_one_that_hears(tmp_path: Path, tokenizer: bytes) -> None:
    save_tts(small_tts(tokenizer), tmp_path)
    with pytest.raises(CheckpointError, match="a tts model that speaks"):
        load_stt(tmp_path, device="cpu")


def test_fewer_codebooks_are_a_setting(tmp_path: Path, tokenizer: bytes) -> None:
    save_tts(small_tts(tokenizer), tmp_path)
    assert load_tts(tmp_path, device="cpu", instead=Instead(codebooks=2)).config.codebooks == 2
    with pytest.raises(CheckpointError, match="speaks 1 to 4 codebooks, not 5"):
        load_tts(tmp_path, device="cpu", instead=Instead(codebooks=5))


def test_another_tokenizer_is_refused(tmp_path: Path, tokenizer: bytes) -> None:
    save_tts(small_tts(tokenizer, lm={"text_card": 40}), tmp_path)
    with pytest.raises(CheckpointError, match=r"the tokenizer has \d+ pieces, but the model hears 40"):
        load_tts(tmp_path, device="cpu")


def test_the_released_names_and_shapes_are_exactly_the_expected_ones(listed: Callable[[str], Any]) -> None:
    """From config.json as spec/model.md §6 gives it, which our own writer must produce too."""
    listing = Listing(listed("tts-1.6b-pytorch"))
    shape = TTS_SHAPES["tts-1.6b"]
    config = Fields("config.json", config_json(shape.settings, shape.lm, shape.conditions))
    speech.check_supported(config)
    lm, conditions = pytorch.lm_config(config, Sizes(listing)), speech.conditions_config(config)
    assert (lm, conditions) == (shape.lm, shape.conditions)
    with torch.device("meta"):
        parts = Lm(lm), Conditions(conditions)
    layouts = pytorch.lm_layout(lm), speech.conditions_layout(conditions)
    check(
        [piece for part, layout in zip(parts, layouts, strict=True) for piece in layout(dict(part.named_parameters()))],
        listing,
    )
    assert config.integer("depformer_dim_feedforward") == 3072


def test_noise_of_a_shape_can_be_had(tmp_path: Path) -> None:
    model = load_tts("random:tts-tiny", device="cpu")
    assert (model.guidances, model.voice_dim) == ((1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0), 64)
    assert model.tokenizer.GetPieceSize() == model.lm.config.text_card
    with pytest.raises(UnsupportedError, match=r"random:tts-9b is not one of random:tts-tiny, random:tts-0\.75b"):
        load_tts("random:tts-9b")


def zeros_file(path: Path, listed: dict[str, tuple[tuple[int, ...], str]]) -> None:
    """A safetensors file of these tensors that takes no room on the disk: all of it is a hole."""
    sizes, end, header = {"F32": 4, "BF16": 2}, 0, dict[str, Any]()
    for name, (shape, dtype) in listed.items():
        begin, end = end, end + prod(shape) * sizes[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    head = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        file.truncate(8 + len(head) + end)


@pytest.mark.slow
def test_the_full_size_model_loads_and_steps(listed: Callable[[str], Any], tmp_path: Path) -> None:
    """Zeros in every tensor: all that is tried here is that 1.8 billion of them find their places."""
    shape = TTS_SHAPES["tts-1.6b"]
    zeros_file(tmp_path / "model.safetensors", listed("tts-1.6b-pytorch"))
    zeros_file(tmp_path / "mimi.safetensors", listed("mimi-pytorch"))
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_of(8000))
    config = config_json(shape.settings, shape.lm, shape.conditions)
    del config["mimi_config_name"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load_tts(tmp_path, device="cpu")
    assert (loaded.lm.embeddings.dtype, loaded.conditions["cfg"].padding.dtype) == (torch.bfloat16, torch.float32)
    assert sum(p.numel() for p in loaded.lm.parameters()) + sum(p.numel() for p in loaded.conditions.parameters()) == (
        1_836_550_272 - 1024 * 128 + 2048  # without the matrix that nothing reads, with the row for -1
    )
    engine = TtsEngine(loaded, 1)
    engine.open(0, TtsOptions((np.ones((125, 512), np.float32),), cfg=2.0))
    assert engine.step({0: lambda _: 3})[0].codes == (-1,) * 32
    assert loaded.lm.depformer is not None
    hidden, text = torch.ones(1, 2048, dtype=torch.bfloat16), torch.tensor([3])
    assert loaded.lm.depformer.generate(hidden, text, lambda logits, _: logits.argmax(-1)).shape == (1, 32)


Named = dict[str, tuple[tuple[int, ...], str]]


def smaller(large: Named) -> Named:
    """The 0.75B's file, of which only the sizes are told (spec/model.md §1): what the 1.6B has, without its voices and
    what hears them, half as wide, in 24 layers, with 16 codebooks, nine weights of the depformer and five answers."""
    found: Named = {}
    for name, (shape, kind) in large.items():
        parts = name.split(".")
        if parts[0] == "condition_provider" or "cross" in name or _beyond(parts):
            continue
        if parts[0] == "transformer":
            if parts[2] != "0":
                continue
            narrow = tuple(size if size == 1 else size // 2 for size in shape)
            found |= {".".join([*parts[:2], str(layer), *parts[3:]]): (narrow, kind) for layer in range(24)}
        elif parts[0] == "depformer":
            if len(parts) > 4 and parts[3] == "gating" and int(parts[4]) >= WEIGHTS:
                continue
            scheduled = {33_792: 3 * 1024 * WEIGHTS, 11_264: 1024 * WEIGHTS}
            found[name] = tuple(scheduled.get(size, size) for size in shape), kind
        elif parts[0] in ("emb", "text_emb", "out_norm", "depformer_in"):
            found[name] = tuple(1024 if size == 2048 else size for size in shape), kind
        else:
            found[name] = shape, kind
    found["text_linear.weight"] = (5, 1024), "BF16"
    return found


def _beyond(parts: list[str]) -> bool:
    return parts[0] in _MOST and int(parts[1]) >= _MOST[parts[0]]


WEIGHTS = 9  # of each of the depformer's layers
_MOST = {"emb": 16, "linears": 16, "depformer_emb": 15, "depformer_in": WEIGHTS}


@pytest.mark.slow
def test_the_smaller_full_size_model_goes_on_from_a_recording_with_real_guidance(
    listed: Callable[[str], Any], tmp_path: Path
) -> None:
    """Every name and shape of it, strictly; two rows a stream; audio comes when the delays have passed."""
    shape, tensors = TTS_SHAPES["tts-0.75b"], smaller(listed("tts-1.6b-pytorch"))
    assert sum(prod(size) for size, _ in tensors.values()) == pytest.approx(781e6, rel=0.01)  # spec/model.md §6
    zeros_file(tmp_path / "model.safetensors", tensors)
    zeros_file(tmp_path / "mimi.safetensors", listed("mimi-pytorch"))
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_of(8000))
    config = config_json(shape.settings, shape.lm, shape.conditions)
    assert (config["context"], config["max_period"], config["hidden_scale"], config["text_card"]) == (
        500, 10_000, 4.125, 8000,
    )  # fmt: skip
    assert config["demux_second_stream"]
    del config["mimi_config_name"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load_tts(tmp_path, device="cpu")
    assert (loaded.guidances, loaded.voice_dim) == ((), 0)
    engine, prefix = TtsEngine(loaded, 1), np.zeros((4, 16), np.int32)
    engine.open(0, TtsOptions(prefix=prefix, cfg=2.0, temperature=0))
    assert engine._streams[0].guided
    steps = [engine.step({0: lambda _: 3})[0] for _ in range(engine.first_audio_step + 1)]
    assert [step.audio is not None for step in steps] == [False] * engine.first_audio_step + [True]
    assert steps[-1].codes == (0,) * 16
