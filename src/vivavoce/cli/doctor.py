"""`vivavoce doctor`: what is on this machine, what would run where, and what to type where something is missing."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from vivavoce.core import ExitCode

from .options import CONFIG, PRESET

if TYPE_CHECKING:
    from vivavoce.tools.doctor import Examination
    from vivavoce.tools.gpus import Found

PRE_AMPERE = 2  # as of the fork's gpu-check; wrong usage is 2 as well, and prints nothing on standard output

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

HELP = (
    "Look over this machine before a server is started on it: GPUs (by NVML), processor, which kernels would compute, "
    "memory, disk, models, port, microphone and speaker. What is not well comes with a command to paste.\n\n"
    "vivavoce doctor\n\n"
    "vivavoce doctor --preset config-stt-en_fr-hf --port 9000\n\n"
    "vivavoce doctor --gpu --json --fail-on-pre-ampere\n\n"
    "Exit codes: 0 nothing stands in the way, 1 something does, 2 with --fail-on-pre-ampere: there is such a GPU."
)
_LOOKS = {
    "ok": ("ok", "green"),
    "note": ("note", "cyan"),
    "warning": ("warn", "yellow"),
    "fault": ("FAULT", "bold red"),
}
SIMULATE = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GPU", help="A GPU that stands in the place of the real ones: sm75, 7.5, 75 or 75:NAME. Repeatable."
    ),
]


@app.command(help=HELP)
def doctor(
    config: CONFIG = None,
    preset: PRESET = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="The model to be served, as of serve.")] = None,
    addr: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Where the server would listen.")] = None,
    port: Annotated[int | None, typer.Option(metavar="PORT", help="On which port.")] = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="The GPUs alone; takes no second.")] = False,
    simulate: SIMULATE = None,
    fail_on_pre_ampere: Annotated[
        bool, typer.Option("--fail-on-pre-ampere", help="Exit code 2 if a GPU has a compute capability below 8.0.")
    ] = False,
    json: Annotated[
        bool,
        typer.Option("--json", help="One object: healthy, gpus, findings. With --gpu the list of GPUs, empty if none."),
    ] = False,
) -> int:
    from vivavoce.tools.gpus import detect, simulated

    found = simulated(simulate) if simulate else detect()
    old = fail_on_pre_ampere and any(one.pre_ampere for one in found.gpus)
    if gpu:
        _show_gpus(found, as_json=json)
        return PRE_AMPERE if old else ExitCode.OK
    examination = _examine(found, {"model": model, "addr": addr, "port": port}, config, preset)
    if json:
        typer.echo(json_module.dumps(_as_json(examination), indent=2, ensure_ascii=False))
    else:
        _show(examination)
    if old:
        return PRE_AMPERE
    return ExitCode.FAILURE if examination.faults else ExitCode.OK


def _examine(found: Found, flags: dict[str, object], config: CONFIG, preset: PRESET) -> Examination:
    from vivavoce.settings import Loaded, SettingsError, load
    from vivavoce.tools.doctor import examine

    loaded: Loaded | SettingsError
    try:
        loaded = load({name: value for name, value in flags.items() if value is not None}, config, preset)
    except SettingsError as error:
        loaded = error
    return examine(loaded, found)


def _as_json(examination: Examination) -> dict[str, object]:
    return {
        "healthy": not examination.faults,
        "gpus": [gpu.as_json() for gpu in examination.gpus.gpus],
        "findings": [asdict(finding) for finding in examination.findings],
    }


def _show(examination: Examination) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for finding in examination.findings:
        word, style = _LOOKS[finding.state]
        console.print(Text.assemble((f"{word:<6}", style), f"{finding.topic:<11}", finding.text))
        if finding.advice:
            console.print(Text(f"{'':17}{finding.advice}", "bold"))


def _show_gpus(found: Found, *, as_json: bool) -> None:
    from vivavoce.tools.gpus import PREPARE

    if as_json:
        typer.echo(json_module.dumps([one.as_json() for one in found.gpus], indent=2, ensure_ascii=False))
        return
    if not found.gpus:
        typer.echo(f"no NVIDIA GPU: {found.reason or 'the driver knows none'}")
    for one in found.gpus:
        typer.echo(f"{one.index}: {one.name} ({one.sm}, {one.source}){', older than Ampere' if one.pre_ampere else ''}")
    if any(one.pre_ampere for one in found.gpus):
        typer.echo(f"No bfloat16 there: weights are loaded as float16. To store them so, with a config:\n  {PREPARE}")
