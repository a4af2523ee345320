"""Any recording in, mono float32 at 24 kHz out. FFmpeg (PyAV) decodes, soxr resamples; no torch."""

from .reader import Blocks, blocks, duration, load
from .source import SUFFIXES, Samples, Source

__all__ = ["SUFFIXES", "Blocks", "Samples", "Source", "blocks", "duration", "load"]
