"""What a container promises, read from its own bytes where FFmpeg trims the promise to what it finds.

FFmpeg reports the length of a cut WAV as what is left of it, plays a cut Ogg to its last whole page without a word and
estimates an MP3 without a Xing header, so a truncated file would look like a short one.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

UNKNOWN_RIFF_SIZE = 0x7FFF_0000  # encoders that write to a pipe put this or more into the size field
BOXES = frozenset(b"ftyp styp moov moof mdat mfra sidx free skip wide meta udta uuid pnot prft emsg ssix".split())
LARGEST_OGG_PAGE = 27 + 255 + 255 * 255  # bytes: header, lacing table, body


def size_of(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def wav_missing_seconds(file: BinaryIO) -> float:
    """Seconds by which the data chunk of a RIFF or RF64 WAV reaches beyond the end; 0 if it claims no size."""
    total, byte_rate, long_size = size_of(file), 0, 0
    position = 12
    while position + 8 <= total:
        file.seek(position)
        chunk, size = struct.unpack("<4sI", file.read(8))
        if chunk == b"ds64":
            long_size = struct.unpack_from("<8xQ", file.read(16).ljust(16, b"\0"))[0]
        elif chunk == b"fmt ":
            byte_rate = struct.unpack_from("<8xI", file.read(12).ljust(12, b"\0"))[0]
        elif chunk == b"data":
            known = long_size if size == 0xFFFF_FFFF else size if size < UNKNOWN_RIFF_SIZE else 0
            return max(0, position + 8 + known - total) / byte_rate if byte_rate else 0.0
        position += 8 + size + size % 2
    return 0.0


def ogg_is_cut(file: BinaryIO) -> bool:
    """Whether the last Ogg page is longer than what is left of the file (RFC 3533, section 6)."""
    total = size_of(file)
    file.seek(max(0, total - LARGEST_OGG_PAGE))
    tail = file.read()
    start = tail.rfind(b"OggS\0")
    if start < 0 or start + 27 > len(tail):
        return True
    lacing = tail[start + 27 : start + 27 + tail[start + 26]]
    return len(lacing) < tail[start + 26] or start + 27 + len(lacing) + sum(lacing) > len(tail)


def mp4_is_cut(file: BinaryIO) -> bool:
    """Whether a top-level box of an ISO file (mp4, m4a, mov, 3gp) reaches beyond its end (ISO 14496-12, 4.2)."""
    total, position = size_of(file), 0
    while position < total:
        file.seek(position)
        header = file.read(16).ljust(16, b"\0")
        size, kind = struct.unpack_from(">I4s", header)
        if size == 0 or kind not in BOXES:  # "up to the end of the file"; or padding or a tag after the last box
            return False
        size = struct.unpack_from(">8xQ", header)[0] if size == 1 else size
        if size < 8:
            return False
        position += size
    return position > total


def xing_counts_frames(file: BinaryIO, first_frame: int) -> bool:
    """Whether the MP3 frame before byte `first_frame` is a Xing/Info header that says how many frames follow."""
    file.seek(max(0, first_frame - 2881))  # the longest layer III frame
    head = file.read(min(first_frame, 2881))
    at = max(head.rfind(b"Xing"), head.rfind(b"Info"))
    return at >= 0 and at + 8 <= len(head) and bool(head[at + 7] & 1)


def looks_like(head: bytes) -> str | None:
    """The container that the first 12 bytes claim to be, for messages about files that do not open."""
    magic = {b"fLaC": "FLAC", b"OggS": "Ogg", b"RIFF": "WAV", b"\x1a\x45\xdf\xa3": "Matroska", b"ID3": "MP3"}
    if head[4:8] == b"ftyp":
        return "MP4"
    return next((name for start, name in magic.items() if head.startswith(start)), None)
