"""The released checkpoint formats: reading, writing, downloading."""

from .assembly import Instead
from .load import load_stt
from .load_tts import load_tts
from .model import SttConfig, SttModel
from .save import save_stt
from .save_tts import save_tts
from .tts_model import TtsConfig, TtsModel

__all__ = [
    "Instead", "SttConfig", "SttModel", "TtsConfig", "TtsModel", "load_stt", "load_tts", "save_stt", "save_tts",
]  # fmt: skip
