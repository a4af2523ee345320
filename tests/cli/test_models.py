"""`vivavoce models`: what can be loaded and what is on this disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Command


@pytest.fixture
def cached(vivavoce: Command, tmp_path: Path) -> Command:
    """A cache with one model of somebody's own."""
    repository = tmp_path / "hub/models--me--mine"
    snapshot = repository / "snapshots/0123456789abcdef0123456789abcdef01234567"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(snapshot.name)
    (snapshot / "config.json").write_text(json.dumps({"model_type": "stt"}))
    vivavoce.variables = {"HF_HUB_CACHE": str(tmp_path / "hub")}
    return vivavoce


def test_known_models_are_listed_with_languages_and_size(cached: Command) -> None:
    ran = cached("models")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("MODEL")
    [line] = [line.split() for line in ran.out.splitlines() if line.startswith("kyutai/stt-2.6b-en ")]
    assert line == ["kyutai/stt-2.6b-en", "en", "5.6", "GB", "to", "download"]


def test_the_cache_is_listed_with_its_size(cached: Command, tmp_path: Path) -> None:
    [mine] = [row for row in json.loads(cached("models", "--json").out) if row["name"] == "me/mine"]

    assert mine["bytes"] == len(json.dumps({"model_type": "stt"}))
    assert mine["path"].startswith(str(tmp_path / "hub"))


def test_json_says_what_is_not_here(cached: Command) -> None:
    [known] = [row for row in json.loads(cached("models", "--json").out) if row["name"] == "kyutai/stt-1b-en_fr"]

    assert known["path"] is None
    assert known["languages"] == ["en", "fr"]


def test_the_embedded_model_is_listed_by_the_name_that_loads_it(cached: Command) -> None:
    from vivavoce.settings import embedded, locate

    [own] = [row for row in json.loads(cached("models", "--json").out) if row["path"] == str(embedded())]

    assert own["languages"] == ["en"]
    assert locate(own["name"]) == locate(None)


def test_embedded_models_of_both_kinds_are_listed(tmp_path: Path) -> None:
    from vivavoce.cli.models import embedded

    for name, section in (("stt-a", "stt_config"), ("tts-b", "tts_config")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({section: {"languages": ["en"]}}))
    assert [(row.name, row.languages) for row in embedded(tmp_path)] == [("stt-a", ("en",)), ("tts-b", ("en",))]
