"""A flag goes before the environment, that before `.env`, that before the file, that before the default."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vivavoce.settings import ServeSettings, SpeechModule, load
from vivavoce.settings.layers import ANCESTORS, export_dotenv

from .conftest import Write

# name, and a value as each source would write it, no two alike
NAMES = {
    "port": ("1001", "1002", "1003", 1004, 1005),
    "slots": ("11", "12", "13", 14, 15),
    "log_style": ("compact", "verbose", "compact", "verbose", "pretty"),
    "silent": (True, "false", "1", False, True),
    "origins": ("http://a,http://b", "http://c", "http://d, http://e", ["http://f"], ["http://g"]),
    "idle_seconds": ("1.5", "2.5", "3", 4, 5),
    "message_bytes": ("1KiB", "2KiB", "3000", "4KiB", 5),
}
SOURCES = ("flag", "environment", "dotenv", "toml", "default")
subsets = st.fixed_dictionaries({name: st.sets(st.sampled_from(SOURCES)) for name in NAMES})


def written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(written, value))}]" if isinstance(value, list) else repr(value).replace("'", '"')


@given(subsets)
def test_the_first_source_that_says_something_is_believed(chosen: dict[str, set[str]]) -> None:
    said: dict[str, dict[str, object]] = {source: {} for source in SOURCES}
    for name, sources in chosen.items():
        for source in sources:
            said[source][name] = NAMES[name][SOURCES.index(source)]
    with tempfile.TemporaryDirectory() as folder:
        config, dotenv = Path(folder, "c.toml"), Path(folder, ".env")
        config.write_text("".join(f"{name} = {written(value)}\n" for name, value in said["toml"].items()))
        dotenv.write_text("".join(f'VIVAVOCE_{name.upper()}="{value}"\n' for name, value in said["dotenv"].items()))
        loaded = load(
            said["flag"],
            config,
            defaults=said["default"],
            environment={f"VIVAVOCE_{name.upper()}": str(value) for name, value in said["environment"].items()},
            dotenv=dotenv,
        )
    for name, sources in chosen.items():
        first = next((source for source in SOURCES if source in sources), None)
        expected = ServeSettings() if first is None else ServeSettings.model_validate({name: said[first][name]})
        assert getattr(loaded.settings, name) == getattr(expected, name)
        origins = {
            "flag": f"--{name.replace('_', '-')}",
            "environment": f"environment VIVAVOCE_{name.upper()}",
            "dotenv": f"{dotenv} VIVAVOCE_{name.upper()}",
            "toml": str(config),
            "default": "default",
            None: None,
        }
        assert loaded.origins.get(name) == origins[first]


@pytest.mark.parametrize(("name", "variable"), ANCESTORS.items())
def test_the_names_of_the_programs_before_count_after_our_own(name: str, variable: str) -> None:
    theirs, ours = load(environment={variable: "5"}), load(environment={variable: "5", f"VIVAVOCE_{name.upper()}": "6"})
    assert theirs.settings == ServeSettings.model_validate({name: "5"})
    assert theirs.origins == {name: f"environment {variable}"}
    assert ours.settings == ServeSettings.model_validate({name: "6"})


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    assert load(environment={"VIVAVOCE_PORT": "", "BETTER_AUTH_SECRET": ""}).settings == ServeSettings()


def test_settings_made_in_code_read_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIVAVOCE_PORT", "9")
    Path(".env").write_text("VIVAVOCE_PORT=10\n")
    assert ServeSettings().port == 8080


def test_dotenv_lies_in_the_working_directory_and_keeps_its_dollars(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(
        "# keys\nexport BETTER_AUTH_SECRET='a$b${HOME}'\nHF_HUB_OFFLINE=1\nHF_TOKEN=x\nPATH=/nowhere\n"
    )
    secret = load().settings.jwt_secret
    assert secret is not None
    assert secret.get_secret_value() == "a$b${HOME}"
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_TOKEN", "kept")
    monkeypatch.setenv("PATH", "kept")
    import os

    export_dotenv()
    assert (os.environ["HF_HUB_OFFLINE"], os.environ["HF_TOKEN"], os.environ["PATH"]) == ("1", "kept", "kept")
    monkeypatch.delenv("HF_HUB_OFFLINE")


def test_flags_and_variables_go_over_a_module_and_a_module_over_the_file(toml: Write) -> None:
    path = toml(
        'slots = 1\nseed = 1\n[modules.a]\ntype = "stt"\nslots = 2\nthreads = 2\n[modules.b]\ntype="stt"\npath="/b"\n'
    )
    a, b = load(config=path).settings.served
    assert (a.slots, a.seed, a.threads) == (2, 1, 2)
    assert (b.slots, b.seed, b.threads) == (1, 1, None)
    a, b = load({"slots": "3"}, path, environment={"VIVAVOCE_SEED": "4"}).settings.served
    assert (a.slots, a.seed, b.slots, b.seed) == (3, 4, 3, 4)


def test_another_model_takes_the_files_of_the_old_one_away(toml: Write) -> None:
    path = toml('[modules.a]\ntype = "stt"\nmodel = "x"\nlm_file = "y"\ndelay_frames = 6\nslots = 2\npath = "/p"\n')
    (module,) = load({"model": "z"}, path).settings.served
    assert (module.model, module.lm_file, module.delay_frames, module.slots, module.path) == ("z", None, None, 2, "/p")


def test_without_modules_the_settings_describe_the_one_that_is_served() -> None:
    (module,) = load({"model": "m", "slots": "3", "tts_model": "none"}).settings.served
    assert (module.label, module.path, module.model, module.slots) == ("stt", "/api/asr-streaming", "m", 3)


def test_text_to_speech_has_flat_settings_of_its_own_beside_those_for_both(toml: Write) -> None:
    path = toml("""device = "cpu"
slots = 5
tts_slots = 3
tts_voice = "a"

[modules.ear]
type = "stt"

[modules.mouth]
type = "tts"
voice = "b"
padding_bonus = 0.5
""")
    loaded = load({"seed": "7"}, path, environment={"VIVAVOCE_TTS_CFG": "1.5"})
    ear, mouth = loaded.settings.served
    assert isinstance(mouth, SpeechModule)
    assert (ear.slots, ear.seed, ear.device) == (5, 7, "cpu")
    assert (mouth.slots, mouth.seed, mouth.device, mouth.cfg) == (3, 7, "cpu", 1.5)
    assert (mouth.voice, mouth.padding_bonus, mouth.path) == ("b", 0.5, "/api/tts_streaming")
    over = load({"tts_voice": "c", "tts_model": "x/y"}, path, environment={}).settings.spoken[0]
    assert (over.voice, over.model, over.padding_bonus) == ("c", "x/y", None)  # what belonged to the old model is gone


def test_each_kind_can_be_left_out() -> None:
    both = ServeSettings(tts_model="x/y")
    assert [module.kind for module in both.served] == ["stt", "tts"]
    assert [module.label for module in (*both.heard, *both.spoken)] == ["stt", "tts"]
    assert [module.kind for module in ServeSettings(model="none", tts_model="x/y").served] == ["tts"]
    assert [module.kind for module in ServeSettings(tts_model="none").served] == ["stt"]
