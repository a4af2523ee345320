"""`vivavoce model`: from the hub into the cache, looked at there, and out of it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vivavoce.checkpoints import SttModel, save_stt
from vivavoce.cli import main
from vivavoce.core import ExitCode

from ..hub import COMMIT, Hub


@pytest.fixture
def published(hub: Hub, make_model: Callable[..., SttModel], tokenizer: bytes, tmp_path: Path) -> Hub:
    save_stt(make_model(), tmp_path / "small", dtype=torch.float32, tokenizer=tokenizer)
    (tmp_path / "small/README.md").write_text("a long story")
    hub.repositories["someone/small"] = tmp_path / "small"
    return hub


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any, str]]:
    """Exit code, what --json says, standard error."""

    def run(*arguments: str) -> tuple[int, Any, str]:
        code = main(["model", *arguments, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out), said.err

    return run


def snapshot(tmp_path: Path) -> Path:
    return tmp_path / f"hf/hub/models--someone--small/snapshots/{COMMIT}"


def test_pull_fetches_what_is_needed_and_no_more(published: Hub, told: Any, tmp_path: Path) -> None:
    code, (pulled,), _ = told("pull", "someone/small")
    assert (code, pulled["path"]) == (0, str(snapshot(tmp_path)))
    assert pulled["bytes"] == sum((snapshot(tmp_path) / file).stat().st_size for file in pulled["files"].values())
    assert not (snapshot(tmp_path) / "README.md").exists()
    published.requests.clear()
    assert told("pull", "someone/small")[0] == 0
    assert not [request for request in published.requests if request.startswith("GET")]


def test_one_that_fails_does_not_cost_the_others(published: Hub, told: Any) -> None:
    code, pulled, error = told("pull", "someone/missing", f"someone/small@{COMMIT}")
    assert (code, len(pulled)) == (ExitCode.DOWNLOAD, 1)
    assert "has no repository someone/missing" in error


def test_ls_is_models(published: Hub, told: Any) -> None:
    told("pull", "someone/small")
    assert "someone/small" in {row["name"] for row in told("ls")[1] if row["path"]}


def test_a_whole_model_has_the_hubs_digests(published: Hub, told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told("pull", "someone/small")
    published.requests.clear()
    code, (verdict,), _ = told("verify", "someone/small")
    assert (code, verdict["faults"], verdict["hashed"]) == (0, [], verdict["files"])
    assert not published.requests  # it is a matter of this disk


def test_a_byte_that_changed_is_found(published: Hub, told: Any, tmp_path: Path) -> None:
    told("pull", "someone/small")
    file = (snapshot(tmp_path) / "model.safetensors").resolve()
    damaged = bytearray(file.read_bytes())
    damaged[-5] ^= 1
    file.write_bytes(damaged)
    code, (verdict,), _ = told("verify", "someone/small")
    assert (code, verdict["faults"]) == (ExitCode.CHECKPOINT, ["model.safetensors: not the bytes that the hub gave"])


def test_folders_are_judged_by_tensors_and_numbers(published: Hub, told: Any, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    assert told("verify", str(folder))[0] == 0
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"out_norm.alpha": weights["out_norm.alpha"] * float("nan")}, folder / "model.safetensors")
    assert told("verify", str(folder))[1][0]["faults"] == [
        "model.safetensors: tensor out_norm.alpha has numbers that are NaN or infinite"
    ]
    del weights["out_norm.alpha"]
    save_file(weights, folder / "model.safetensors")
    assert "out_norm.alpha [1, 1, 64] is missing" in told("verify", str(folder))[1][0]["faults"][0]


def test_a_file_that_git_lfs_did_not_fetch_is_named(published: Hub, told: Any, tmp_path: Path) -> None:
    (tmp_path / "small/mimi.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    code, (verdict,), _ = told("verify", str(tmp_path / "small"))
    assert (code, verdict["faults"]) == (
        ExitCode.CHECKPOINT, ["mimi.safetensors: only a pointer to the file (git-lfs pull)"]
    )  # fmt: skip


def test_without_a_name_everything_here_is_verified(published: Hub, told: Any) -> None:
    told("pull", "someone/small")
    code, verdicts, _ = told("verify")
    assert code == 0
    assert {"stt-digits-en", "tts-digits-en", "someone/small"} == {verdict["name"] for verdict in verdicts}
    assert told("verify", "someone/else")[0] == ExitCode.FILE_NOT_FOUND


def test_rm_frees_what_it_says(published: Hub, told: Any, tmp_path: Path) -> None:
    told("pull", "someone/small")
    code, (would,), _ = told("rm", "someone/small", "--dry-run")
    assert (code, would["removed"], would["revisions"]) == (0, False, [COMMIT])
    assert snapshot(tmp_path).exists()
    assert told("rm", f"someone/small@{'f' * 40}")[0] == ExitCode.FILE_NOT_FOUND
    _, (done,), _ = told("rm", f"someone/small@{COMMIT}")
    assert done["bytes"] == would["bytes"] > 0
    assert not snapshot(tmp_path).exists()
    assert told("rm", "someone/small")[0] == ExitCode.FILE_NOT_FOUND
    assert told("rm", "stt-digits-en")[0] == ExitCode.FILE_NOT_FOUND
