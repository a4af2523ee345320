"""Every setting of the server as an option of a verb, made from the settings' fields so that the two cannot differ."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from vivavoce.settings import Loaded, ServeSettings, load
from vivavoce.settings.render import SECTIONS

from .console import note

CONFIG = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", envvar="VIVAVOCE_CONFIG", help="TOML of ours or of moshi-server."),
]
PRESET = Annotated[str | None, typer.Option("--preset", metavar="NAME", help="Settings that ship with vivavoce.")]
Aliases = dict[str, tuple[str, ...]]  # other flags for a setting


def with_settings(
    aliases: Aliases | None = None, only: Collection[str] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds a flag for every setting (or `only` some) to a verb's options; it gets those given as `flags`."""

    def decorate(verb: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(verb, eval_str=True)
        own = [parameter for name, parameter in signature.parameters.items() if name != "flags"]
        options = {
            name: option(name, title, (aliases or {}).get(name, ())) for title, name in settings_by_section(only)
        }

        def run(**given: Any) -> Any:
            flags = {name: value for name in options if (value := given.pop(name)) is not None}
            return verb(**given, flags=flags)

        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in options.items()
        ]
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        run.__name__ = verb.__name__
        run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *added)}
        return run

    return decorate


def settings_by_section(only: Collection[str] | None = None) -> list[tuple[str, str]]:
    return [(title, name) for title, names in SECTIONS for name in names if only is None or name in only]


def option(name: str, panel: str, aliases: tuple[str, ...]) -> Any:
    """A switch for a truth value, else text, which the settings themselves check."""
    field = ServeSettings.model_fields[name]
    flag = f"--{name.replace('_', '-')}"
    if field.annotation is bool:
        off = "--auth" if name == "no_auth" else f"--no-{flag[2:]}"
        declared = [f"{flag}/{off}", *aliases]
        return Annotated[bool | None, typer.Option(*declared, help=field.description, rich_help_panel=panel)]
    return Annotated[
        str | None,
        typer.Option(flag, *aliases, metavar="VALUE", help=field.description, rich_help_panel=panel),
    ]


def settled(flags: dict[str, Any], config: Path | None, preset: str | None, **more: Any) -> Loaded:
    """`load`, its warnings said on standard error."""
    loaded = load(flags, config, preset, **more)
    for warning in loaded.warnings:
        note(warning)
    return loaded
