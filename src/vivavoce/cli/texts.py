"""What is to be said: an argument, a file, or standard input as it arrives."""

from __future__ import annotations

import asyncio
import codecs
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from threading import Thread

import typer

from vivavoce.core import ExitCode, Flush, VivavoceError

PIECE = 4_096  # bytes
Pieces = AsyncIterator[str | Flush]


class TextNotFoundError(VivavoceError):
    """The text does not exist or may not be read."""

    exit_code = ExitCode.FILE_NOT_FOUND


def pieces(text: str) -> Pieces:
    """The text that an argument means, in pieces cut anywhere. Raises TextNotFoundError, and BadParameter for none."""
    if text == "-":
        return _decoded("standard input", lambda: os.read(0, PIECE))
    if text.startswith("@"):
        return _file(Path(text[1:]))
    if not text.strip():
        raise typer.BadParameter("nothing to say: the text is empty")
    return literal(text)


async def literal(text: str) -> Pieces:
    """The text itself, whatever it begins with."""
    yield text


async def flushed(pieces: Pieces) -> Pieces:
    """The same, with a flush behind every line."""
    async for piece in pieces:
        for line in piece.splitlines(keepends=True) if isinstance(piece, str) else [piece]:
            yield line
            if isinstance(line, str) and line.endswith("\n"):
                yield Flush(0)


def _file(path: Path) -> Pieces:
    try:
        file = path.open("rb")
    except OSError as error:
        raise TextNotFoundError(f"{path}: cannot be read ({error.strerror})") from None

    async def read() -> Pieces:
        with file:
            async for piece in _decoded(str(path), lambda: file.read(PIECE)):
                yield piece

    return read()


async def _decoded(name: str, read: Callable[[], bytes]) -> Pieces:
    decoder, position = codecs.getincrementaldecoder("utf-8")(), 0
    try:
        while data := await _aside(read):
            yield decoder.decode(data)
            position += len(data)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise VivavoceError(f"{name}: not UTF-8 text ({error.reason}, near byte {position})") from None
    except OSError as error:
        raise TextNotFoundError(f"{name}: cannot be read ({error.strerror})") from None


async def _aside(read: Callable[[], bytes]) -> bytes:
    """In a thread that nobody waits for at the end: a read of standard input cannot be interrupted."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[bytes] = loop.create_future()

    def work() -> None:
        try:
            data: bytes | OSError = read()
        except OSError as error:
            data = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, data)

    def settle(data: bytes | OSError) -> None:
        if not result.done():
            if isinstance(data, OSError):
                result.set_exception(data)
            else:
                result.set_result(data)

    Thread(target=work, name="text", daemon=True).start()
    return await result
