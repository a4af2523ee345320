"""Names for servers: file, environment, flags, and which of them wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from vivavoce.client import services, tokens
from vivavoce.client.services import ServiceError, find, resolve

SECRET = "a secret of more than thirty-two bytes"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("LOCAL_WS_URL", "MODAL_WORKSPACE", "MODAL_KEY", "MODAL_SECRET", "MOSHI_JWT_TOKEN", "ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("VIVAVOCE_SERVICES", raising=False)
    monkeypatch.delenv("BETTER_AUTH_SECRET", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    file = tmp_path / "vivavoce" / "services.toml"
    file.parent.mkdir()
    file.write_text(
        '[office]\nurl = "wss://speech.example.org"\ndialect = "moshi"\nkey = "$OFFICE_KEY"\n'
        'headers = {"X-Team" = "blue"}\n[plain]\nurl = "ws://plain"\n'
    )
    return file


def test_the_built_in_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find("local").url == "ws://127.0.0.1:8080"
    monkeypatch.setenv("LOCAL_WS_URL", "ws://192.168.1.101:8000/v1/stream")
    assert find("local").url == "ws://192.168.1.101:8000/v1/stream"
    monkeypatch.setenv("MODAL_WORKSPACE", "acme")
    monkeypatch.setenv("MODAL_KEY", "wk-1")
    monkeypatch.setenv("MODAL_SECRET", "ws-1")
    modal = find("modal")
    assert modal.url == "wss://acme--kyutai-stt-rust-kyutaisttrustservice-serve.modal.run/v1/stream"
    assert modal.headers == {"Modal-Key": "wk-1", "Modal-Secret": "ws-1"}
    assert "ws-1" not in repr(modal)


def test_a_service_of_the_file(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFICE_KEY", "k")
    office = find("office")
    assert (office.url, office.dialect, office.key) == ("wss://speech.example.org", "moshi", "k")
    assert office.options()["headers"] == {"X-Team": "blue"}


def test_flags_win_over_the_service_and_the_service_over_the_environment(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFICE_KEY", "k")
    monkeypatch.setenv("MOSHI_JWT_TOKEN", "from the environment")
    found = resolve("office", "ws://other", key="mine", dialect="stream")
    assert found is not None
    assert (found.url, found.key, found.token, found.dialect) == (
        "ws://other",
        "mine",
        "from the environment",
        "stream",
    )
    flag = resolve(None, "ws://h", token="from the flag")
    assert flag is not None
    assert flag.token == "from the flag"
    assert resolve(None, None) is None


def test_a_service_may_mint_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETTER_AUTH_SECRET", SECRET)
    file = tmp_path / "mine.toml"
    file.write_text('[x]\nurl = "ws://h"\nmint = true\n')
    monkeypatch.setenv("VIVAVOCE_SERVICES", str(file))
    found = find("x")
    assert found.token
    assert tokens.inspect(found.token)[0]["alg"] == "HS256"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("url = 3", "expected a table with a url"),
        ("[x]", "url is missing"),
        ('[x]\nurl = "u"\ncolour = "red"', "unknown key colour; the keys are"),
        ('[x]\nurl = "u"\ndialect = "french"', "dialect must be one of auto, stream, moshi, got french"),
        ('[x]\nurl = "$NOWHERE"', "the variable NOWHERE is not set"),
        ("[x]\nurl = 3", "url: must be a string"),
        ('[x]\nurl = "u"\nmodal_key = "k"', "only one is set"),
        ('[x]\nurl = "u"\nheaders = 3', "headers must be a table"),
        ("[x", "not valid TOML"),
    ],
)
def test_what_is_wrong_with_the_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    file = tmp_path / "s.toml"
    file.write_text(text)
    monkeypatch.setenv("VIVAVOCE_SERVICES", str(file))
    with pytest.raises(ServiceError, match=r".") as caught:
        services.load()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_service_names_those_that_are_known(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFICE_KEY", "k")
    with pytest.raises(ServiceError, match="have local, modal, office, plain"):
        find("home")
    with pytest.raises(ServiceError, match="set MODAL_WORKSPACE"):
        find("modal")


def test_a_file_that_is_named_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    assert services.load() == {}
    monkeypatch.setenv("VIVAVOCE_SERVICES", "nowhere.toml")
    with pytest.raises(ServiceError, match=r"nowhere\.toml: no such file"):
        services.load()
