"""Any recording in, mono float32 at 24 kHz out, and back. FFmpeg (PyAV) does it, soxr resamples; no torch."""

from .reader import Blocks, blocks, channels, duration, load
from .source import SUFFIXES, Samples, Source
from .writer import Writer, save

__all__ = ["SUFFIXES", "Blocks", "Samples", "Source", "Writer", "blocks", "channels", "duration", "load", "save"]
