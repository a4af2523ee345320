"""Slots and steps. Synchronous: no asyncio, no sockets, no words."""

from .stt import StepOutput, SttEngine

__all__ = ["StepOutput", "SttEngine"]
