"""The secret's places in their order, and tokens that the server takes."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import jwt
import pytest

from vivavoce.client import tokens
from vivavoce.client.tokens import TokenError
from vivavoce.core import VivavoceError
from vivavoce.server.tokens import Tokens

SECRET = "a secret of more than thirty-two bytes"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("BETTER_AUTH_SECRET", "ENV", "MOSHI_USER_ID", "MOSHI_SESSION_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


PLACES = ("flag", "environment", ".env.development", ".env")


@pytest.mark.parametrize("present", list(product([True, False], repeat=4)))
def test_the_first_place_that_has_a_secret_wins(
    folder: Path, monkeypatch: pytest.MonkeyPatch, present: tuple[bool, ...]
) -> None:
    there = [place for place, is_there in zip(PLACES, present) if is_there]
    if "environment" in there:
        monkeypatch.setenv("BETTER_AUTH_SECRET", "environment")
    for place in there:
        if place.startswith("."):
            (folder / place).write_text(f"OTHER=1\nBETTER_AUTH_SECRET={place}\n")
    found = tokens.secret("flag" if "flag" in there else None)
    assert found == (there[0] if there else None)


def test_which_env_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("staging", "production"):
        (folder / f".env.{name}").write_text(f"BETTER_AUTH_SECRET={name}\n")
    monkeypatch.setenv("ENV", "staging")
    assert tokens.secret() == "staging"
    assert tokens.secret(environment="production") == "production"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("BETTER_AUTH_SECRET=plain", "plain"),
        ("export BETTER_AUTH_SECRET=plain", "plain"),
        ("  BETTER_AUTH_SECRET = spaced ", "spaced"),
        ('BETTER_AUTH_SECRET="with # and = inside"  # why', "with # and = inside"),
        ("BETTER_AUTH_SECRET='single'", "single"),
        ("BETTER_AUTH_SECRET=plain # why", "plain"),
        ("# BETTER_AUTH_SECRET=old", None),
        ("BETTER_AUTH_SECRET=", None),
        ("BETTER_AUTH_SECRET", None),
    ],
)
def test_the_syntax_of_env_files(folder: Path, line: str, value: str | None) -> None:
    (folder / ".env").write_text(f"\n{line}\n")
    assert tokens.secret() == value


def test_no_secret_names_the_places() -> None:
    with pytest.raises(TokenError, match=r"--secret.*BETTER_AUTH_SECRET.*\.env\.development or in \.env"):
        tokens.demand()


def test_the_claims_of_a_minted_token() -> None:
    claims = jwt.decode(
        tokens.mint(SECRET, 2.5, user="ada", now=NOON), SECRET, algorithms=["HS256"], options={"verify_exp": False}
    )
    assert claims["exp"] - claims["iat"] == 9_000
    assert claims["session"].keys() >= {"id", "userId", "createdAt", "updatedAt", "expiresAt", "token"}
    assert claims["session"]["userId"] == claims["user"]["id"] == "ada"
    assert claims["session"]["expiresAt"] == "2026-05-01T14:30:00.000Z"
    assert "status" not in claims["user"]
    assert tokens.lifetime(claims, NOON) == 9_000


@pytest.mark.parametrize(
    ("status", "good"), [(None, True), ("approved", True), ("pending", False), ("rejected", False)]
)
def test_the_server_judges_what_was_minted(status: str | None, good: bool) -> None:
    token = tokens.mint(SECRET, status=status, user="ada")
    if good:
        assert Tokens(SECRET).user(token) == "user ada"
        return
    with pytest.raises(VivavoceError):
        Tokens(SECRET).user(token)


def test_the_server_refuses_it_when_its_time_is_over() -> None:
    token = tokens.mint(SECRET, 1.0, now=NOON)
    Tokens(SECRET, clock=lambda: NOON.timestamp() + 3599).user(token)
    with pytest.raises(VivavoceError, match="expired"):
        Tokens(SECRET, clock=lambda: NOON.timestamp() + 3600).user(token)


@pytest.mark.parametrize("hours", [0, -1, float("nan"), float("inf"), 1e9])
def test_hours_that_make_no_sense(hours: float) -> None:
    with pytest.raises(TokenError, match="hours"):
        tokens.mint(SECRET, hours)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "..", "é.é.é"])
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(TokenError, match="no token"):
        tokens.inspect(text)


def test_a_token_without_an_end() -> None:
    assert tokens.lifetime({}) is None
    assert tokens.lifetime({"session": {"expiresAt": "soon"}}) is None
    assert tokens.lifetime({"exp": 10}, datetime.fromtimestamp(4, UTC)) == 6
