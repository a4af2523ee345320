"""The compose files by the specification, and what stands in them by the real Prometheus and a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from prometheus_client.parser import text_string_to_metric_families

from vivavoce.server.wire import FAREWELL_SECONDS
from vivavoce.settings import ServeSettings
from vivavoce.settings.limits import Limits

from ..example import EXAMPLE
from ..server.process import Server, fetch
from . import DEPLOY, ROOT, free_port

FILES = DEPLOY / "compose"
STACKS = sorted(path.name for path in FILES.glob("compose*.yaml"))


class _Loader(yaml.SafeLoader):
    """Compose's own tags say how a list of the file below is replaced; the parser does not know them."""


_Loader.add_constructor("!reset", lambda loader, node: loader.construct_sequence(node))


def compose(name: str) -> dict[str, Any]:
    loaded = yaml.load((FILES / name).read_text(), _Loader)
    assert isinstance(loaded, dict)
    return loaded


@pytest.mark.parametrize("name", STACKS)
def test_a_file_follows_the_specification(name: str) -> None:
    PyCompose.from_json(json.dumps(compose(name)))


def test_the_judge_of_the_specification_finds_faults() -> None:
    with pytest.raises(ValueError, match="imag"):
        PyCompose.from_json('{"services": {"vivavoce": {"imag": "x"}}}')


@pytest.mark.parametrize("name", STACKS)
def test_every_file_that_is_mounted_or_built_exists(name: str) -> None:
    for service in compose(name)["services"].values():
        if "build" in service and "context" in service["build"]:
            context = FILES / service["build"]["context"]
            assert context.resolve() == ROOT and (context / service["build"]["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            if volume.startswith("."):
                assert (FILES / volume.split(":")[0]).is_file()
            else:
                assert volume.split(":")[0] in compose(name)["volumes"]


@pytest.mark.parametrize("name", STACKS)
def test_every_setting_of_the_server_exists(name: str) -> None:
    environment = compose(name)["services"].get("vivavoce", {}).get("environment", {})
    for variable in environment:
        if variable.startswith("VIVAVOCE_"):
            assert variable.removeprefix("VIVAVOCE_").lower() in ServeSettings.model_fields


def test_the_container_has_longer_to_stop_than_the_server() -> None:
    grace = int(compose("compose.yaml")["services"]["vivavoce"]["stop_grace_period"].removesuffix("s"))
    assert grace > Limits().drain_seconds + FAREWELL_SECONDS


# --- what Prometheus and Grafana read ---


def expressions() -> list[tuple[str, str]]:
    """(where, query) of every panel and every alert."""
    board = json.loads((FILES / "grafana" / "vivavoce.json").read_text())
    panels = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel["targets"]]
    groups = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
    return panels + [(rule["alert"], rule["expr"]) for group in groups for rule in group["rules"]]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """host:port of a server of both kinds that has heard something."""
    with Server("--slots", "2", "--tts-slots", "1", environment={"VIVAVOCE_TTS_MODEL": ""}) as server:
        server.wait_ready()
        assert server.get("/v1/transcribe", body=EXAMPLE.read_bytes()).status == 200
        yield server.url.removeprefix("http://")


def test_every_metric_that_is_asked_for_exists(server: str) -> None:
    told = fetch(f"http://{server}/metrics").body.decode()
    families = list(text_string_to_metric_families(told))
    names = {sample.name for family in families for sample in family.samples}
    names |= {f"{family.name}_total" for family in families if family.type == "counter"}  # without a sample yet
    for where, query in expressions():
        for name in re.findall(r"\bvivavoce_\w+", query):
            assert name in names, f"{where}: {name}"


def test_the_real_prometheus_answers_every_query(server: str, tmp_path: Path) -> None:
    """It scrapes the server by the delivered file, whose target alone is changed."""
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("prometheus is not installed (.ci/run installs it)")
    text = (FILES / "prometheus.yaml").read_text()
    assert "vivavoce:8080" in text
    text = text.replace("vivavoce:8080", server).replace("scrape_interval: 5s", "scrape_interval: 1s")
    (tmp_path / "prometheus.yml").write_text(text)
    shutil.copy(FILES / "alerts.yaml", tmp_path)
    subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yml"], check=True, capture_output=True)
    address = f"127.0.0.1:{free_port()}"
    command = [prometheus, f"--config.file={tmp_path}/prometheus.yml", f"--web.listen-address={address}"]
    command.append(f"--storage.tsdb.path={tmp_path}/data")
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stderr=log, env=os.environ) as process:
        try:
            wait_until_scraped(address, process)
            for where, query in expressions():
                asked = query.replace("$instance", ".*")
                told = ask(address, asked)
                assert told["status"] == "success", f"{where}: {told}"
                if not re.search(r"_total|\) > |== 0|first_audio", query):  # what has happened by now, or always is
                    assert told["data"]["result"], f"{where}: no series for {asked}"
        finally:
            process.terminate()
            process.wait(60)


def ask(address: str, query: str) -> Any:
    return fetch(f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}").json()


def wait_until_scraped(address: str, process: subprocess.Popen[bytes]) -> None:
    """Until two scrapes have been made, so that there are rates."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            told = ask(address, "count_over_time(vivavoce_ready[1m])")
        except OSError:
            told = {}
        series = told.get("data", {}).get("result", [])
        if series and min(int(one["value"][1]) for one in series) >= 3:
            return
        time.sleep(0.2)
    raise AssertionError("Prometheus did not scrape the server")
