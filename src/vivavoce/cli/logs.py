"""`vivavoce logs`: what a server wrote down, made readable and put away."""

from __future__ import annotations

import io
import json as json_module
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Annotated, Literal

import typer

from vivavoce.core import AudioNotFoundError, ExitCode, VivavoceError

from .console import complain

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    no_args_is_help=True,
    help="Logs of a server, ours or moshi-server's, made readable and put away.",
)


@app.command()
def clean(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A log; - reads standard input.")],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Else a file of a folder [bold]raw[/bold] goes one folder up, another to friendly-NAME beside it, and "
            "standard input to standard output, as does -.",
        ),
    ] = None,
    strip_raw: Annotated[
        bool, typer.Option("--strip-raw", help="Trim lines that tell no time, such as those of a traceback.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="A JSON object a line: time, level, target, message, session.")
    ] = False,
) -> None:
    """Local time with its zone, level, module, message; no colours, no control characters, no tokens of URLs.

    Lines with a time are taken apart, as text or as JSON, of ours and of moshi-server; the others stay as they are.
    """
    from vivavoce.tools.log_lines import Line, beside
    from vivavoce.tools.log_lines import clean as cleaned

    target = output or ("-" if file == "-" else str(beside(Path(file))))
    with _reading(file) as source, _writing(target, file) as out:
        for line in cleaned(source, strip_raw=strip_raw):
            if json:
                told = line.as_json() if isinstance(line, Line) else {"message": line}
                out.write(json_module.dumps(told, ensure_ascii=False) + "\n")
            else:
                out.write(f"{line}\n")
    if target != "-":
        typer.echo(target, err=True)


@contextmanager
def _reading(file: str) -> Iterator[IO[str]]:
    if file == "-":
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8", errors="replace")
        yield sys.stdin
        return
    try:
        opened = Path(file).open(encoding="utf-8", errors="replace")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise AudioNotFoundError(f"{file}: cannot be read: {error.strerror}") from None
    with opened:
        yield opened


@contextmanager
def _writing(target: str, source: str) -> Iterator[IO[str]]:
    """Whole or not at all."""
    if target == "-":
        yield sys.stdout
        return
    path = Path(target)
    if path.exists() and source != "-" and path.samefile(source):
        raise VivavoceError(f"{target}: is the log itself")
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as out:
            yield out
        part.replace(path)
    except OSError as error:
        raise VivavoceError(f"{target}: cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


@app.command()
def push(
    source: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="The logs; else the server's log_dir of the environment.")
    ] = None,
    bucket: Annotated[str, typer.Option(metavar="NAME", help="Where they go.")] = ...,  # type: ignore[assignment]
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="Stands before every key, which is the path below.")] = "",
    include_raw: Annotated[
        bool, typer.Option("--include-raw", help="Also what lies in folders [bold]raw[/bold].")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Also what has not changed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
    profile: Annotated[str | None, typer.Option(metavar="NAME", help="Of ~/.aws/config; else AWS_PROFILE.")] = None,
    region: Annotated[str | None, typer.Option(metavar="NAME", help="Else AWS's own settings, else us-east-1.")] = None,
    endpoint_url: Annotated[
        str | None, typer.Option(metavar="URL", envvar="AWS_ENDPOINT_URL_S3", help="Of another server than Amazon's.")
    ] = None,
    acl: Annotated[
        Literal["private", "public-read"] | None, typer.Option(help="Who may read; else as the bucket has it.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One object: files, bytes, what failed.")] = False,
) -> int:
    """Send a folder of logs to S3, or what speaks its language (MinIO, R2, Ceph …); needs the extra s3.

    What has not changed is skipped. Files above 8 MiB go in parts, and one that was interrupted goes on behind the
    last part that arrived. Exit code 1 if a file could not be sent.
    """
    from vivavoce.tools.finding import bytes_of
    from vivavoce.tools.s3 import Bucket, Pushed
    from vivavoce.tools.s3 import push as pushed

    where = Bucket(bucket, prefix, profile, region, endpoint_url, acl)
    done, failures = list[Pushed](), list[str]()
    for result in pushed(source or _log_dir(), where, include_raw=include_raw, force=force, dry=dry_run):
        if isinstance(result, VivavoceError):
            complain(str(result))
            failures.append(str(result))
            continue
        done.append(result)
        if not json:
            typer.echo(f"[{result.state}] {result.key} ({bytes_of(result.bytes)}, {result.reason})")
    sent, total = sum(one.sent for one in done), sum(one.bytes for one in done)
    if json:
        told = {"files": [asdict(one) for one in done], "bytes": total, "sent": sent, "failures": failures}
        typer.echo(json_module.dumps(told, indent=2, ensure_ascii=False))
    else:
        uploads = sum(one.state == "upload" for one in done)
        typer.echo(f"{len(done)} files, {uploads} sent, {bytes_of(sent)} of {bytes_of(total)}")
    return ExitCode.FAILURE if failures else ExitCode.OK


def _log_dir() -> Path:
    from vivavoce.settings import load

    folder = load().settings.log_dir
    if folder is None:
        raise typer.BadParameter("which folder? name it, or set VIVAVOCE_LOG_DIR")
    return folder
