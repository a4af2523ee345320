"""`vivavoce install-service`: the server as a service of the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vivavoce.tools.service import Kind, Manager

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

HELP = (
    "Install the server as a service of systemd or launchd, and start it; again to change it.\n\n"
    "vivavoce install-service -- --model kyutai/stt-1b-en_fr-candle --slots 64\n\n"
    "What stands behind [bold]--[/bold] goes to [bold]vivavoce serve[/bold]. Secrets belong into the file of "
    "settings that it names, which only its owner reads. [bold]vivavoce service[/bold] starts, stops and removes it."
)
NAME = Annotated[str, typer.Option(metavar="NAME", help="Name of the service; several may be installed.")]
SYSTEM = Annotated[
    bool | None,
    typer.Option("--system/--user", help="For the machine, or for you alone; root on Linux: for the machine."),
]


@app.command(help=HELP)
def install_service(
    serve: Annotated[list[str] | None, typer.Argument(metavar="[-- OPTIONS OF SERVE]", help="For the server.")] = None,
    name: NAME = "vivavoce",
    system: SYSTEM = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="Let the sandbox of a system unit have NVIDIA's devices.")] = False,
    show: Annotated[bool, typer.Option("--print", help="Print what would be written; write and call nothing.")] = False,
    init: Annotated[
        str | None,
        typer.Option("--init", metavar="KIND", help="systemd or launchd; that of this machine if not given."),
    ] = None,
) -> None:
    found = manager(name, system, tuple(serve or ()), gpu=gpu, init=init)
    if show:
        typer.echo(found.text, nl=False)
        return
    found.install()
    typer.echo(f"{found.file}\nsettings and secrets: {found.settings}\nvivavoce service status{_flags(found)}")


def manager(
    name: str, system: bool | None, options: tuple[str, ...] = (), *, gpu: bool = False, init: str | None = None
) -> Manager:
    """The manager of that service. Raises typer.BadParameter and UnsupportedError."""
    from vivavoce.tools import service

    if init not in (None, "systemd", "launchd"):
        raise typer.BadParameter(f"--init is systemd or launchd, not {init}")
    kind: Kind | None = init  # type: ignore[assignment]
    if system is None:
        system = os.geteuid() == 0 and Path("/proc").exists()  # macOS: a GPU is the user's who sits at it
    return service.manager(service.Plan(name, options, system, gpu), kind)


def _flags(found: Manager) -> str:
    name = "" if found.plan.name == "vivavoce" else f" --name {found.plan.name}"
    return name + (" --system" if found.plan.system else " --user")
