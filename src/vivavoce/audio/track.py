"""One audio track of a container: opening it, what it promises, and its decoded frames in order."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeVar

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from vivavoce.core import AudioNotFoundError, InvalidAudioError

from . import promise

T = TypeVar("T")
logger = logging.getLogger(__name__)

# FFmpeg's other demuxers would take text for video, or follow the addresses in a playlist.
DEMUXERS = "wav,w64,flac,mp3,ogg,mov,matroska,aac,aiff,au,caf,amr,avi,flv,mpegts,asf,wv,ac3,eac3"
LOSSLESS = ("flac", "aiff", "au", "wv")  # FFmpeg's duration is the header's own claim to the sample, cut or not
EXACT_TOLERANCE = 0.005  # seconds that may be missing: writers whose sizes count a header too many
TOLERANCE = 0.1  # seconds, where encoder delays come on top; no word fits in it


class Track:
    """The first audio track of one open file; `frames()` may be read once."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self._file = file
        self._container = _open_container(file, name)
        self._stream = self._choose_stream()
        self._refuse_cut_file()
        self.format = self._container.format.name
        self.lead = self._silence_before()
        self._good = self._bad = 0
        self._ends_badly = False
        self._first_byte = 0  # of the first audio packet

    @property
    def duration(self) -> float | None:
        """Seconds, as far as the container tells before decoding; an estimate for some formats."""
        if self._stream.duration is not None and self._stream.time_base is not None:
            return float(self._stream.duration * self._stream.time_base)
        return self.end

    @property
    def channels(self) -> int:
        """As the header says."""
        return self._stream.codec_context.channels

    @property
    def end(self) -> float | None:
        """Seconds until the last of the container's tracks ends, as far as it tells."""
        return self._container.duration / av.time_base if self._container.duration else None

    def frames(self) -> Iterator[AudioFrame]:
        """Decoded frames. Damaged packets are skipped with a warning, as players do."""
        time = 0.0
        for packet in self._packets():
            try:
                decoded = packet.decode()
            except av.error.FFmpegError:
                self._note_damage(time)
                continue
            if packet.size:  # the empty packet that drains the decoder says nothing about the file's end
                self._good, self._ends_badly = self._good + 1, False
            for frame in decoded:
                yield frame
                time = frame.time or time

    def check_end(self, seconds: float) -> None:
        """Refuse the file if less than it promised was found: `seconds` were."""
        if self._bad > self._good:
            packets = self._bad + self._good
            raise InvalidAudioError(f"{self.name}: damaged: {self._bad} of {packets} packets are not audio")
        promised = self._promised()
        tolerance = EXACT_TOLERANCE if self.format in LOSSLESS else TOLERANCE
        if promised is not None and promised - seconds > tolerance:
            raise InvalidAudioError(
                f"{self.name}: truncated: its header promises {promised:.2f} s, only {seconds:.2f} s are there"
            )
        # Tags after the last frame of an MP3 look like one bad packet.
        if promised is None and self._ends_badly and self.format != "mp3":
            raise InvalidAudioError(f"{self.name}: truncated: it breaks off inside a packet at {seconds:.2f} s")
        if self._bad and not self._ends_badly:
            logger.warning("%s: skipped %d damaged packets", self.name, self._bad)

    def close(self) -> None:
        self._container.close()
        self._file.close()

    def _packets(self) -> Iterator[av.Packet[AudioStream]]:
        try:
            for number, packet in enumerate(self._container.demux(self._stream)):
                if number == 0:
                    self._first_byte = packet.pos or 0
                yield packet
        except av.error.FFmpegError:  # the demuxer lost its way: what follows is not a packet any more
            self._bad, self._ends_badly = self._bad + 1, True
        except OSError as error:
            raise AudioNotFoundError(f"{self.name}: cannot be read ({error.strerror or error})") from None

    def _note_damage(self, time: float) -> None:
        logger.debug("%s: a damaged packet near %.2f s", self.name, time)
        self._bad, self._ends_badly = self._bad + 1, True

    def _choose_stream(self) -> AudioStream:
        streams = self._container.streams
        if not streams.audio:
            kinds = ", ".join(sorted({stream.type for stream in streams})) or "nothing"
            raise InvalidAudioError(f"{self.name}: no audio track (it holds {kinds})")
        if streams.audio[0].codec_context is None:
            raise InvalidAudioError(f"{self.name}: the codec of its audio track is unknown or encrypted")
        return streams.audio[0]

    def _refuse_cut_file(self) -> None:
        kind = self._container.format.name
        if kind == "ogg" and _untouched(promise.ogg_is_cut, self._file):
            raise InvalidAudioError(f"{self.name}: truncated: it ends inside an Ogg page")
        if kind.startswith("mov") and _untouched(promise.mp4_is_cut, self._file):
            raise InvalidAudioError(f"{self.name}: truncated: it ends inside an MP4 box")
        missing = _untouched(promise.wav_missing_seconds, self._file) if kind == "wav" else 0.0
        if missing > EXACT_TOLERANCE:
            raise InvalidAudioError(f"{self.name}: truncated: {missing:.2f} s of what its header promises are missing")

    def _silence_before(self) -> float:
        """Seconds by which this track starts later than the file's first track (a video, for instance)."""
        start, first = self._stream.start_time, self._container.start_time
        if start is None or first is None or self._stream.time_base is None or len(self._container.streams) == 1:
            return 0.0
        return max(0.0, float(start * self._stream.time_base) - first / av.time_base)

    def _promised(self) -> float | None:
        """Seconds that the container claims to hold; None where it makes no claim of its own."""
        if self.format in LOSSLESS:
            return self.duration
        if self.format == "mp3":
            counted = promise.xing_counts_frames(self._file, self._first_byte)
            return self.duration if counted else None
        if self.format.startswith("matroska"):
            return self._matroska_promise()
        return None

    def _matroska_promise(self) -> float | None:
        tag = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)\0*", self._stream.metadata.get("DURATION", ""))
        if tag:
            return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
        return self.duration if len(self._container.streams) == 1 else None


def _open_container(file: BinaryIO, name: str) -> InputContainer:
    try:
        return av.open(file, "r", options={"format_whitelist": DEMUXERS}, metadata_errors="replace")
    except av.error.FFmpegError:
        raise InvalidAudioError(f"{name}: {_why_not(file)}") from None


def _why_not(file: BinaryIO) -> str:
    file.seek(0)
    kind = promise.looks_like(file.read(12))
    if kind == "MP4" and promise.mp4_is_cut(file):
        return "truncated: its index, which an MP4 file may have at its end, is missing"
    if kind == "Ogg" and promise.ogg_is_cut(file):
        return "truncated: it ends inside one of its first Ogg pages"
    if kind:
        return f"starts like {kind}, but holds no readable audio (no samples, truncated or damaged)"
    return "not audio in any format known here"


def _untouched(look: Callable[[BinaryIO], T], file: BinaryIO) -> T:
    """Look into the file without moving the place where the demuxer reads."""
    position = file.tell()
    try:
        return look(file)
    finally:
        file.seek(position)
