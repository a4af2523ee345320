"""`vivavoce token` as scripts use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jwt
import pytest

from vivavoce.core import ExitCode

SECRET = "a secret of more than thirty-two bytes"


def token(*arguments: str, folder: Path, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    hidden = ("BETTER_AUTH_SECRET", "MOSHI_JWT_TOKEN", "ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden} | variables
    command = [sys.executable, "-m", "vivavoce", "token", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, input=stdin, capture_output=True, text=True, check=False
    )


def test_mint_prints_the_token_alone_and_verify_takes_it(tmp_path: Path) -> None:
    minted = token("mint", "--hours", "2", "--user", "ada", folder=tmp_path, BETTER_AUTH_SECRET=SECRET)
    assert (minted.returncode, minted.stderr) == (0, "")
    claims = jwt.decode(minted.stdout.strip(), SECRET, algorithms=["HS256"])
    assert claims["exp"] - claims["iat"] == 7200
    (tmp_path / ".env").write_text(f"export BETTER_AUTH_SECRET='{SECRET}'\n")
    judged = token("verify", "-", folder=tmp_path, stdin=minted.stdout)
    assert (judged.returncode, judged.stdout) == (0, "user ada, good for 2.0 h\n")


@pytest.mark.parametrize(("status", "why"), [("pending", "waits for approval"), ("rejected", "may not use")])
def test_verify_says_why_not(tmp_path: Path, status: str, why: str) -> None:
    minted = token("mint", "--status", status, "--secret", SECRET, folder=tmp_path).stdout
    judged = token("verify", minted.strip(), "--secret", SECRET, folder=tmp_path)
    assert (judged.returncode, judged.stdout) == (ExitCode.FAILURE, "")
    assert why in judged.stderr
    other = token("verify", minted.strip(), "--secret", SECRET[::-1], folder=tmp_path)
    assert "signature is wrong" in other.stderr


def test_json_says_whose_a_token_is_or_why_it_is_not_good(tmp_path: Path) -> None:
    minted = json.loads(token("mint", "--user", "ada", "--secret", SECRET, "--json", folder=tmp_path).stdout)
    assert minted["user"] == "ada"
    assert 3500 < minted["expires_in_seconds"] <= 3600
    judged = token("verify", minted["token"], "--secret", SECRET, "--json", folder=tmp_path)
    assert judged.returncode == 0
    told = json.loads(judged.stdout)
    assert (told["valid"], told["user"], told["session"]) == (True, "ada", minted["session"])
    other = token("verify", minted["token"], "--secret", SECRET[::-1], "--json", folder=tmp_path)
    assert (other.returncode, json.loads(other.stdout)["valid"]) == (ExitCode.FAILURE, False)
    assert "signature is wrong" in json.loads(other.stdout)["reason"]


def test_inspect_needs_no_secret(tmp_path: Path) -> None:
    minted = token("mint", "--secret", SECRET, folder=tmp_path).stdout.strip()
    seen = token("inspect", folder=tmp_path, MOSHI_JWT_TOKEN=minted)
    told = json.loads(seen.stdout)
    assert told["header"]["alg"] == "HS256"
    assert 3500 < told["expires_in_seconds"] <= 3600


@pytest.mark.parametrize("arguments", [("mint",), ("verify", "x.y.z")])
def test_without_a_secret_one_line_names_its_places(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ran = token(*arguments, folder=tmp_path)
    assert (ran.returncode, ran.stdout) == (ExitCode.FAILURE, "")
    assert len(ran.stderr.splitlines()) == 1
    assert "--secret" in ran.stderr


def test_the_secret_is_never_printed(tmp_path: Path) -> None:
    short = "hush"
    for arguments in (["mint"], ["mint", "--hours", "-1"], ["verify", "x.y.z"], ["inspect", "x"], ["mint", "--colour"]):
        ran = (
            token(*arguments, "--secret", short, folder=tmp_path)
            if arguments[0] != "inspect"
            else token(*arguments, folder=tmp_path, BETTER_AUTH_SECRET=short)
        )
        assert short not in ran.stdout + ran.stderr
