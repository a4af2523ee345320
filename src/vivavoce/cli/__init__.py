"""The `vivavoce` command. A verb is a module with a typer `app`; to add one, name it in VERBS.

A verb's module is imported when the verb is called or listed, so it keeps slow imports (torch, numpy) in its functions.
"""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from vivavoce.core import ExitCode, VivavoceError

from .console import complain, set_up
from .usage import explained, unknown

ENGINE = ("torch", "safetensors", "huggingface_hub", "sentencepiece")  # what the extra `engine` installs

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # of a full disk, and the like

VERBS = {
    verb: f"vivavoce.cli.{verb.replace('-', '_')}"
    for verb in (
        "transcribe",
        "stream",
        "mic",
        "say",
        "voices",
        "check",
        "doctor",
        "convert",
        "plan",
        "smoke",
        "token",
        "accounts",
        "serve",
        "worker",
        "install-service",
        "service",
        "validate",
        "config",
        "model",
        "models",
        "eval",
        "samples",
        "logs",
        "train",
        "bench",
    )
}


class Verbs(TyperGroup):
    """Imports a verb when it is asked for, and turns what goes wrong in it into one line and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in VERBS:
            raise typer.BadParameter(unknown(cmd_name, list(VERBS)))
        command = get_command(import_module(VERBS[cmd_name]).app)
        command.name = cmd_name
        return command

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except VivavoceError as error:
            complain(str(error))
            return error.exit_code
        except ModuleNotFoundError as error:
            if error.name not in ENGINE:
                raise
            complain(f"a model needs {error.name}: pip install 'vivavoce[engine]'")
            return ExitCode.UNSUPPORTED
        except BrokenPipeError:  # the reader, `head` for instance, has seen enough; typer would call it a failure
            _give_up_output()
            return ExitCode.OK
        return result


app = typer.Typer(name="vivavoce", cls=Verbs, add_completion=False, rich_markup_mode="rich")


HELP = (
    "Live speech to text and text to speech. [bold]vivavoce VERB --help[/bold] explains a verb.\n\n"
    "Results go to standard output, everything else to standard error. Exit codes: 0 all is well, 1 other failure, "
    "2 wrong usage, 3 file not found, 4 invalid audio, 5 bad checkpoint, 6 download failed, 7 not supported, "
    "130 interrupted."
)


@app.callback(invoke_without_command=True, help=HELP)
def _vivavoce(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from vivavoce import __version__

        typer.echo(f"vivavoce {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    set_up()
    try:
        code = get_command(app).main(arguments, prog_name="vivavoce", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        complain(explained(error))
        return error.exit_code
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except OSError as error:
        complain(_of_system(error))
        return ExitCode.FAILURE
    if code == ExitCode.INTERRUPTED:
        complain("interrupted")
    return int(code or 0)


def _of_system(error: OSError) -> str:
    """A file that cannot be written, and the like; raises what is a defect."""
    if error.filename:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if error.errno not in _UNWRITABLE:
        raise error
    _give_up_output()
    return f"standard output cannot be written ({error.strerror})"


def _give_up_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush when Python exits
