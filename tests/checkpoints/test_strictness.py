"""Every wrong file is refused with one line that names what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch

from vivavoce.checkpoints import SttModel, load_stt, load_tts, save_stt
from vivavoce.checkpoints.assembly import torch_dtype
from vivavoce.core import CheckpointError, UnsupportedError

Edit = Callable[..., None]
SAMPLES = [
    ("model.safetensors", "transformer.layers.1.norm2.alpha"),
    ("model.safetensors", "emb.3.weight"),
    ("model.safetensors", "extra_heads.1.weight"),
    ("model.safetensors", "transformer.layers.0.gating.linear_in.weight"),
    ("mimi.safetensors", "decoder.model.5.convtr.convtr.bias"),
    ("mimi.safetensors", "encoder.model.0.conv.conv.weight"),
    ("mimi.safetensors", "quantizer.rvq_rest.vq.layers.1._codebook.cluster_usage"),
    ("mimi.safetensors", "encoder_transformer.transformer.layers.1.layer_scale_2.scale"),
]


def refusal(folder: Path | str, **options: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_stt(folder, device="cpu", **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("file", "name"), SAMPLES)
def test_a_missing_tensor_is_named(file: str, name: str, folder: Path, edit: Edit) -> None:
    edit(file, lambda tensors: tensors.pop(name))
    assert f"{name} " in refusal(folder)


@pytest.mark.parametrize("file", ["model.safetensors", "mimi.safetensors"])
def test_an_unexpected_tensor_is_named_with_its_shape(file: str, folder: Path, edit: Edit) -> None:
    edit(file, lambda tensors: tensors.update({"depformer.weight": torch.zeros(2, 3)}))
    assert "depformer.weight [2, 3] is not part of this model" in refusal(folder)


def test_a_misshapen_tensor_is_named_with_both_shapes(folder: Path, edit: Edit) -> None:
    edit("model.safetensors", lambda tensors: tensors.update({"out_norm.alpha": torch.ones(64)}))
    assert "out_norm.alpha has shape [64], expected [1, 1, 64]" in refusal(folder)


def test_a_tensor_with_the_wrong_number_of_dimensions_is_named(folder: Path, edit: Edit) -> None:
    edit("mimi.safetensors", lambda tensors: tensors.update({"downsample.conv.conv.conv.weight": torch.ones(4)}))
    assert "downsample.conv.conv.conv.weight has shape [4]" in refusal(folder)


def test_a_quantised_file_is_refused(folder: Path, edit: Edit) -> None:
    edit("model.safetensors", lambda tensors: tensors.update({"text_linear.weight": torch.ones(32, 64).to(torch.int8)}))
    assert "text_linear.weight is I8" in refusal(folder)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", b"\0" * 100])
@pytest.mark.parametrize("file", ["model.safetensors", "mimi.safetensors"])
def test_a_file_that_is_not_safetensors_is_named(file: str, content: bytes, folder: Path) -> None:
    (folder / file).write_bytes(content)
    assert f"{file}: not a readable safetensors file" in refusal(folder)


def test_a_truncated_file_is_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert "model.safetensors: not a readable safetensors file" in refusal(folder)


@pytest.mark.parametrize(
    "file", ["config.json", "model.safetensors", "mimi.safetensors", "tokenizer.model", "mimi.json"]
)
def test_a_missing_file_is_named(file: str, folder: Path) -> None:
    (folder / file).unlink()
    assert f"{file} is missing" in refusal(folder)


def test_a_file_that_lies_alone_is_named_with_what_is_missing(tmp_path: Path) -> None:
    alone = tmp_path / "talk.wav"
    alone.touch()
    assert refusal(alone) == f"{alone}: config.json is missing beside it"


@pytest.mark.parametrize("content", ["", "{", "\ufeff{}", "[1]", '"text"', "null"])
def test_a_broken_config_is_named(content: str, folder: Path) -> None:
    (folder / "config.json").write_text(content)
    assert "config.json: " in refusal(folder)


def test_a_config_that_is_not_text_is_named(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"\xff\xfe\x00")
    assert "config.json: not readable JSON" in refusal(folder)


@pytest.mark.parametrize("key", ["dim", "num_heads", "num_layers", "n_q", "card", "text_card", "context", "mimi_name"])
def test_a_missing_setting_is_named(key: str, folder: Path, edit: Edit) -> None:
    edit("config.json", lambda config: config.pop(key))
    assert f"config.json: {key} is missing" in refusal(folder)


@pytest.mark.parametrize("value", ["64", -1, 1.5, True, [64], {}])
def test_a_setting_of_the_wrong_kind_is_named_with_its_value(value: object, folder: Path, edit: Edit) -> None:
    edit("config.json", lambda config: config.update(dim=value))
    assert str(value) in refusal(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"gating": "gelu"},
        {"norm": "rms_norm"},
        {"positional_embedding": "sin"},
        {"quantize": True},
        {"lora": True},
        {"delays": [0, 1, 1, 1, 1]},
        {"conditioners": {"delay": {}}},
    ],
)
def test_an_architecture_that_was_never_released_is_refused(change: dict[str, Any], folder: Path, edit: Edit) -> None:
    edit("config.json", lambda config: config.update(change))
    assert next(iter(change)) in refusal(folder)


@pytest.mark.parametrize("change", [{"model_type": "tts", "dep_q": 32}, {"dep_q": 8}, {"model_type": "hibiki"}])
def test_a_model_that_speaks_is_refused(change: dict[str, Any], folder: Path, edit: Edit) -> None:
    edit("config.json", lambda config: config.update(change))
    assert "not a speech-to-text model" in refusal(folder)


def test_heads_that_do_not_divide_the_width_are_refused(folder: Path, edit: Edit) -> None:
    edit("config.json", lambda config: config.update(num_heads=5))
    assert "num_heads" in refusal(folder)


def test_a_codec_with_too_few_codebooks_is_refused(
    make_model: Callable[..., SttModel], tmp_path: Path, tokenizer: bytes
) -> None:
    save_stt(make_model(mimi={"codebooks": 3}), tmp_path, tokenizer=tokenizer)
    assert "3 codebooks, the LM needs 4" in refusal(tmp_path)


def test_a_codec_with_other_codebooks_is_refused(
    make_model: Callable[..., SttModel], tmp_path: Path, tokenizer: bytes
) -> None:
    save_stt(make_model(mimi={"bins": 32}), tmp_path, tokenizer=tokenizer)
    assert "32 codes a codebook, the LM hears 64" in refusal(tmp_path)


def test_a_codec_with_other_frames_is_refused(
    make_model: Callable[..., SttModel], tmp_path: Path, tokenizer: bytes
) -> None:
    save_stt(make_model(mimi={"ratios": (4, 5, 6)}), tmp_path, tokenizer=tokenizer)
    assert "frames of 240 samples, expected 1920" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"word\nword\n", b"\0\1\2", b"\x80" * 40])
def test_a_tokenizer_that_is_not_sentencepiece_is_refused(content: bytes, folder: Path) -> None:
    (folder / "tokenizer.model").write_bytes(content)
    assert "tokenizer.model: " in refusal(folder)


def test_a_tokenizer_of_another_size_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["another text"]),
        model_prefix=str(other),
        vocab_size=16,
        hard_vocab_limit=False,
        pad_id=3,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(other.with_suffix(".model").read_bytes())
    assert "pieces, but the model predicts 32" in refusal(folder)


def test_saving_with_a_foreign_tokenizer_leaves_no_config(model: SttModel, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a sentencepiece tokenizer"):
        save_stt(model, tmp_path, tokenizer=b"foreign")
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize("source", ["/no/such/folder", "./nowhere", "nothing", "a/b/c", "", "hf://", "hf://owner"])
def test_a_source_that_is_nothing_is_refused(source: str) -> None:
    assert source in refusal(source)


def test_an_unknown_dtype_is_refused(folder: Path) -> None:
    with pytest.raises(UnsupportedError, match="int7"):
        load_stt(folder, dtype="int7")


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_packed_weights_are_an_engine_s_and_not_on_every_device(dtype: str, folder: Path) -> None:
    model = load_stt(folder, device="cpu", dtype=dtype)
    assert (model.packed, model.dtype, model.lm.embeddings.dtype) == (dtype, dtype, torch.float32)
    with pytest.raises(UnsupportedError, match=f"{dtype} is a format of kernels for cpu.*, and the device is meta"):
        torch_dtype(dtype, torch.device("meta"))


def test_a_gpu_has_kernels_for_eight_bits_and_not_for_four() -> None:
    assert torch_dtype("int8", torch.device("cuda")) == (None, "int8")
    with pytest.raises(UnsupportedError, match="int4 is a format of kernels for cpu, and the device is cuda"):
        torch_dtype("int4", torch.device("cuda"))


def test_a_model_that_speaks_is_packed_only_on_a_cpu() -> None:
    with pytest.raises(UnsupportedError, match=r"int8 .*, and the device is meta"):
        load_tts("random:tts-0.75b", device="meta", dtype="int8")


@pytest.mark.parametrize("device", ["cuda:77", "abacus"])
def test_a_device_that_is_not_there_is_refused(device: str, folder: Path) -> None:
    with pytest.raises(UnsupportedError, match=device):
        load_stt(folder, device=device)


def test_a_tokenizer_json_without_vocabulary_is_refused(folder: Path, edit: Edit) -> None:
    (folder / "tokenizer.json").write_text(json.dumps({"model": {}}))
    edit("config.json", lambda config: config.update(tokenizer_name="tokenizer.json"))
    assert "not a tokenizer.json with a vocabulary" in refusal(folder)
