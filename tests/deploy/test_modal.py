"""The application for Modal by Modal's own package as far as it goes without an account, and its server for real."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from modal._utils.async_utils import synchronizer

from ..example import EXAMPLE
from . import DEPLOY, free_port

APP = DEPLOY / "modal" / "app.py"
READ = """
import json, modal, runpy
from modal._utils.async_utils import synchronizer
given, server = {{}}, modal.App.server
def recorded(self, **options):
    given.update(options)
    return server(self, **options)
modal.App.server = recorded
found = runpy.run_path({app!r}, run_name="app")
spec = synchronizer._translate_in(found["Kyutai"])._get_service_function()._spec
names = ("scaledown_window", "min_containers", "max_containers", "max_concurrency", "enable_memory_snapshot")
print(json.dumps({{
    "app": found["app"].name, "gpu": spec.gpus, "volumes": list(map(str, spec.volumes)), "settings": found["SETTINGS"],
    **{{name: given[name] for name in names}},
}}))
"""


def described(**environment: str) -> Any:
    """What Modal's package makes of the file; in a process of its own, for it reads the environment once."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KYUTAI_", "MODAL_"))}
    command = [sys.executable, "-c", READ.format(app=str(APP))]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, cwd=APP.parent)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_variables_it_is_the_1b_on_an_l40s_with_eight_streams() -> None:
    told = described()
    assert (told["app"], told["gpu"]) == ("kyutai-stt", "L40S")
    assert (told["min_containers"], told["max_containers"], told["scaledown_window"]) == (0, 10, 60)
    assert told["max_concurrency"] == 8 and not told["enable_memory_snapshot"]
    assert told["settings"]["VIVAVOCE_SLOTS"] == "8" and told["settings"]["VIVAVOCE_MODEL"] == "kyutai/stt-1b-en_fr"
    assert told["settings"]["VIVAVOCE_IDLE_SECONDS"] == "10"
    assert told["volumes"] == ["/models"]


def test_the_variables_of_the_old_deployment_count() -> None:
    own = {"KYUTAI_GPU": "A10G", "BATCH_SIZE": "16", "MODEL_NAME": "kyutai/stt-2.6b-en", "KYUTAI_APP_NAME": "mine"}
    told = described(**own)
    assert (told["app"], told["gpu"]) == ("mine", "A10G")
    assert told["settings"]["VIVAVOCE_SLOTS"] == "16" and told["settings"]["VIVAVOCE_MODEL"] == "kyutai/stt-2.6b-en"


def test_modal_takes_a_gpu_snapshot_of_it() -> None:
    assert described(KYUTAI_GPU_SNAPSHOT="1")["enable_memory_snapshot"]


def test_the_server_of_a_container_starts_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The class as Modal would run it, with the embedded model and at another port."""
    specification = importlib.util.spec_from_file_location("kyutai_app", APP)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "kyutai_app", module)
    specification.loader.exec_module(module)
    for name, value in module.SETTINGS.items():
        if name.startswith("VIVAVOCE_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("VIVAVOCE_ADDR", "127.0.0.1")
    monkeypatch.setenv("VIVAVOCE_PORT", str(free_port()))
    monkeypatch.setenv("VIVAVOCE_MODEL", "")
    kind = synchronizer._translate_in(module.Kyutai)._user_cls
    server, (start, stop) = kind(), (kind.__dict__[name]._get_raw_f() for name in ("start", "stop"))
    start(server)
    assert module._ready()
    stop(server)
    assert server.process.returncode == 0 and not module._ready()


@pytest.fixture
def cloud(tmp_path: Path) -> Path:
    """The folder of a `modal` that deploys to this machine: each application a real server of the package.

    Its real namesake deploys to an account.
    """
    script = tmp_path / "modal"
    script.write_text(
        textwrap.dedent(f"""\
        #!{sys.executable}
        import os, pathlib, signal, subprocess, sys
        here = pathlib.Path({str(tmp_path)!r})
        with (here / "calls").open("a") as calls:
            print(*sys.argv[1:], os.environ.get("KYUTAI_GPU"), os.environ.get("KYUTAI_APP_NAME"), file=calls)
        if sys.argv[1] == "deploy":
            name = os.environ["KYUTAI_APP_NAME"]
            if os.environ["KYUTAI_GPU"] == "NONE":
                sys.exit("no such GPU: NONE")
            command = [sys.executable, "-m", "vivavoce", "serve", "--port", "0", "--tts-model", "none"]
            log = open(here / name, "w")
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            (here / (name + ".pid")).write_text(str(process.pid))
            while "Listening on " not in (text := (here / name).read_text()):
                pass
            print("View Deployment: https://modal.com/apps/me/main/deployed/" + name)
            print("Created server Kyutai => " + text.split("Listening on ")[1].split()[0])
        else:
            os.kill(int((here / (sys.argv[-1] + ".pid")).read_text()), signal.SIGTERM)
        """)
    )
    script.chmod(0o755)
    return tmp_path


def compare(cloud: Path, gpus: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["bench", "latency", "--compare-gpus", gpus, "--modal-app", str(APP), *options]
    environment = os.environ | {"PATH": f"{cloud}:{os.environ['PATH']}"}
    return subprocess.run(
        [sys.executable, "-m", "vivavoce", *command], env=environment, capture_output=True, text=True, timeout=300
    )


def test_gpus_are_deployed_measured_and_taken_down(cloud: Path) -> None:
    options = ["--runs", "1", "--parallel", "1", "--rtf", "8", "--json", "--wav", str(EXAMPLE)]
    done = compare(cloud, "L4,A10G", *options)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {target["target"] for target in told["targets"]} == {"L4", "A10G"}
    assert all(target["summary"]["first_token"] for target in told["targets"])
    calls = (cloud / "calls").read_text().splitlines()
    assert calls[:2] == [f"deploy {APP} L4 kyutai-stt-l4", f"deploy {APP} A10G kyutai-stt-a10g"]
    assert {call.split(" None")[0] for call in calls[2:]} == {
        f"app stop --yes kyutai-stt-{gpu}" for gpu in ("l4", "a10g")
    }


def test_what_was_deployed_is_taken_down_when_another_cannot_be(cloud: Path) -> None:
    done = compare(cloud, "L4,NONE")
    assert done.returncode == 1 and "no such GPU: NONE" in done.stderr
    assert "app stop --yes kyutai-stt-l4" in (cloud / "calls").read_text()
