"""The chart, rendered by Helm's own library, and its manifests by Kubernetes' schemas."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

from vivavoce.server.wire import FAREWELL_SECONDS
from vivavoce.settings import ServeSettings

from . import DEPLOY

CHART = DEPLOY / "helm"
GPU = {
    "gpu": 1,
    "existingSecret": "keys",
    "cache": {"existingClaim": "models"},
    "autoscaling": {"enabled": True},
    "settings": {"drain_seconds": 300, "model": "kyutai/stt-1b-en_fr-candle", "no_auth": True},
    "nodeSelector": {"gpu": "yes"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
}


def rendered(values: dict[str, Any]) -> dict[str, Any]:
    """Manifests by kind."""
    with helm.Chart.load(CHART) as chart:
        files = chart.render(values, name="speech")
    manifests = [yaml.safe_load(text) for name, text in files.items() if name.endswith(".yaml") and text.strip()]
    return {manifest["kind"]: manifest for manifest in manifests}


def container(values: dict[str, Any]) -> dict[str, Any]:
    (found,) = rendered(values)["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("values", [{}, GPU], ids=["defaults", "everything"])
@pytest.mark.parametrize("version", ["1.27", "1.34"])
def test_every_manifest_follows_the_schema_of_kubernetes(values: dict[str, Any], version: str, tmp_path: Path) -> None:
    for kind, manifest in rendered(values).items():
        file = tmp_path / f"{kind}.yaml"
        file.write_text(yaml.safe_dump(manifest))
        command = [sys.executable, "-m", "kubernetes_validate", "--strict", "-k", version, file]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_judge_of_manifests_finds_faults(tmp_path: Path) -> None:
    manifest = rendered({})["Deployment"]
    manifest["spec"]["strategi"] = manifest["spec"].pop("strategy")
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump(manifest))
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "-k", "1.34", file]
    assert subprocess.run(command, capture_output=True).returncode != 0


def test_helm_has_nothing_against_the_chart() -> None:
    report = helm.lint(CHART)
    worst = [message for message in report["messages"] if "icon is recommended" not in str(message)]
    assert not worst, worst


@pytest.mark.parametrize(
    "values",
    [{"replica": 2}, {"settings": {"drain_seconds": -1}}, {"settings": {"Model": "x"}}, {"gpu": "one"}],
    ids=str,
)
def test_a_value_that_the_chart_does_not_know_is_refused(values: dict[str, Any]) -> None:
    with helm.Chart.load(CHART) as chart, pytest.raises(helm.HelmValuesError):
        chart.validate_schema(chart.merge_values(values))


def test_a_pod_has_longer_to_end_than_its_streams() -> None:
    spec = rendered(GPU)["Deployment"]["spec"]["template"]["spec"]
    hook = int(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > hook + 300 + FAREWELL_SECONDS


def test_settings_and_secrets_reach_the_server() -> None:
    environment = {item["name"]: item.get("value") for item in container(GPU)["env"]}
    assert environment["VIVAVOCE_MODEL"] == "kyutai/stt-1b-en_fr-candle"
    assert environment["VIVAVOCE_NO_AUTH"] == "true"
    assert {name.removeprefix("VIVAVOCE_").lower() for name in environment} <= set(ServeSettings.model_fields)
    assert container(GPU)["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert container(GPU)["resources"]["limits"] == {"nvidia.com/gpu": 1}


def test_the_autoscaler_counts_streams() -> None:
    assert "HorizontalPodAutoscaler" not in rendered({})
    manifests = rendered(GPU)
    (metric,) = manifests["HorizontalPodAutoscaler"]["spec"]["metrics"]
    (rule,) = yaml.safe_load((CHART / "adapter.yaml").read_text())["rules"]["custom"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    assert "replicas" not in manifests["Deployment"]["spec"]
    asked = set(re.findall(r"vivavoce_\w+", rule["seriesQuery"] + rule["metricsQuery"]))
    metrics = (DEPLOY.parent / "docs" / "operations.md").read_text()  # whose table is tested against the server's
    assert all(f"`{name}`" in metrics for name in asked)


def test_the_selectors_meet_the_pods() -> None:
    manifests = rendered({})
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert manifests["Service"]["spec"]["selector"].items() <= labels
    assert manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= labels
