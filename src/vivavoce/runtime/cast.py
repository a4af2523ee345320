"""Who speaks in an engine's process, and from which script: from a caller's wish to what the engine takes."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vivavoce import audio
from vivavoce.checkpoints import TtsModel
from vivavoce.checkpoints.voices import Voices
from vivavoce.core import FRAME_RATE
from vivavoce.engine.tts_snapshot import TtsOptions
from vivavoce.session import ScriptMachine, ScriptState, TtsProfile

from .speech_messages import Wish

CACHED = 16  # recordings whose codes are kept
LAST_FRAMES = 2  # of a recording, whose codes hear silence behind it (spec/model.md §4.4)


class Cast:
    """The voices of one model and its way of reading a script; `voices` None where it has none to choose from."""

    def __init__(self, model: TtsModel, profile: TtsProfile, voices: Voices | None, padding_bonus: float = 0.0) -> None:
        self.model, self.profile, self.voices = model, profile, voices
        self._padding_bonus = padding_bonus
        self._codes = OrderedDict[Path, NDArray[np.int32]]()

    @property
    def default(self) -> tuple[str, ...]:
        """The voices of a stream that asks for none."""
        return (self.voices.default,) if self.voices else ()

    def machine(self, state: ScriptState | None = None) -> ScriptMachine:
        """The script of a new stream, or of one that stood at `state`."""
        return ScriptMachine(self.profile, self.model.tokenizer.encode, state)

    def options(self, wish: Wish) -> TtsOptions:
        """Raises UnknownVoiceError, and ValueError for an embedding of another width."""
        config = self.model.config
        vectors, prefix = self._voice(wish)
        temperature = config.temperature if wish.temperature is None else wish.temperature
        return TtsOptions(
            voices=vectors,
            prefix=prefix,
            cfg=self._guidance(wish.cfg),
            temperature=temperature,
            temperature_text=config.temperature_text if wish.temperature is None else wish.temperature,
            top_k=config.top_k if wish.top_k is None else wish.top_k,
            top_k_text=config.top_k_text if wish.top_k is None else min(wish.top_k, config.top_k_text),
            padding_bonus=self._padding_bonus,
            seed=wish.seed,
        )

    def _guidance(self, cfg: float | None) -> float:
        """The strength that is nearest among those the model was distilled for."""
        asked = self.model.config.guidance if cfg is None else cfg
        return min(self.model.guidances, key=lambda known: abs(known - asked), default=asked)

    def _voice(self, wish: Wish) -> tuple[tuple[NDArray[np.float32], ...], NDArray[np.int32] | None]:
        if wish.embedding:
            vectors = [np.frombuffer(wish.embedding, np.float32).reshape(-1, self.model.voice_dim)]
        elif self.voices is None or not wish.voices:
            return (), None
        elif not self.model.voice_dim:
            return (), self.recording(self.voices.path(wish.voices[0]))
        else:
            vectors = [self.voices.get(name) for name in wish.voices]
        if len(vectors) == 1 and self.model.config.max_speakers > 1:
            vectors *= 2  # both speakers of the script have the one voice, as in the reference server
        return tuple(vectors), None

    def recording(self, path: Path) -> NDArray[np.int32]:
        """The codes [frames, n_q] of a recording that speech goes on from."""
        if path not in self._codes:
            samples = audio.load(path)[: round(self.model.config.voice_frames / FRAME_RATE * 24_000)]
            self._codes[path] = _encoded(self.model, samples)
            if len(self._codes) > CACHED:
                self._codes.popitem(last=False)
        self._codes.move_to_end(path)
        return self._codes[path]


def _encoded(model: TtsModel, samples: NDArray[np.float32]) -> NDArray[np.int32]:
    import torch

    frame = model.mimi.config.frame_size
    padded = np.pad(samples, (0, -len(samples) % frame))
    with torch.inference_mode():
        heard = torch.from_numpy(padded)[None].to(model.lm.embeddings.device)
        codes = model.mimi.encode(heard, codebooks=model.lm.config.n_q)[0, :-LAST_FRAMES]
    return codes.cpu().numpy().astype(np.int32)
