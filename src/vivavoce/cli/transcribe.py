"""`vivavoce transcribe`: recordings to text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vivavoce.core import UnsupportedError

from . import remote
from .formats import Format, Style

if TYPE_CHECKING:
    from vivavoce.transcriber import Transcriber

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

HELP = (
    "Write down what recordings say.\n\n"
    "Results come in the order of the inputs. A recording that cannot be read costs one line on standard error and not "
    "the others; the exit code is then that of the first one that failed.\n\n"
    "vivavoce transcribe talk.mp3\n\n"
    "vivavoce transcribe --format srt --output subtitles/ recordings/\n\n"
    "ffmpeg -i talk.mkv -f wav - | vivavoce transcribe --format json -"
)


@app.command(help=HELP)
def transcribe(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…",
            help="Recordings in any format that FFmpeg decodes (wav, flac, mp3, ogg, opus, m4a, webm, mp4, …), folders "
            "(searched for audio files, with their subfolders), or [bold]-[/bold] for a file on standard input.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A folder, a Hugging Face repository (kyutai/stt-1b-en_fr), or hf://owner/repository; "
            "[bold]vivavoce models[/bold] lists what is known. Without it the small embedded English model is used.",
        ),
    ] = None,
    format: Annotated[
        Format,
        typer.Option(
            help="[bold]text[/bold]: what is said. [bold]json[/bold]: words with times in seconds and confidence, an "
            "array for several recordings. [bold]jsonl[/bold]: an object a line, as soon as a recording and those "
            "before it are done. [bold]srt[/bold], [bold]vtt[/bold]: subtitles. [bold]tsv[/bold]: a word a line."
        ),
    ] = Format.TEXT,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="In text: a word a line, after its start and stop in seconds.")
    ] = False,
    vad: Annotated[
        bool,
        typer.Option(
            "--vad", help='Show where a speaker\'s turn ends: a line break in text, "turns" in json and jsonl.'
        ),
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Write to this file instead of standard output; or, if it is a folder or ends in /, "
            "a file for each recording into it.",
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"],
        typer.Option(help="Where to compute; auto is CUDA where there is one, else the CPU."),
    ] = "auto",
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16", "int8", "int4"],
        typer.Option(help="Precision of the weights; auto takes what suits model and device. int4: on a CPU."),
    ] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="How many recordings are transcribed at once.")] = 8,
    language: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="The language spoken (en, fr). Models hear by themselves which of their languages it is, so this "
            "is refused unless the model knows this one and no other.",
        ),
    ] = None,
    temperature: remote.TEMPERATURE = None,
    seed: remote.SEED = None,
    guard: remote.GUARD = None,
    keyterm: remote.KEYTERM = None,
) -> int:
    from .job import run

    def load(recordings: int) -> Transcriber:
        from vivavoce.engine.pool import rest
        from vivavoce.session.language import check_language
        from vivavoce.transcriber import Transcriber

        slots = min(batch_size, recordings)
        asked: dict[str, Any] = {
            "temperature": temperature,
            "seed": seed or 0,
            "guard": guard or "flag",
            "key_terms": keyterm or (),
        }
        own_dtype = None if dtype == "auto" else dtype
        loaded = Transcriber.load(model, device=device, dtype=own_dtype, batch_size=slots, **asked)
        rest(loaded.engine)
        check_language("--language", language, loaded.name, loaded.languages)
        if vad and not loaded.hears_pauses:
            raise UnsupportedError(f"--vad: {loaded.name} has no heads that hear pauses")
        return loaded

    return run(files, output, Style(format, timestamps=timestamps, vad=vad), load)
