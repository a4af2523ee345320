"""Slots and steps. Synchronous: no asyncio, no sockets, no words."""

from .stt import SttEngine, StepOutput

__all__ = ["StepOutput", "SttEngine"]
