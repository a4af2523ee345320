"""What is written is what is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from vivavoce.checkpoints import Instead, SttModel, assembly, load_stt, save_stt
from vivavoce.checkpoints.model import languages
from vivavoce.core import CheckpointError
from vivavoce.nn.rows import Rows


def assert_equal(ours: nn.Module, theirs: nn.Module) -> None:
    expected, found = ours.state_dict(), theirs.state_dict()
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def test_a_saved_model_loads_with_the_same_weights_and_settings(model: SttModel, folder: Path) -> None:
    loaded = load_stt(folder, device="cpu")
    assert_equal(model.mimi, loaded.mimi)
    assert_equal(model.lm, loaded.lm)
    assert (loaded.config, loaded.pieces) == (model.config, model.pieces)
    assert (loaded.lm.config, loaded.mimi.config) == (model.lm.config, model.mimi.config)


LM_SIZES = st.fixed_dictionaries(
    {
        "dim": st.just(24),
        "num_heads": st.sampled_from([1, 3]),
        "hidden": st.integers(1, 50),
        "num_layers": st.integers(1, 3),
        "n_q": st.integers(1, 3),
        "extra_heads": st.integers(1, 3),
    }
)
MIMI_SIZES = st.fixed_dictionaries(
    {
        "encoder_filters": st.sampled_from([2, 4]),
        "ratios": st.sampled_from([(4, 5, 6, 8), (8, 6, 5, 4), (30, 32)]),
        "kernels": st.sampled_from([(7, 3, 3), (5, 1, 3)]),
        "decoder_kernels": st.sampled_from([(7, 3, 3), (3, 3, 7)]),
        "encoder_layers": st.integers(1, 3),
        "codebooks": st.integers(3, 5),
        "heads": st.sampled_from([1, 4]),
        "context": st.integers(2, 300),
    }
)


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(lm=LM_SIZES, mimi=MIMI_SIZES)
def test_a_model_of_any_size_survives_the_round_trip(
    lm: dict[str, Any], mimi: dict[str, Any], make_model: Callable[..., SttModel], tmp_path: Path, tokenizer: bytes
) -> None:
    model = make_model(lm=lm, mimi=mimi)
    save_stt(model, tmp_path / "any", dtype=torch.float32, tokenizer=tokenizer)
    loaded = load_stt(tmp_path / "any", device="cpu")
    assert (loaded.lm.config, loaded.mimi.config) == (model.lm.config, model.mimi.config)
    assert_equal(model.mimi, loaded.mimi)
    assert_equal(model.lm, loaded.lm)


def test_loading_shares_no_memory_with_the_file(model: SttModel, folder: Path) -> None:
    """So a model can be saved over itself while it is in use."""
    loaded = load_stt(folder, device="cpu")
    for file in folder.glob("*.safetensors"):
        file.write_bytes(bytes(file.stat().st_size))
    assert_equal(model.lm, loaded.lm)
    assert_equal(model.mimi, loaded.mimi)


def test_a_loaded_model_steps(folder: Path) -> None:
    loaded = load_stt(folder, device="cpu")
    logits, pauses = loaded.lm(*loaded.lm.start(1), loaded.lm.state(1), Rows([0]))
    assert (logits.shape, pauses.shape) == ((1, 1, len(loaded.pieces)), (1, 1, 4, 6))
    assert not logits.requires_grad


def test_weights_are_stored_as_bfloat16_unless_asked_otherwise_and_the_codec_never(
    model: SttModel, tmp_path: Path, tokenizer: bytes
) -> None:
    save_stt(model, tmp_path, tokenizer=tokenizer)
    loaded = load_stt(tmp_path, device="cpu", dtype=torch.bfloat16)
    assert torch.equal(loaded.lm.embeddings, model.lm.embeddings.bfloat16())
    assert_equal(model.mimi, loaded.mimi)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float32])
def test_a_small_model_is_computed_in_float32_on_the_cpu(
    stored: torch.dtype, model: SttModel, tmp_path: Path, tokenizer: bytes
) -> None:
    save_stt(model, tmp_path, dtype=stored, tokenizer=tokenizer)
    loaded = load_stt(tmp_path, device="cpu")
    assert loaded.lm.embeddings.dtype == torch.float32
    assert torch.equal(loaded.lm.embeddings, model.lm.embeddings.to(stored).float())


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
def test_a_large_half_precision_model_stays_at_sixteen_bits(
    stored: torch.dtype, model: SttModel, tmp_path: Path, tokenizer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_stt(model, tmp_path, dtype=stored, tokenizer=tokenizer)
    monkeypatch.setattr(assembly, "LARGE", 1000)
    assert load_stt(tmp_path, device="cpu").lm.embeddings.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["float32", "fp16", "bf16", "BFLOAT16"])
def test_the_language_models_dtype_can_be_named(name: str, folder: Path) -> None:
    loaded = load_stt(folder, device="cpu", dtype=name)
    wanted = {"float32": torch.float32, "fp16": torch.float16}.get(name, torch.bfloat16)
    assert {weight.dtype for weight in loaded.lm.parameters()} == {wanted}
    assert {weight.dtype for weight in loaded.mimi.parameters()} == {torch.float32}


@pytest.mark.parametrize("file", ["", "config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_model_is_named_by_its_folder_config_or_weights(kind: Callable[[Path], Any], file: str, folder: Path) -> None:
    assert load_stt(kind(folder / file), device="cpu").config.name == "small"


def test_weights_of_another_name_are_used_when_named(model: SttModel, folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "step_200.safetensors")
    assert_equal(load_stt(folder / "step_200.safetensors", device="cpu").lm, model.lm)


def test_the_embedded_model_is_the_default(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivavoce.settings.sources.EMBEDDED", folder.parent)
    folder.rename(folder.parent / "stt-small")
    assert load_stt(device="cpu").config.name == "stt-small"
    assert load_stt("stt-small", device="cpu").config.name == "stt-small"


def test_an_installation_without_embedded_model_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivavoce.settings.sources.EMBEDDED", tmp_path)
    with pytest.raises(CheckpointError, match="no embedded stt model"):
        load_stt()


def test_codebooks_are_sums_divided_by_their_usage(model: SttModel, folder: Path, edit: Callable[..., None]) -> None:
    at = "quantizer.rvq_rest.vq.layers.1._codebook"

    def rescale(tensors: dict[str, torch.Tensor]) -> None:
        usage = torch.arange(64.0)  # the first entry was never used: its sum is divided by the floor
        tensors[f"{at}.cluster_usage"] = usage
        tensors[f"{at}.embedding_sum"] *= usage.clamp(min=1e-5)[:, None]

    edit("mimi.safetensors", rescale)
    loaded = load_stt(folder, device="cpu").mimi
    torch.testing.assert_close(loaded.quantizer.acoustic.codebooks, model.mimi.quantizer.acoustic.codebooks)


def test_the_attention_of_the_codec_can_be_given_in_config_json(folder: Path, edit: Callable[..., None]) -> None:
    (folder / "mimi.json").unlink()

    def describe(config: dict[str, Any]) -> None:
        del config["mimi_config_name"]
        config["mimi"] = {"num_heads": 4, "context": 33, "max_period": 5000}

    edit("config.json", describe)
    config = load_stt(folder, device="cpu").mimi.config
    assert (config.heads, config.context, config.max_period) == (4, 33, 5000.0)


def test_the_released_codec_needs_no_description(folder: Path, edit: Callable[..., None]) -> None:
    edit("config.json", lambda config: config.pop("mimi_config_name"))
    config = load_stt(folder, device="cpu").mimi.config
    assert (config.heads, config.context, config.max_period) == (8, 250, 10_000.0)


@pytest.mark.parametrize(
    ("name", "spoken"),
    [
        ("tokenizer_en_fr_audio_8000.model", ("en", "fr")),
        ("tokenizer_en_audio_4000.model", ("en",)),
        ("kyutai/stt-1b-en_fr-trfs", ("en", "fr")),
        ("kyutai/stt-2.6b-en", ("en",)),
        ("tokenizer.model", ()),
        ("my-model", ()),
    ],
)
def test_languages_are_read_off_the_released_names(name: str, spoken: tuple[str, ...]) -> None:
    assert languages(name) == spoken


def test_single_files_can_come_from_elsewhere(model: SttModel, folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    moved = {}
    files = {"lm": "model.safetensors", "mimi": config["mimi_name"], "tokenizer": config["tokenizer_name"]}
    for part, file in files.items():
        moved[part] = str((folder / file).rename(tmp_path / f"moved.{part}"))
    loaded = load_stt(folder, device="cpu", instead=Instead(**moved))
    assert_equal(model.lm, loaded.lm)
    assert loaded.files == moved
    with pytest.raises(CheckpointError, match="expected a file"):
        load_stt(folder, device="cpu", instead=Instead(lm=str(tmp_path)))


def test_an_lm_can_hear_fewer_codebooks_than_it_was_trained_with(model: SttModel, folder: Path) -> None:
    """As moshi-server's audio_codebooks: the tables of the others are left in the file."""
    fewer = load_stt(folder, device="cpu", instead=Instead(codebooks=2)).lm
    assert fewer.config == replace(model.lm.config, n_q=2)
    text, codes = torch.tensor([[1, 2]]), torch.randint(64, (1, 2, 4))
    silent = codes.clone()
    silent[..., 2:] = -1  # an id that adds nothing
    assert torch.allclose(fewer(text, codes[..., :2])[0], model.lm(text, silent)[0], atol=1e-5)


@pytest.mark.parametrize("codebooks", [0, 5])
def test_codebooks_that_the_lm_does_not_have_are_refused(folder: Path, codebooks: int) -> None:
    with pytest.raises(CheckpointError, match=f"hears 1 to 4 codebooks, not {codebooks}"):
        load_stt(folder, device="cpu", instead=Instead(codebooks=codebooks))
