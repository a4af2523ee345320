"""`vivavoce doctor --gpu`: what the driver tells, what is imagined, and the fork's exit code."""

from __future__ import annotations

import json

import pytest

from vivavoce.core import ExitCode, UnsupportedError
from vivavoce.tools.gpus import simulated

from .conftest import Run

TURING = "NVIDIA GeForce RTX 2070,7,5,8192,7800"
ADA = "NVIDIA L4,8,9,23034,22500"


def test_the_driver_is_asked(run: Run) -> None:
    ran = run("doctor", "--gpu", "--json", gpus=f"{TURING};{ADA}")
    assert (ran.code, ran.err) == (0, "")
    old, new = json.loads(ran.out)
    assert old == {
        "index": 0, "name": "NVIDIA GeForce RTX 2070", "sm": "sm75", "compute_capability": "7.5", "pre_ampere": True,
        "source": "nvml", "memory_total_bytes": 8192 << 20, "memory_free_bytes": 7800 << 20,
    }  # fmt: skip
    assert (new["index"], new["sm"], new["pre_ampere"]) == (1, "sm89", False)


def test_the_exit_code_is_2_only_for_a_gpu_before_ampere_and_only_when_asked(run: Run) -> None:
    assert run("doctor", "--gpu", gpus=TURING).code == 0
    assert run("doctor", "--gpu", "--fail-on-pre-ampere", gpus=ADA).code == 0
    assert run("doctor", "--gpu", "--fail-on-pre-ampere", gpus=f"{ADA};{TURING}").code == 2
    assert run("doctor", "--gpu", "--fail-on-pre-ampere", "--json", gpus=TURING).code == 2


def test_advice_for_an_old_gpu_is_the_command_that_helps(run: Run) -> None:
    assert "vivavoce convert --sm75" in run("doctor", "--gpu", gpus=TURING).out
    assert "vivavoce convert" not in run("doctor", "--gpu", gpus=ADA).out


@pytest.mark.parametrize(("gpus", "reason"), [("", "the driver knows none"), ("broken", "Driver Not Loaded")])
def test_without_a_gpu_the_list_is_empty_and_all_is_well(run: Run, gpus: str, reason: str) -> None:
    ran = run("doctor", "--gpu", "--json", "--fail-on-pre-ampere", gpus=gpus)
    assert (ran.code, json.loads(ran.out)) == (0, [])
    assert reason in run("doctor", "--gpu", gpus=gpus).out


def test_simulated_gpus_replace_the_real_ones(run: Run) -> None:
    ran = run("doctor", "--gpu", "--json", "--simulate", "86:Mine", "--fail-on-pre-ampere", gpus=TURING)
    assert ran.code == 0
    (only,) = json.loads(ran.out)
    assert (only["name"], only["sm"], only["source"], only["memory_total_bytes"]) == ("Mine", "sm86", "simulated", None)


@pytest.mark.parametrize(
    ("text", "capability"),
    [("sm75", (7, 5)), ("8.6", (8, 6)), ("75:Name", (7, 5)), ("SM90", (9, 0)), ("sm120", None), ("12.0", (12, 0))],
)
def test_the_forms_of_a_simulated_gpu(text: str, capability: tuple[int, int] | None) -> None:
    if capability is None:
        with pytest.raises(UnsupportedError):
            simulated([text])
    else:
        assert simulated([text]).gpus[0].capability == capability


@pytest.mark.parametrize("text", ["", "turing", "7", "7.", "sm7.55", "-75", "75:"])
def test_a_simulated_gpu_that_is_none_is_refused(run: Run, text: str) -> None:
    """The fork took the real GPUs instead, without a word (defect B-44)."""
    with pytest.raises(UnsupportedError, match="expected a compute capability"):
        simulated([text])


def test_the_refusal_reaches_the_command(run: Run) -> None:
    ran = run("doctor", "--gpu", "--simulate", "turing")
    assert (ran.code, ran.out) == (ExitCode.UNSUPPORTED, "")
    assert "turing" in ran.err
