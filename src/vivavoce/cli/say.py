"""`vivavoce say`: text to speech."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vivavoce.core import ExitCode, UnknownVoiceError

from . import remote

if TYPE_CHECKING:
    from vivavoce.client.services import Service

    from .sinks import Sink
    from .voice import Voice

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

Format = Literal["wav", "flac", "opus", "mp3", "aac", "pcm_s16le", "pcm_f32le"]
HELP = (
    "Say a text.\n\n"
    'vivavoce say "four one five, two two nine"\n\n'
    "vivavoce say @letter.txt --output letter.opus --voice NAME\n\n"
    "ollama run llama3 hello | vivavoce say - --url ws://localhost:8080 --play\n\n"
    "Without --output it is played on a speaker (the extra [bold]mic[/bold]). Standard input is spoken while it "
    "arrives. Without a server the model works in this process. Ctrl+C stops; a file then holds what was said so far."
)


@app.command(help=HELP)
def say(
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT|-|@FILE", help="What to say; [bold]-[/bold] is standard input, as it arrives."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="x.wav, .flac, .opus, .mp3, .aac; [bold]-[/bold] is standard output."
        ),
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(help="Of the output, where its name does not say; wav on standard output. 24 kHz, mono."),
    ] = None,
    play: Annotated[bool, typer.Option("--play", help="Play it too, when there is an --output.")] = False,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="The speaker: its number, or a part of its name.")
    ] = None,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="Print the speakers and exit.")] = False,
    prebuffer: Annotated[
        int, typer.Option(metavar="MS", min=0, help="Milliseconds of audio that wait before the first is heard.")
    ] = 240,
    interactive: Annotated[
        bool,
        typer.Option("--interactive", "-i", help="Say each line that is typed. Ctrl+C cuts one short."),
    ] = False,
    lines: Annotated[
        bool,
        typer.Option("--lines", help="Say each line to its end as soon as it is there; the next is a text of its own."),
    ] = False,
    voice: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A voice of [bold]vivavoce voices[/bold], or a voice's .safetensors file."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print times, words and measures as a JSON object.")] = False,
    word_times: Annotated[
        bool, typer.Option("--word-times", help="Print each word after its start and stop in seconds.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Another one says it otherwise; the same says it again.")
    ] = 0,
    temperature: Annotated[float | None, typer.Option(min=0, help="0 is greedy; the model's own if not given.")] = None,
    cfg: Annotated[float | None, typer.Option(min=0, help="How closely the voice is kept.")] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="In this process: a folder or a repository; the embedded one if not given."),
    ] = None,
    voices: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="In this process: a folder of voices, or hf-snapshot://….")
    ] = None,
    url: remote.URL = None,
    service: remote.SERVICE = None,
    key: remote.KEY = None,
    token: remote.TOKEN = None,
    mint: remote.MINT = False,
) -> int:
    if list_devices:
        return _list()
    from . import texts
    from .talk import Talk

    _refuse_contradictions(text, output, interactive=interactive, json=json, word_times=word_times)
    pieces = None if text is None else texts.pieces(text)
    if lines:
        if pieces is None:
            raise typer.BadParameter("--interactive says each line to its end by itself, without --lines")
        pieces = texts.flushed(pieces)
    found = remote.service(service, url, key=key, token=token, mint=mint, dialect=None)
    if found is not None and (model or voices):
        raise typer.BadParameter("--model and --voices are for a model in this process; a server has its own")
    sinks = _sinks(output, format, device, prebuffer / 1000, play=play)
    manner = {"seed": seed, "temperature": temperature, "cfg": cfg}
    speaks = _server(found, voice, manner) if found else _local(model, voices, voice, manner)
    quiet = word_times or interactive or output == "-"
    with asyncio.Runner() as runner:
        talk = Talk(runner, speaks, sinks, as_json=json, word_times=word_times, quiet=quiet)
        with talk:
            if interactive:
                talk.converse()
            else:
                assert pieces is not None
                talk.say(pieces)
    return ExitCode.OK


def _refuse_contradictions(
    text: str | None, output: str | None, *, interactive: bool, json: bool, word_times: bool
) -> None:
    if (text is None) != interactive:
        raise typer.BadParameter("give a text, - or @FILE" if text is None else "--interactive takes its lines itself")
    if json and word_times:
        raise typer.BadParameter("--json has the words' times; give --json or --word-times")
    if output == "-" and (json or word_times):
        raise typer.BadParameter("--output - is audio; --json and --word-times would stand within it")


def _sinks(
    output: str | None, format: Format | None, device: str | None, prebuffer: float, *, play: bool
) -> list[Sink]:
    from .sinks import FileSink, speaker

    if output is None and format is not None:
        raise typer.BadParameter("--format is that of an --output")
    found: list[Sink] = [] if output is None else [FileSink(output, format)]
    return [*found, speaker(device, prebuffer)] if play or output is None else found


def _server(service: Service, voice: str | None, manner: dict[str, Any]) -> Voice:
    from .voice import ServerVoice

    file = Path(voice) if voice and voice.endswith(".safetensors") and Path(voice).is_file() else None
    return ServerVoice(service, _embedding(file) if file else voice, manner)


def _embedding(path: Path) -> Any:
    """Of a voice's file, [frames, dim]; the server says whether it fits. Raises UnknownVoiceError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)["speaker_wavs"][0].T
    except (SafetensorError, OSError, KeyError, IndexError) as error:
        raise UnknownVoiceError(f"{path}: holds no voice ({error})") from None


def _local(model: str | None, voices: str | None, voice: str | None, manner: dict[str, Any]) -> Voice:
    from vivavoce.engine.pool import rest
    from vivavoce.synthesizer import Synthesizer

    from .voice import LocalVoice

    loaded = Synthesizer.load(model, batch_size=1, voices=voices)
    rest(loaded.engine)
    return LocalVoice(loaded, voice, manner)


def _list() -> int:
    from vivavoce.audio.devices import devices

    for device in devices("output"):
        mark = "*" if device.default else " "
        typer.echo(f"{mark} {device.index:3}  {device.name}  ({device.channels} channels, {device.rate} Hz)")
    return ExitCode.OK
