"""Fetching models, from a small hub on the loopback interface."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from vivavoce.checkpoints import load_stt
from vivavoce.checkpoints.hub import KNOWN_MODELS, cached_models, fetch
from vivavoce.core import CheckpointError, DownloadError

from ..hub import COMMIT, Hub

FILES = ["config.json", "mimi.json", "mimi.safetensors", "model.safetensors", "tokenizer.model"]


@pytest.fixture
def published(hub: Hub, folder: Path) -> Hub:
    hub.repositories["someone/small"] = folder
    return hub


def failure(action: Callable[[], object]) -> str:
    with pytest.raises(DownloadError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("source", ["someone/small", "hf://someone/small", "hf://someone/small/config.json"])
def test_a_repository_is_loaded_by_its_name(source: str, published: Hub) -> None:
    loaded = load_stt(source, device="cpu")
    assert loaded.config.name == "someone/small"
    assert loaded.lm.config.dim == 64


@pytest.mark.parametrize("source", ["someone/small@v1", f"hf://someone/small@{COMMIT}", "hf://someone/small@v1"])
def test_a_revision_can_be_named(source: str, published: Hub) -> None:
    assert load_stt(source, device="cpu").config.name == "someone/small"


def test_weights_of_another_name_can_be_asked_for(published: Hub, folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "older.safetensors")
    assert load_stt("hf://someone/small/older.safetensors", device="cpu").lm.config.dim == 64


def test_only_the_needed_files_are_fetched(published: Hub, folder: Path) -> None:
    (folder / "README.md").write_text("a long story")
    load_stt("someone/small", device="cpu")
    fetched = [request.removeprefix("GET ") for request in published.requests if request.startswith("GET")]
    assert sorted(fetched) == FILES


def test_a_second_load_fetches_nothing(published: Hub) -> None:
    load_stt("someone/small", device="cpu")
    published.requests.clear()
    load_stt("someone/small", device="cpu")
    assert [request for request in published.requests if request.startswith("GET")] == []


def test_a_cached_model_loads_offline(published: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    load_stt("someone/small", device="cpu")
    published.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert load_stt("someone/small", device="cpu").config.name == "someone/small"
    assert published.requests == []


def test_a_cached_model_loads_when_the_hub_is_unreachable(published: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    load_stt("someone/small", device="cpu")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    assert load_stt("someone/small", device="cpu").config.name == "someone/small"


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_token_opens_a_private_repository(published: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    published.token = "hf_secret"
    assert "HF_TOKEN does not open it" in failure(lambda: load_stt("someone/small", device="cpu"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert load_stt("someone/small", device="cpu").config.name == "someone/small"


def test_the_cache_lies_where_the_environment_says_at_the_time_of_the_call(
    published: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "another"))
    assert fetch("someone/small", "config.json").is_relative_to(tmp_path / "another" / "hub")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "third"))
    assert fetch("someone/small", "config.json").is_relative_to(tmp_path / "third")


def test_an_unknown_repository_is_named(hub: Hub) -> None:
    assert "no repository no/where" in failure(lambda: load_stt("no/where"))


def test_an_unknown_revision_is_named(published: Hub) -> None:
    assert "someone/small has no revision v9" in failure(lambda: load_stt("someone/small@v9"))


def test_a_gated_repository_says_how_to_get_in(published: Hub) -> None:
    published.gated = True
    assert "gated: accept its conditions" in failure(lambda: load_stt("someone/small"))


@pytest.mark.parametrize("file", FILES)
def test_a_file_missing_from_a_repository_is_named(file: str, published: Hub, folder: Path) -> None:
    (folder / file).unlink()
    assert f"has no file {file}" in failure(lambda: load_stt("someone/small", device="cpu"))


def test_offline_and_not_cached_says_both(published: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    message = failure(lambda: load_stt("someone/small"))
    assert "not in the cache" in message
    assert "HF_HUB_OFFLINE" in message
    assert published.requests == []


def test_an_unreachable_hub_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{closed_port()}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # it tries for 23 s before giving up
    assert f"cannot reach {address}" in failure(lambda: load_stt("someone/small"))


@pytest.mark.parametrize("source", ["hf://someone", "hf://", "hf://a b/c"])
def test_an_address_that_is_none_is_refused(source: str, hub: Hub) -> None:
    with pytest.raises(CheckpointError, match="expected hf://owner/name"):
        load_stt(source)
    assert hub.requests == []


def test_cached_models_are_listed_with_their_size(published: Hub, folder: Path) -> None:
    assert cached_models() == []
    load_stt("someone/small", device="cpu")
    ((name, path, size),) = cached_models()
    assert name == "someone/small"
    assert (path / "config.json").is_file()
    assert size == sum((folder / file).stat().st_size for file in FILES)


def test_other_models_in_the_cache_are_not_listed(published: Hub, folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')
    fetch("someone/small", "config.json")
    assert cached_models() == []


def test_every_released_model_is_known_in_all_three_layouts() -> None:
    names = {model.name for model in KNOWN_MODELS}
    assert names == {
        f"kyutai/stt-{size}{kind}" for size in ("1b-en_fr", "2.6b-en") for kind in ("", "-candle", "-trfs")
    }


def test_only_one_release_has_pause_heads() -> None:
    assert [model.name for model in KNOWN_MODELS if model.pause_heads] == ["kyutai/stt-1b-en_fr-candle"]
