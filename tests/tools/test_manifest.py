"""Manifests as they are in the wild, and what is wrong with some."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vivavoce.core import AudioNotFoundError
from vivavoce.tools.manifest import ManifestError, Sample, digest, read, write


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "manifest.jsonl"
    path.write_text(text)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    samples = [
        Sample("one", tmp_path / "a/one.wav", "zéro", "00", 1.25),
        Sample("two", tmp_path / "two.wav", None, None, None),
    ]
    write(tmp_path / "manifest.jsonl", samples)
    assert read(tmp_path / "manifest.jsonl") == samples
    first = json.loads((tmp_path / "manifest.jsonl").read_text().splitlines()[0])
    assert first == {
        "id": "one", "wav24k_path": "a/one.wav", "ref_text": "zéro", "sha256": "00", "duration_s": 1.25
    }  # fmt: skip


def test_the_latency_manifest_of_the_modal_project(tmp_path: Path) -> None:
    entry = {"id": "e1", "text": "hello", "start": 3, "end": 5, "duration": 2.0, "paths": {"wav": "x.wav"}}
    assert read(written(tmp_path, json.dumps([entry]))) == [Sample("e1", tmp_path / "x.wav", "hello", None, 2.0)]


def test_words_with_their_length_or_their_end(tmp_path: Path) -> None:
    entries = [{"path": "x.wav", "words": [["a", 0.5, 0.25]]}, {"id": "y", "path": "y.wav"}]
    one, two = read(written(tmp_path, json.dumps(entries)))
    assert one.times() == (("a", 0.5, 0.75),)
    assert two.times() is None
    (tmp_path / "y.wav.words.json").write_text(json.dumps([{"word": "b", "start": 1, "end": 1.5}]))
    assert two.times() == (("b", 1.0, 1.5),)


def test_a_text_beside_the_recording_is_its_reference(tmp_path: Path) -> None:
    sample = Sample("x", tmp_path / "x.wav")
    assert sample.reference() is None
    (tmp_path / "x.txt").write_text("from x.txt\n")
    assert sample.reference() == "from x.txt"
    (tmp_path / "x.wav.txt").write_text("from x.wav.txt")
    assert sample.reference() == "from x.wav.txt"
    assert Sample("x", tmp_path / "x.wav", "").reference() == ""


def test_paths_are_beside_the_manifest_or_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples/one.wav").touch()
    manifest = tmp_path / "samples/manifest.jsonl"
    manifest.write_text('{"wav24k_path": "samples/one.wav"}\n')
    monkeypatch.chdir(tmp_path)
    assert read(manifest)[0].path == Path("samples/one.wav")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"id": "a"}', "line 1: wav24k_path is missing"),
        ('\n{"wav24k_path": 7}', "line 2: wav24k_path is 7"),
        ('{"wav24k_path": "a", "duration_s": true}', "duration_s is true"),
        ('{"wav24k_path": "a"', "line 1: not JSON"),
        ('{"wav24k_path": "a"}\n{"wav24k_path": "a"}', "line 2: the id 'a' stands there twice"),
        ("3", "expected an object"),
        ("[1]", "entry 1: expected an object"),
        ("[", "not JSON"),
        ('{"wav24k_path": "a", "words": [["a", 1]]}', "expected word, start and end"),
        ('{"wav24k_path": "a", "words": 3}', "expected a list of words"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ManifestError, match="manifest") as caught:
        read(written(tmp_path, text))
    assert said in str(caught.value)


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AudioNotFoundError, match="no such file"):
        read(tmp_path / "none.jsonl")


def test_the_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert digest(tmp_path / "x").startswith("ba7816bf8f01cfea")
