"""Voices: found in folders and on the hub, asked for by names that anyone may make up."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from safetensors.numpy import save_file

from vivavoce.checkpoints.tts_model import TtsConfig
from vivavoce.checkpoints.voices import CACHED, Voices
from vivavoce.core import CheckpointError, DownloadError, UnknownVoiceError

from ..hub import Hub

FRAMES, DIM = 5, 4
SUFFIX = ".1e68beda@240.safetensors"
CONFIG = TtsConfig("kyutai/tts-1.6b-en_fr", 1.28, voice_frames=FRAMES, voice_suffix=SUFFIX)


def write(path: Path, seed: int = 0, shape: tuple[int, ...] = (1, DIM, FRAMES), key: str = "speaker_wavs") -> Path:
    """A voice file as released, or nearly one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: np.random.default_rng(seed).random(shape, np.float32)}, path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(["ada.wav", "expresso/ex03_happy.wav", "expresso/sad.mp3"]):
        write(tmp_path / "voices" / f"{name}{SUFFIX}", seed)
    (tmp_path / "voices" / "ada.wav").write_bytes(b"the recording")
    write(tmp_path / "voices" / "ada.wav.another@1.safetensors")
    return tmp_path / "voices"


def voices(folder: Path, default: str | None = None) -> Voices:
    return Voices(folder, CONFIG, DIM, default)


def test_voices_are_named_by_their_files_without_the_models_signature(folder: Path) -> None:
    found = voices(folder)
    assert found.names == ("ada.wav", "expresso/ex03_happy.wav", "expresso/sad.mp3")
    assert "expresso/sad.mp3" in found
    assert len(found) == 3


def test_a_voice_is_read_with_its_frames_first(folder: Path) -> None:
    voice = voices(folder).get("expresso/ex03_happy.wav")
    assert voice.dtype == np.float32
    np.testing.assert_array_equal(voice, np.random.default_rng(1).random((1, DIM, FRAMES), np.float32)[0].T)
    with pytest.raises(ValueError, match="read-only"):
        voice[0] = 0


def test_who_asks_for_no_voice_gets_the_default(folder: Path) -> None:
    found = voices(folder, "expresso/sad.mp3")
    assert found.default == "expresso/sad.mp3"
    np.testing.assert_array_equal(found.get(), found.get("expresso/sad.mp3"))
    np.testing.assert_array_equal(found.get(""), found.get("expresso/sad.mp3"))
    assert voices(folder).default == "ada.wav"


def test_a_default_that_does_not_exist_is_an_error(folder: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"default voice 'expresso/sad' does not exist.* example expresso/sad.mp3"
    ):
        voices(folder, "expresso/sad")


def test_a_folder_without_voices_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"no voices for kyutai/tts-1.6b-en_fr \(files that end in \.1e68beda@240"
    ):
        voices(tmp_path)
    with pytest.raises(CheckpointError, match="no such folder of voices"):
        Voices.open(tmp_path / "absent", CONFIG, DIM)


@pytest.mark.parametrize(
    "name",
    ["../secret", "..", "/", "expresso/../ada.wav", "./ada.wav", "ada.wav\0", "\0", "a" * 100_000, "ada.wav/", "~/x",
     "expresso", "ADA.WAV", "C:\\ada.wav", "%2e%2e/secret", "hf://x/y/z", f"ada.wav{SUFFIX}",
     "../voices/ada.wav", "\ud800"],
)  # fmt: skip
def test_a_name_that_is_none_is_refused_whatever_it_is(name: str, folder: Path) -> None:
    write(folder.parent / f"secret{SUFFIX}")
    found = voices(folder)
    for ask in (found.get, found.path):
        with pytest.raises(UnknownVoiceError, match="does not exist; there are 3, for example") as caught:
            ask(name)
        assert len(str(caught.value)) < 600
        assert "\n" not in str(caught.value)


def test_an_absolute_path_is_no_name(folder: Path) -> None:
    with pytest.raises(UnknownVoiceError):
        voices(folder).get(str(folder / "ada.wav"))


def test_a_link_that_leads_out_of_the_folder_is_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    outside = write(folder.parent / "elsewhere" / f"secret{SUFFIX}")
    (folder / f"file{SUFFIX}").symlink_to(outside)
    (folder / "folder").symlink_to(outside.parent)
    (folder / f"inside{SUFFIX}").symlink_to(folder / f"ada.wav{SUFFIX}")
    assert voices(folder).names == ("ada.wav", "expresso/ex03_happy.wav", "expresso/sad.mp3", "inside")
    assert [record.message.partition(": ")[0] for record in caplog.records] == ["A voice is left out"]
    assert "leads out of the folder" in caplog.text


def test_files_that_hold_no_voice_are_left_out_with_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / f"text{SUFFIX}").write_text("no safetensors")
    (folder / f"empty{SUFFIX}").touch()
    (folder / f"broken{SUFFIX}").symlink_to(folder / "absent")
    (folder / f"folder{SUFFIX}").mkdir()
    write(folder / f"long{SUFFIX}", shape=(1, DIM, FRAMES + 1))
    write(folder / f"wide{SUFFIX}", shape=(1, DIM + 1, FRAMES))
    write(folder / f"flat{SUFFIX}", shape=(DIM, FRAMES))
    write(folder / f"other{SUFFIX}", key="something")
    save_file({"speaker_wavs": np.zeros((1, DIM, FRAMES), np.float16)}, folder / f"half{SUFFIX}")
    with caplog.at_level(logging.WARNING):
        assert len(voices(folder)) == 3
    left_out = {record.getMessage().split(SUFFIX)[0].rpartition("/")[2] for record in caplog.records}
    assert left_out == {"text", "empty", "broken", "long", "wide", "flat", "other", "half"}
    assert "speaker_wavs is F16 [1, 4, 5], expected F32 [1, 4, 5]" in caplog.text


def test_a_voice_that_is_not_finite_is_refused(folder: Path) -> None:
    save_file({"speaker_wavs": np.full((1, DIM, FRAMES), np.nan, np.float32)}, folder / f"nan{SUFFIX}")
    with pytest.raises(UnknownVoiceError, match="not finite"):
        voices(folder).get("nan")


def test_a_voice_that_has_vanished_is_told(folder: Path) -> None:
    found = voices(folder)
    (folder / f"ada.wav{SUFFIX}").unlink()
    with pytest.raises(UnknownVoiceError, match="not a readable safetensors file"):
        found.get("ada.wav")


def test_voices_in_use_stay_in_memory_and_no_more_than_a_few(folder: Path) -> None:
    for number in range(2 * CACHED):
        write(folder / f"n{number:02}{SUFFIX}", number)
    found = voices(folder)
    first = found.get("n00")
    for number in range(2 * CACHED):
        found.get(f"n{number:02}")
        assert found.get("n00") is first  # asked for all the time
    assert len(found._cache) == CACHED
    assert found.get("n01") is not found.get("n02")


# --- recordings ---


def test_a_model_with_embeddings_says_that_it_takes_no_recording(folder: Path) -> None:
    with pytest.raises(UnknownVoiceError, match=r"kyutai/tts-1.6b-en_fr takes no recording .* was never released"):
        voices(folder).get("my/own.wav")


def test_a_model_without_embeddings_has_recordings_as_its_voices(folder: Path) -> None:
    config = TtsConfig("kyutai/tts-0.75b-en-public", 1.28)
    found = Voices(folder, config, dim=0)
    assert found.names == ("ada.wav",)
    assert found.path() == folder / "ada.wav"
    with pytest.raises(UnknownVoiceError, match=r"'other.wav' does not exist; there are 1, for example ada.wav$"):
        found.path("other.wav")


# --- the hub ---


@pytest.fixture
def published(hub: Hub, folder: Path) -> Hub:
    hub.repositories["someone/voices"] = folder
    return hub


def fetched(hub: Hub) -> list[str]:
    return [request for request in hub.requests if request.startswith("GET") and SUFFIX in unquote(request)]


def test_voices_of_the_hub_are_fetched_and_only_those_of_the_model(published: Hub) -> None:
    found = Voices.open("hf-snapshot://someone/voices", CONFIG, DIM, "expresso/sad.mp3")
    assert found.names == ("ada.wav", "expresso/ex03_happy.wav", "expresso/sad.mp3")
    assert found.get().shape == (FRAMES, DIM)
    assert len(fetched(published)) == 3
    assert not any("another" in request for request in published.requests)


def test_a_glob_chooses_among_the_voices_of_the_hub(published: Hub) -> None:
    """`**/` stands for any number of folders, none too, as in moshi-server's files."""
    found = Voices.open("hf-snapshot://someone/voices/expresso/**/*.safetensors", CONFIG, DIM)
    assert found.names == ("expresso/ex03_happy.wav", "expresso/sad.mp3")
    assert len(fetched(published)) == 2
    assert len(Voices.open("hf-snapshot://someone/voices/**/*.safetensors", CONFIG, DIM)) == 3
    assert Voices.open("hf-snapshot://someone/voices/expresso/s*", CONFIG, DIM).names == ("expresso/sad.mp3",)


def test_voices_in_the_cache_are_found_offline(published: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    Voices.open("hf-snapshot://someone/voices", CONFIG, DIM)
    published.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert len(Voices.open("hf-snapshot://someone/voices", CONFIG, DIM)) == 3
    assert published.requests == []


def test_a_link_out_of_the_hubs_copy_is_left_out(published: Hub, tmp_path: Path) -> None:
    found = Voices.open("hf-snapshot://someone/voices", CONFIG, DIM)
    secret = write(tmp_path / f"secret{SUFFIX}")
    (found.path("ada.wav").parent / f"secret{SUFFIX}").symlink_to(secret)
    assert "secret" not in Voices.open("hf-snapshot://someone/voices", CONFIG, DIM)


def test_a_repository_that_does_not_exist_is_named(hub: Hub) -> None:
    with pytest.raises(DownloadError, match="no repository no/where"):
        Voices.open("hf-snapshot://no/where", CONFIG, DIM)


def test_a_glob_that_fits_nothing_is_told(published: Hub) -> None:
    with pytest.raises(CheckpointError, match="no voices"):
        Voices.open("hf-snapshot://someone/voices/nothing/*", CONFIG, DIM)


@pytest.mark.parametrize("source", ["hf-snapshot://", "hf-snapshot://someone", "hf-snapshot:///x"])
def test_an_address_that_is_none_is_refused(source: str, hub: Hub) -> None:
    with pytest.raises(CheckpointError, match="expected hf-snapshot://owner/name"):
        Voices.open(source, CONFIG, DIM)
    assert hub.requests == []


def test_a_folder_is_named_as_in_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_VOICES", str(folder))
    assert len(Voices.open("$MY_VOICES", CONFIG, DIM)) == 3
    assert Voices.open("$MY_VOICES", CONFIG, DIM).path().is_absolute()
