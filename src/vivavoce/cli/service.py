"""`vivavoce service`: start, stop, restart, reload, look at and remove what `install-service` has installed."""

from __future__ import annotations

import typer

from .install_service import NAME, SYSTEM, manager

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    no_args_is_help=True,
    help="Start, stop, restart, reload, look at or remove what [bold]vivavoce install-service[/bold] has installed.",
)


@app.command()
def start(name: NAME = "vivavoce", system: SYSTEM = None) -> None:
    """Start it."""
    manager(name, system).call("start")


@app.command()
def stop(name: NAME = "vivavoce", system: SYSTEM = None) -> None:
    """Stop it; open streams may finish for `drain_seconds`."""
    manager(name, system).call("stop")


@app.command()
def restart(name: NAME = "vivavoce", system: SYSTEM = None) -> None:
    """Stop it and start it again, with the settings as they are now."""
    manager(name, system).call("restart")


@app.command()
def reload(name: NAME = "vivavoce", system: SYSTEM = None) -> None:
    """Load its models once more and move the open streams to them; no word is lost, the settings stay as they were."""
    manager(name, system).call("reload")


@app.command()
def status(name: NAME = "vivavoce", system: SYSTEM = None) -> None:
    """What systemd or launchd says of it; exit code 1 where it does not run."""
    manager(name, system).call("status")


@app.command()
def remove(name: NAME = "vivavoce", system: SYSTEM = None) -> None:
    """Stop it and delete its unit; its settings stay."""
    manager(name, system).remove()
