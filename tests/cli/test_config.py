"""serve, worker, validate and config as a user types them: their options, their lines, their exit codes; offline."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.settings.conftest import CONFIGS
from tests.settings.conftest import no_network as no_network
from tests.settings.conftest import nothing_set as nothing_set
from vivavoce.cli import main
from vivavoce.settings import ServeSettings

from .conftest import Ran

SHIPPED = [str(path) for path in sorted(CONFIGS.rglob("*.toml"))]
Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "1000")

    def command(*arguments: str) -> Ran:
        code = main([*arguments])
        return Ran(code, *capsys.readouterr())

    return command


def test_every_setting_is_a_flag_of_serve_of_worker_and_of_config_show(run: Run) -> None:
    for verb in (["serve"], ["worker"], ["config", "show"]):
        said = run(*verb, "--help").out
        for name in set(ServeSettings.model_fields) - {"modules"}:
            assert re.search(rf"--{name.replace('_', '-')}\b", said), f"{verb}: {name}"


@pytest.mark.parametrize("arguments", [["serve", "--help"], ["worker", "--help"], ["config", "show"], ["validate"]])
def test_no_model_and_no_server_is_imported_to_talk_about_settings(arguments: list[str]) -> None:
    code = (
        "import sys; from vivavoce.cli import main; code = main(sys.argv[1:]);"
        "sys.exit(code or int(bool({'torch', 'uvicorn'} & sys.modules.keys())))"
    )
    assert subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=False).returncode == 0


def test_show_prints_toml_with_origins_and_no_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIVAVOCE_JWT_SECRET", "hunter2")
    monkeypatch.setenv("VIVAVOCE_PORT", "9000")
    done = run("config", "show", "--preset", "config-stt-en-hf", "--slots", "3", "--api-keys", "hunter2,hunter3")
    assert done.code == 0
    shown = tomllib.loads(done.out)
    assert (shown["port"], shown["slots"], shown["model"]) == (9000, 3, "hf://kyutai/stt-2.6b-en-candle")
    assert "port = 9000  # environment VIVAVOCE_PORT" in done.out
    assert "slots = 3  # --slots" in done.out
    assert "hunter" not in done.out + done.err


def test_switches_can_be_turned_on_and_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_AUTH", "SILENT"):
        monkeypatch.setenv(f"VIVAVOCE_{name}", "true")
    on, off = run("config", "show"), run("config", "show", "--auth", "--no-silent")
    assert [tomllib.loads(done.out)[key] for done in (on, off) for key in ("no_auth", "silent")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_the_file_can_be_named_by_a_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine.toml").write_text("port = 1234\n")
    monkeypatch.setenv("VIVAVOCE_CONFIG", "mine.toml")
    assert "port = 1234  # mine.toml" in run("config", "show").out


@pytest.mark.parametrize("verb", [["validate"], ["config", "validate"]])
def test_validate_takes_every_shipped_file_at_once(verb: list[str], run: Run) -> None:
    done = run(*verb, *SHIPPED)
    assert done.code == 0
    assert [line.split(":")[0] for line in done.out.splitlines()] == SHIPPED
    assert "is of type PyPost, which this build does not serve" in done.err


@pytest.mark.parametrize("verb", [["validate"], ["config", "validate"]])
def test_validate_goes_on_behind_a_wrong_file_and_exits_with_1(verb: list[str], run: Run) -> None:
    Path("wrong.toml").write_text('[modules.asr]\ntype = "BatchedAsr"\npath = "/x"\n')
    done = run(*verb, "wrong.toml", "nowhere.toml", SHIPPED[0])
    assert done.code == 1
    assert done.err.startswith("vivavoce: wrong.toml: [modules.asr] lm_model_file is missing; ")
    assert "wrong.toml: [modules.asr] batch_size is missing" in done.err
    assert "vivavoce: nowhere.toml: No such file or directory" in done.err
    assert done.out.startswith(f"{SHIPPED[0]}: ok, serves asr at /api/asr-streaming")


def test_validate_without_a_file_checks_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("validate").code == 0
    monkeypatch.setenv("VIVAVOCE_PORT", "123456")
    done = run("validate")
    assert (done.code, done.out) == (1, "")
    assert "VIVAVOCE_PORT should be less than or equal to 65535, found '123456'" in done.err
    assert run("validate", SHIPPED[0]).code == 0  # the file is not to blame


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["serve", "--addr", "0.0.0.0"], 2, "addr 0.0.0.0 lets other machines connect"),
        (["serve", "--addr", "nowhere"], 2, "--addr should be an IP address or localhost, found 'nowhere'"),
        (["serve", "--port", "x"], 2, "--port should be a valid integer, found 'x'"),
        (["serve", "--preset", "x"], 2, "--preset should be one of config-stt-en-hf"),
        (["serve", "--config", "x.toml"], 2, "x.toml: No such file or directory"),
        (["serve", "--prot", "1"], 2, "No such option: --prot"),
        (["serve", "--config", str(CONFIGS / "unmute/voice-cloning.toml")], 7, "nothing to serve"),
        (["worker"], 2, "Missing option '--config'"),
        (["worker", "--config", str(CONFIGS / "fork/config-stt-en-hf.toml")], 2, "addr 0.0.0.0 lets other machines"),
        (["worker", "--config", SHIPPED[0], "-a", "localhos"], 2, "--addr should be an IP address"),
        (["worker", "--config", SHIPPED[0], "-l", "loud"], 2, "--log-level should be 'off', 'error'"),
    ],
)
def test_what_cannot_be_served_costs_one_line(arguments: list[str], code: int, line: str, run: Run) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (code, "")
    assert line in done.err
    last = done.err.splitlines()[-1]
    assert line in last


def test_worker_takes_the_command_line_of_moshi_server_and_of_the_fork(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[ServeSettings] = []
    monkeypatch.setattr("vivavoce.server.run", lambda settings: seen.append(settings) or 0)
    first = ["worker", "--config", str(CONFIGS / "unmute/stt.toml")]
    flags = ["-l", "DEBUG", "-a", "127.0.0.1", "-p", "8998", "--cpu", "--silent", "--json", "--log-style", "Compact"]
    fork = ["--log-max-size-mb", "5", "--log-max-files", "2", "--disable-cuda-events", "--enable-tf32", "false"]
    plain, full = run(*first), run(*first, *flags, *fork)
    assert (plain.code, full.code) == (0, 0)
    assert "--disable-cuda-events and --enable-tf32 have no effect here" in full.err
    default, told = seen
    assert (default.addr, default.port, default.log_level) == ("0.0.0.0", 8080, "info")
    assert (told.addr, told.port, told.log_level, told.log_style) == ("127.0.0.1", 8998, "debug", "compact")
    assert (told.silent, told.log_json, told.log_max_size_mb, told.log_max_files) == (True, True, 5, 2)
    assert [module.device for module in told.served] == ["cpu"]


def test_the_environment_goes_over_the_address_that_worker_has_by_default(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr("vivavoce.server.run", lambda settings: seen.append(settings.addr) or 0)
    monkeypatch.setenv("VIVAVOCE_ADDR", "127.0.0.2")
    assert run("worker", "--config", SHIPPED[0]).code == 0
    assert seen == ["127.0.0.2"]


def test_serve_hands_the_hub_what_dotenv_says(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    Path(".env").write_text("HF_ENDPOINT=http://hub.example\nVIVAVOCE_PORT=81\n")
    seen: list[tuple[int, str | None]] = []
    monkeypatch.setattr(
        "vivavoce.server.run", lambda settings: seen.append((settings.port, os.environ.get("HF_ENDPOINT"))) or 0
    )
    assert run("serve").code == 0
    assert seen == [(81, "http://hub.example")]
    os.environ.pop("HF_ENDPOINT")
