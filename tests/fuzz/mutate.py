"""Inputs near to those that a decoder understands."""

from __future__ import annotations

import random

MAGIC = [
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xc1",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\x7f\xff\xff\xff",
    b"OggS",
    b"\n",
    b'"',
    b"%00",
]


def mutated(draw: random.Random, seeds: list[bytes], longest: int = 4_096) -> bytes:
    """One seed with one to eight changes: bytes turned, put in, taken out or doubled, or another seed's end."""
    data = bytearray(draw.choice(seeds))
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        at, length = draw.randrange(len(data) + 1), draw.choice((1, 1, 2, 4, 16, 64))
        match draw.randrange(7):
            case 0 if at < len(data):
                data[at] ^= 1 << draw.randrange(8)
            case 1 if at < len(data):
                data[at] = draw.randrange(256)
            case 2:
                data[at:at] = draw.choice(MAGIC)
            case 3:
                del data[at : at + length]
            case 4:
                data[at:at] = data[at : at + length]
            case 5:
                data[at : at + length] = draw.randbytes(length)
            case _:
                other = draw.choice(seeds)
                start = draw.randrange(len(other) + 1)
                data[at:] = other[start:]
    return bytes(data[:longest])
