"""moshi-server's files, as they are shipped with delayed-streams-modeling, Unmute and the fork."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from vivavoce.settings import SettingsError, SpeechModule, load
from vivavoce.settings.moshi import TYPES
from vivavoce.settings.presets import FOLDER, preset_names

from .conftest import CONFIGS, Write

STT = {  # slots, delay, temperature, codebooks, dtype
    "dsm/config-stt-en_fr-hf": (64, 6, 0.0, 32, "auto"),
    "dsm/config-stt-en-hf": (16, 32, 0.0, 32, "auto"),
    "unmute/stt": (1, 6, 0.25, 20, "auto"),
    "unmute/stt-prod": (64, 6, 0.25, 20, "auto"),
    "fork/config-stt-en-hf": (64, 32, 0.0, 32, "auto"),
    "fork/config-stt-en_fr-hf": (64, 6, 0.0, 32, "auto"),
    "fork/config-stt-en_fr-lowram-sm75": (4, 6, 0.0, 32, "float32"),
}
TTS = {  # slots, codebooks, cfg
    "dsm/config-tts": (8, 24, 2.0),
    "unmute/tts": (2, 24, 2.0),
    "unmute/tts-prod": (16, 24, 2.0),
    "fork/config-tts": (16, 32, None),
    "fork/config-tts-fast": (16, 32, None),
    "fork/config-tts-realtime": (16, 32, None),
}
OTHERS = {"unmute/voice-cloning": "PyPost"}
KYUTAI = "hf://kyutai/tts-1.6b-en_fr"
Base = dict[str, Any]


def test_every_shipped_file_is_here() -> None:
    files = {str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.toml")}
    assert files == {*STT, *TTS, *OTHERS}


@pytest.mark.parametrize("name", STT)
def test_a_speech_to_text_file_loads_as_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    path = CONFIGS / f"{name}.toml"
    said = tomllib.loads(path.read_text())
    loaded = load(config=path)
    (module,) = loaded.settings.served
    assert (module.slots, module.delay_frames, module.temperature, module.codebooks, module.dtype) == STT[name]
    assert (module.label, module.kind, module.path) == ("asr", "stt", "/api/asr-streaming")
    asr = said["modules"]["asr"]
    assert module.lm_file == asr["lm_model_file"]
    assert module.tokenizer_file == asr["text_tokenizer_file"]
    assert module.mimi_file == asr["audio_tokenizer_file"]
    assert module.model == asr["text_tokenizer_file"].rsplit("/", 1)[0]
    settings = loaded.settings
    assert str(settings.log_dir) == said["log_dir"].replace("$HOME", "/home/me")
    assert settings.instance_name == said["instance_name"]
    assert [key.get_secret_value() for key in settings.api_keys] == said["authorized_ids"]
    assert len(loaded.warnings) == bool(said["authorized_ids"]) + name.endswith("sm75")


@pytest.mark.parametrize("name", TTS)
def test_a_text_to_speech_file_loads_as_it_is(name: str) -> None:
    loaded = load(config=CONFIGS / f"{name}.toml", environment={"HOME": "/home/me"})
    (module,) = loaded.settings.served
    assert isinstance(module, SpeechModule)
    assert (module.slots, module.codebooks, module.cfg) == TTS[name]
    assert (module.kind, module.path) == ("tts", "/api/tts_streaming")
    assert module.tokenizer_file == f"{KYUTAI}/tokenizer_spm_8k_en_fr_audio.model"
    assert module.model in (KYUTAI, KYUTAI.removeprefix("hf://"))
    assert str(module.voice_dir).startswith("hf-snapshot://kyutai/tts-voices/")
    assert str(module.voice_dir).endswith("/**/*.safetensors")
    unknown = [line for line in loaded.warnings if "not a known key" in line]
    key = "tts.model.transformer.max_batch_size" if name.startswith("fork") else "tts_py.py.cfg_is_no_text"
    assert [f"modules.{key}" in line for line in unknown] == [True]


def test_what_a_py_table_leaves_out_is_as_its_script_has_it(one: Callable[[Base], Path]) -> None:
    loaded = load(config=one({**MINIMAL["Py"], "py": {"temp": -1, "debug": True, "device": "cpu"}}))
    (module,) = loaded.settings.served
    assert isinstance(module, SpeechModule)
    assert (module.temperature, module.cfg, module.codebooks, module.device) == (0.0, 2.0, 24, "cpu")
    assert (module.voice_dir, module.voice) == ("~/models/tts-voices", "barack_demo.wav")
    assert (module.path, module.slots, module.model) == ("/a", 1, "kyutai/tts-1.6b-en_fr")
    (line,) = loaded.warnings
    assert "py.debug has no effect" in line


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"temp": True}, r"py.temp should not be true or false"),
        ({"n_q": "many"}, "codebooks should be a valid integer"),
        ({"cfg_coef": -1}, "cfg should be greater than or equal to 0"),
        ({"device": "gpu"}, "device should be auto, cpu"),
    ],
)
def test_a_wrong_value_of_a_py_table(changes: Base, line: str, one: Callable[[Base], Path]) -> None:
    with pytest.raises(SettingsError, match=line):
        load(config=one({**MINIMAL["Py"], "py": changes}))


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_served_is_recognised_and_said(name: str) -> None:
    loaded = load(config=CONFIGS / f"{name}.toml", environment={"HOME": "/home/me"})
    assert loaded.settings.served == ()
    assert any(f"is of type {OTHERS[name]}, which this build does not serve" in line for line in loaded.warnings)


def test_a_script_of_ones_own_is_not_run_and_that_is_said(one: Callable[[Base], Path]) -> None:
    loaded = load(config=one({**MINIMAL["Py"], "script": "/my/tts.py"}))
    assert loaded.settings.served == ()
    assert "is of type Py with a script of its own, which this build does not serve" in loaded.warnings[0]


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_loads_without_a_warning_and_without_keys(name: str) -> None:
    loaded = load(preset=name)
    assert loaded.warnings == ()
    assert loaded.settings.api_keys == ()
    assert len(loaded.settings.heard) == (name != "config-tts-en_fr")


def test_the_presets_are_in_the_folder_configs() -> None:
    shown = Path(__file__).parents[2] / "configs"
    assert shown.resolve() == FOLDER
    assert {"embedded", "config-stt-en-hf", "config-stt-en_fr-hf", "config-stt-en_fr-lowram-sm75"} <= {*preset_names()}


# --- keys of each type ---


def asr(**changes: Any) -> Base:
    table = tomllib.loads((CONFIGS / "dsm" / "config-stt-en_fr-hf.toml").read_text())["modules"]["asr"]
    return {**table, **changes}


def text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {text(item)}" for key, item in value.items()) + "}"
    return f"[{', '.join(map(text, value))}]" if isinstance(value, list) else json.dumps(value)


@pytest.fixture
def one(toml: Write) -> Callable[[Base], Path]:
    return lambda table: toml(f"modules = {{ m = {text(table)} }}\n")


MINIMAL: dict[str, Base] = {
    "BatchedAsr": asr(),
    "Asr": {key: value for key, value in asr(type="Asr").items() if key != "batch_size"},
    "PyBatchedAsr": {"type": "PyBatchedAsr", "path": "/a", "batch_size": 1, "text_tokenizer_file": "t",
                     "asr_delay_in_tokens": 6},
    "Py": {"type": "Py", "path": "/a", "batch_size": 1, "text_tokenizer_file": "t", "text_bos_token": 1},
    "PyPost": {"type": "PyPost", "path": "/a"},
    "Tts": tomllib.loads((CONFIGS / "fork" / "config-tts-realtime.toml").read_text())["modules"]["tts"],
    "Lm": {"type": "Lm", "path": "/a", "lm_model_file": "l", "text_tokenizer_file": "t", "audio_tokenizer_file": "a",
           "model": asr()["model"],
           "gen": {"generated_audio_codebooks": 8, "input_audio_codebooks": 8, "audio_vocab_size": 2049,
                   "acoustic_delay": 2, "text_pad_token": 3, "text_eop_token": 0, "text_start_token": 32000}},
    "Mimi": {"type": "Mimi", "send_path": "/s", "recv_path": "/r", "audio_tokenizer_file": "a", "auth_recv": True,
             "rooms": ["x"]},
}  # fmt: skip


def required(kind: str) -> list[str]:
    return [name for name, field in TYPES[kind].model_fields.items() if field.is_required()]


@pytest.mark.parametrize("kind", TYPES)
def test_a_table_of_every_type_is_taken(kind: str, one: Callable[[Base], Path]) -> None:
    load(config=one(MINIMAL[kind]))


@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind in TYPES for key in required(kind)])
def test_a_missing_key_is_named_with_file_and_table(kind: str, key: str, one: Callable[[Base], Path]) -> None:
    path = one({name: value for name, value in MINIMAL[kind].items() if name != key})
    with pytest.raises(SettingsError, match=f"^{re.escape(f'{path}: [modules.m] {key} is missing')}$"):
        load(config=path)


@pytest.mark.parametrize("key", ["d_model", "context", "norm"])
def test_a_missing_key_deep_inside_is_named_too(key: str, one: Callable[[Base], Path]) -> None:
    table = asr()
    del table["model"]["transformer"][key]
    with pytest.raises(SettingsError, match=rf"\[modules.m\] model.transformer.{key} is missing$"):
        load(config=one(table))


@pytest.mark.parametrize("kind", TYPES)
def test_an_unknown_key_is_warned_of_by_name(kind: str, one: Callable[[Base], Path]) -> None:
    known, more = (load(config=one({**MINIMAL[kind], **extra})).warnings for extra in ({}, {"colour": "red"}))
    (line,) = [line for line in more if line not in known]
    assert line.endswith("modules.m.colour is not a known key and has no effect")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"batch_size": True}, "batch_size should be a valid integer, found True"),
        ({"batch_size": 0}, "batch_size should be greater than or equal to 1, found 0"),
        ({"temperature": "0"}, "temperature should be a valid number, found '0'"),
        ({"dtype_override": "f64"}, "dtype_override should be bf16, f16 or f32, found 'f64'"),
        ({"lm_model_file": "hf://kyutai/x"}, "lm_model_file: expected hf://owner/name/file, found 'hf://kyutai/x'"),
        ({"lm_model_file": "$NOT_SET/x"}, "the variable NOT_SET of '\\$NOT_SET/x' is not set"),
        ({"path": "api"}, "path should begin with /"),
    ],
)
def test_a_wrong_value(changes: Base, line: str, one: Callable[[Base], Path]) -> None:
    with pytest.raises(SettingsError, match=line):
        load(config=one(asr(**changes)))


def test_integers_count_as_floats_and_a_negative_temperature_as_none(one: Callable[[Base], Path]) -> None:
    assert load(config=one(asr(temperature=-1))).settings.served[0].temperature == 0.0


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"conditioning_delay": 0.5, "conditioning_learnt_padding": True}, "found both"),
        ({"conditioning_learnt_padding": False}, "found neither"),
        ({"conditioning_delay": 0.5, "conditioning_learnt_padding": False}, "serves no conditioned speech-to-text"),
    ],
)
def test_conditioning_keys_exclude_each_other(keys: Base, line: str, one: Callable[[Base], Path]) -> None:
    table = asr(**keys)
    conditioner = {"type": "ContinuousAttribute", "dim": 1, "scale_factor": 1, "max_period": 1}
    table["model"] = {**table["model"], "conditioners": {"delay": conditioner}}
    with pytest.raises(SettingsError, match=line):
        load(config=one(table))


def test_what_has_no_effect_is_said(one: Callable[[Base], Path]) -> None:
    warnings = load(config=one(asr(conditioning_delay=0.5, log_frequency_s=10))).warnings
    assert [re.search(r"(\w+) has no effect", line)[1] for line in warnings] == [  # type: ignore[index]
        "conditioning_delay", "log_frequency_s",
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["kv_repeat = 2", "positional_embedding = 'Sin'", "causal = false"])
def test_a_transformer_that_the_engine_does_not_compute(value: str, toml: Write) -> None:
    source = (CONFIGS / "unmute" / "stt.toml").read_text()
    key = value.split(" ")[0]
    with pytest.raises(SettingsError, match=rf"model.transformer.{key} should be .*, found"):
        load(config=toml(re.sub(rf"^{key} = .*$", value, source, flags=re.MULTILINE)))


# --- files on this machine ---


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A tiny LM in the released layout, with a config.json."""
    shapes = {"text_emb.weight": (33, 8), "text_linear.weight": (32, 8), "extra_heads.0.weight": (6, 8)}
    shapes |= {f"emb.{i}.weight": (65, 8) for i in range(4)}
    for i in range(2):
        shapes |= {f"transformer.layers.{i}.norm1.alpha": (1, 1, 8)}
        shapes |= {f"transformer.layers.{i}.self_attn.out_proj.weight": (8, 8)}
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, folder / "lm.safetensors")
    (folder / "config.json").write_text(json.dumps({"num_heads": 2, "context": 12, "max_period": 10000.0}))
    return folder


def tiny(folder: Path | str, model: Base = {}, transformer: Base = {}) -> Base:  # noqa: B006
    table = asr(lm_model_file=f"{folder}/lm.safetensors")
    sizes = {"d_model": 8, "num_heads": 2, "num_layers": 2, "context": 12, "max_period": 10000}
    table["model"] = {
        "audio_vocab_size": 65, "text_in_vocab_size": 33, "text_out_vocab_size": 32, "audio_codebooks": 4,
        "extra_heads": {"num_heads": 1, "dim": 6}, **model,
        "transformer": {**table["model"]["transformer"], **sizes, **transformer},
    }  # fmt: skip
    return table


def test_sizes_that_are_the_checkpoints_pass_and_fewer_codebooks_too(
    checkpoint: Path, one: Callable[[Base], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(config=one(tiny(checkpoint))).warnings == ()
    monkeypatch.setenv("MODELS", str(checkpoint))
    loaded = load(config=one(tiny("$MODELS", {"audio_codebooks": 3})))
    assert loaded.warnings == ()
    assert loaded.settings.served[0].codebooks == 3
    assert loaded.settings.served[0].model == str(checkpoint)


@pytest.mark.parametrize(
    ("model", "transformer", "line"),
    [
        ({"text_in_vocab_size": 8001}, {}, "text_in_vocab_size is 8001, but text_emb.weight of the checkpoint has 33"),
        ({"text_out_vocab_size": 31}, {}, "text_out_vocab_size is 31, but .* has 32"),
        ({"audio_vocab_size": 64}, {}, "audio_vocab_size is 64, but .* has 65"),
        ({"audio_codebooks": 5}, {}, "audio_codebooks is 5, the checkpoint has 4"),
        ({"extra_heads": {"num_heads": 4, "dim": 6}}, {}, "extra_heads.num_heads is 4, the checkpoint has 1"),
        ({"extra_heads": {"num_heads": 1, "dim": 5}}, {}, "extra_heads.dim is 5, but .* has 6"),
        ({}, {"d_model": 16}, "transformer.d_model is 16, but .* has 8"),
        ({}, {"num_layers": 3}, "transformer.num_layers is 3, the checkpoint has 2"),
        ({}, {"num_heads": 4}, "transformer.num_heads is 4, the checkpoint has 2"),
    ],
)
def test_a_size_that_is_not_the_checkpoints(
    model: Base, transformer: Base, line: str, checkpoint: Path, one: Callable[[Base], Path]
) -> None:
    with pytest.raises(SettingsError, match=line):
        load(config=one(tiny(checkpoint, model, transformer)))


def test_a_context_of_ones_own_is_not_used_and_that_is_said(checkpoint: Path, one: Callable[[Base], Path]) -> None:
    (line,) = load(config=one(tiny(checkpoint, transformer={"context": 750}))).warnings
    assert "context 750 has no effect: the checkpoint's is 12" in line


def test_a_checkpoint_in_the_cache_is_checked_without_the_network(
    checkpoint: Path, one: Callable[[Base], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "hf" / "hub" / "models--me--tiny"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots").mkdir()
    checkpoint.rename(folder / "snapshots" / "abc")
    assert load(config=one(tiny("hf://me/tiny"))).warnings == ()
    with pytest.raises(SettingsError, match="audio_codebooks is 5"):
        load(config=one(tiny("hf://me/tiny", {"audio_codebooks": 5})))


def test_a_file_that_is_no_checkpoint_is_said(checkpoint: Path, one: Callable[[Base], Path]) -> None:
    (checkpoint / "lm.safetensors").write_bytes(b"\xff" * 100)
    (line,) = load(config=one(tiny(checkpoint))).warnings
    assert "is not readable safetensors" in line
