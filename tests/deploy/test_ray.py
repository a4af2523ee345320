"""A real Ray cluster of this machine: live streams on two replicas that die, go and come."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from vivavoce.accounts import open_accounts
from vivavoce.accounts.people import Status
from vivavoce.audio import duration

from ..example import EXAMPLE, WORDS
from . import DEPLOY, free_port

FILES = DEPLOY / "ray"
LOOPS = 3  # of the recording, 35 s


def cluster(scene: str, streams: int, slots: int, **more: str) -> dict[str, Any]:
    """What ray_cluster.py tells: no stream has lost a word."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VIVAVOCE_", "RAY_"))}
    environment |= {
        "PYTHONPATH": os.pathsep.join([str(FILES), *sys.path]),
        "STREAMS": f"{streams}",
        "LOOPS": f"{LOOPS}",
        "EXAMPLE": str(EXAMPLE),
        "PORT": str(free_port()),
        "VIVAVOCE_SLOTS": f"{slots}",
        "VIVAVOCE_TTS_MODEL": "none",
        "VIVAVOCE_LOAD_LIMIT": "0",  # a slow machine is to be late, not to refuse
        "VIVAVOCE_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "RAY_MAX_REPLICAS": "2",
        "RAY_USAGE_STATS_ENABLED": "0",
    } | more
    command = [sys.executable, str(Path(__file__).with_name("ray_cluster.py")), scene]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-5000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    for stream in told["streams"]:
        assert (stream["words"], stream["gaps"], stream["error"]) == (WORDS * LOOPS, [], None)
    return told


@pytest.mark.slow  # some two minutes
def test_forty_live_streams_lose_no_word_whatever_happens_to_the_replicas() -> None:
    """One replica's engine is killed, then the other replica; one is drained, and another comes."""
    told = cluster("deaths", streams=40, slots=40)
    assert told["events"] == ["engine killed", "replica killed", "scaled down", "scaled up"]
    assert told["replicas"] == 2
    moved = [stream for stream in told["streams"] if len(stream["connections"]) > 1]
    assert moved and all(all(stream["connections"][1:]) for stream in moved), "each reconnection went on where it was"


@pytest.mark.slow  # likewise
def test_replicas_come_with_the_streams_from_none_and_go_after_them(tmp_path: Path) -> None:
    """Ray's own autoscaling with shorter delays: a first caller waits for a replica, six want two. One key pays."""
    database = f"sqlite:///{tmp_path}/accounts.db"
    with closing(open_accounts(database)) as accounts:
        accounts.database.migrate()
        person = accounts.people.create("ada@example.org", "a long and good password", "", Status.APPROVED, "user")
        key = accounts.keys.create(person, "", ["stt"], None, None, None)[1]
        settings = {"VIVAVOCE_ACCOUNTS": database, "VIVAVOCE_JWT_SECRET": "s" * 32, "KEY": key}
        told = cluster("growth", streams=6, slots=4, **settings)
        (used,) = accounts.ledger.used()
    assert told["events"] == ["one came", "another came", "none is left"]
    assert told["replicas"] == 0
    assert used.streams == sum(len(stream["connections"]) for stream in told["streams"])
    assert used.seconds == pytest.approx(6 * LOOPS * (duration(EXAMPLE) or 0), abs=1)


def test_the_manifest_of_kuberay_serves_the_application() -> None:
    """Its own schema is the operator's, which no registry here has; what it names exists."""
    manifest = yaml.safe_load((FILES / "rayservice.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayService")
    (application,) = yaml.safe_load(manifest["spec"]["serveConfigV2"])["applications"]
    module, _, name = application["import_path"].partition(":")
    assert f"\n{name} = " in (FILES / f"{module}.py").read_text()
    (group,) = manifest["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert group["minReplicas"] == 0
