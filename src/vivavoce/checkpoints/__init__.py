"""The released checkpoint formats: reading, writing, downloading."""

from .load import Instead, load_stt
from .model import SttConfig, SttModel
from .save import save_stt

__all__ = ["Instead", "SttConfig", "SttModel", "load_stt", "save_stt"]
