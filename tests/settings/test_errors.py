"""One line: where it was set, what is allowed, what was found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vivavoce.settings import ServeSettings, SettingsError, load

from .conftest import Write

ORIGIN = "should be SCHEME://HOST or SCHEME://HOST:PORT, such as https://example.org, or *"
PROXY = "should be an IP address, a network such as 10.0.0.0/8, or *"
FLAGS = [
    ({"port": "99999"}, "--port should be less than or equal to 65535, found '99999'"),
    ({"slots": "0"}, "--slots should be greater than or equal to 1, found '0'"),
    ({"slots": "many"}, "--slots should be a valid integer, found 'many'"),
    ({"queue_seconds": "nan"}, "--queue-seconds should be a finite number, found 'nan'"),
    ({"queue_seconds": "0"}, "--queue-seconds should be greater than 0, found '0'"),
    ({"addr": "example.org"}, "--addr should be an IP address or localhost, found 'example.org'"),
    ({"log_style": "loud"}, "--log-style should be 'pretty', 'compact' or 'verbose', found 'loud'"),
    ({"device": "gpu"}, "--device should be auto, cpu, cuda, cuda:N or mps, found 'gpu'"),
    ({"origins": "example.org"}, f"--origins {ORIGIN}, found 'example.org'"),
    ({"origins": "//example.org"}, f"--origins {ORIGIN}, found '//example.org'"),
    ({"origins": "*,https://example.org/page"}, f"--origins {ORIGIN}, found 'https://example.org/page'"),
    ({"origins": "https://me@example.org"}, f"--origins {ORIGIN}, found 'https://me@example.org'"),
    ({"origins": "http://example.org:many"}, f"--origins {ORIGIN}, found 'http://example.org:many'"),
    ({"trusted_proxies": "caddy"}, f"--trusted-proxies {PROXY}, found 'caddy'"),
    ({"trusted_proxies": "10.0.0.0/33"}, f"--trusted-proxies {PROXY}, found '10.0.0.0/33'"),
    ({"tls_cert": "x"}, "tls_cert and tls_key must be given together"),
    ({"modal_headers": True}, "modal_headers needs modal_key and modal_secret"),
]


@pytest.mark.parametrize(("flags", "line"), FLAGS)
def test_a_wrong_flag(flags: dict[str, object], line: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(line)}$") as caught:
        load(flags)
    assert caught.value.exit_code == 2


def test_every_wrong_value_is_named_with_its_place(toml: Write) -> None:
    path = toml("port = -1\n")
    with pytest.raises(SettingsError) as caught:
        load(config=path, environment={"VIVAVOCE_SEED": "x", "MAX_CONCURRENT_SESSIONS": "y"})
    line = str(caught.value)
    assert f"{path}: port should be greater than or equal to 0, found -1" in line
    assert "VIVAVOCE_SEED should be a valid integer, found 'x'" in line
    assert "MAX_CONCURRENT_SESSIONS: slots should be a valid integer, found 'y'" in line
    assert "\n" not in line


def test_a_file_that_cannot_be_read(toml: Write, tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "no.toml", "No such file"),
        (tmp_path, "Is a directory"),
        (toml("port = "), "not readable TOML"),
    ):
        with pytest.raises(SettingsError, match=reason) as caught:
            load(config=path)
        assert str(caught.value).startswith(str(path))


def test_unknown_keys_are_named_and_change_nothing(toml: Write) -> None:
    loaded = load(config=toml('prot = 1\n[warmup]\nenabled = false\nfast = 1\n[modules.a]\ntype = "stt"\nslot = 3\n'))
    assert [warning.split(": ", 1)[1] for warning in loaded.warnings] == [
        "warmup.fast is not a known key and has no effect",
        "warmup.enabled has no effect: the engine always warms up",
        "prot is not a known key and has no effect; is port meant?",
        "modules.a.slot is not a known key and has no effect; is slots meant?",
    ]
    assert loaded.settings.served[0].slots == 16


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[modules.a]\n", "type is missing; it is one of stt, tts, Asr, BatchedAsr"),
        ('[modules.a]\ntype = "Asrs"\n', "type should be one of stt, tts, Asr, .* found 'Asrs'"),
        ('[modules.a]\ntype = "stt"\npath = "x"\n', r"\[modules.a\]: path should begin with / .* found 'x'"),
        ('[modules.a]\ntype = "stt"\nslots = 0\n', r"\[modules.a\]: slots should be greater .* found 0"),
        ('[modules.a]\ntype = "stt"\n[modules.b]\ntype = "stt"\n', "a and b have the same path /api/asr-streaming"),
        ("slots = true\n", "slots should not be true or false"),
        ('[modules.a]\ntype = "stt"\nslots = true\n', r"\[modules.a\] slots should not be true or false"),
        ("modules = 3\n", "modules should be tables"),
        ("[modules]\na = 3\n", r"\[modules.a\] should be a table, found 3"),
        ('log_dir = "/x/$NOT_SET/y"\n', "log_dir: the variable NOT_SET of '/x/\\$NOT_SET/y' is not set"),
        ('[modules.a]\ntype = "stt"\nlm_file = "hf://kyutai/stt"\n', "lm_file: expected hf://owner/name/file, found"),
    ],
)
def test_a_wrong_table(toml: Write, text: str, line: str) -> None:
    with pytest.raises(SettingsError, match=line):
        load(config=toml(text))


def test_a_preset_that_does_not_exist_and_two_sources_of_a_file(toml: Write) -> None:
    with pytest.raises(SettingsError, match=r"--preset should be one of config-stt-en-hf, .* found 'big'"):
        load(preset="big")
    with pytest.raises(SettingsError, match="one of --config and --preset"):
        load(preset="embedded", config=toml(""))


@pytest.mark.parametrize("addr", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_loopback_nobody_needs_a_key(addr: str) -> None:
    ServeSettings(addr=addr).demand_protection()


@pytest.mark.parametrize("addr", ["0.0.0.0", "::", "10.0.0.1", "::ffff:7f00:1"])
def test_elsewhere_somebody_must_say_who_may_come_in(addr: str) -> None:
    with pytest.raises(SettingsError, match=f"addr {addr} lets other machines connect"):
        ServeSettings(addr=addr).demand_protection()
    for given in (
        {"api_keys": "k"},
        {"jwt_secret": "s"},
        {"no_auth": True},
        {"modal_headers": True, "modal_key": "k", "modal_secret": "s"},
    ):
        ServeSettings.model_validate({"addr": addr, **given}).demand_protection()


def test_modal_keys_in_the_environment_protect_nothing_by_themselves() -> None:
    settings = load({"addr": "0.0.0.0"}, environment={"MODAL_KEY": "k", "MODAL_SECRET": "s"}).settings
    with pytest.raises(SettingsError):
        settings.demand_protection()
