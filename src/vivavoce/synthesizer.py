"""The public Python API of text to speech: text in, audio out, the words with their places in it.

Sits on top of `engine`, `session` and the loading of `runtime`; one process, no server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from .checkpoints.voice_file import RECORDINGS, no_recording, read_voice
from .core import Flush, SpeechEvent, UnknownVoiceError, UnsupportedError, Utterance, VivavoceError
from .engine.tts import TtsEngine, TtsOutput
from .engine.tts_snapshot import TtsOptions
from .runtime.cast import Cast
from .runtime.options import SpeechOptions
from .runtime.speech_loading import prepare
from .runtime.speech_messages import SpeechSpec, Wish
from .session import ScriptMachine, TtsSession
from .session.utterance import utterance

Voice = str | Path | NDArray[np.float32]  # a name, a voice's file, a recording, or an embedding [frames, dim]
Texts = Iterable[str | Flush]


class Manner(TypedDict, total=False):
    """How a text is spoken; what is not given is the model's own choice, and the seed 0."""

    voice: Voice | None
    cfg: float | None  # how closely the voice is kept
    temperature: float | None  # of the text and the codes; 0 is greedy
    top_k: int | None
    seed: int


class Synthesizer:
    """A loaded model and an engine of `batch_size` slots; streams that run at once share its steps."""

    def __init__(self, engine: TtsEngine, cast: Cast) -> None:
        self.name, self.languages = engine.model.config.name, engine.model.config.languages
        self.engine, self._cast = engine, cast
        self._free = deque(range(engine.slots))

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        device: str = "auto",
        dtype: str | None = None,
        batch_size: int = 8,
        voices: str | Path | None = None,
        voice: str | None = None,
    ) -> Synthesizer:
        """Load a model: None is the embedded one; else a folder, `hf://owner/repo`, or `owner/repo` on the hub.

        `voices`: a folder of voices or `hf-snapshot://owner/name[/glob]`; None is the model's own folder `voices`.
        `voice`: the name of the default one; None is the first.

        Raises CheckpointError or DownloadError with one clear line.
        """
        folder = None if voices is None else str(voices)
        source = None if model is None else str(model)
        return cls(*prepare(SpeechSpec(source, device, dtype, slots=batch_size, voice_dir=folder, voice=voice)))

    @property
    def voices(self) -> tuple[str, ...]:
        """The names that `voice` may have; empty for a model that has none to choose from."""
        return self._cast.voices.names if self._cast.voices else ()

    @property
    def voice(self) -> str | None:
        """The voice of a text that asks for none."""
        return self._cast.voices.default if self._cast.voices else None

    def say(self, text: str, **manner: Unpack[Manner]) -> Utterance:
        """A text as audio; the same, but for rounding, for the same text and manner, whatever else is said meanwhile.

        A text without a word is no audio. Raises UnknownVoiceError, UnsupportedError for what the model cannot follow,
        VivavoceError for what is no text.
        """
        return self.say_all([text], **manner)[0]

    def say_all(self, texts: Iterable[str], **manner: Unpack[Manner]) -> list[Utterance]:
        """Many texts, as many at once as the batch holds; each is what `say` makes of it."""
        known = [[text] for text in texts]
        drafts = [list[SpeechEvent]() for _ in known]
        for index, event in self.streams(known, **manner):
            drafts[index].append(event)
        return list(map(utterance, drafts))

    def stream(self, texts: Texts, **manner: Unpack[Manner]) -> Iterator[SpeechEvent]:
        """`Speech` and `WordSpoken` as soon as they are known, from text that comes in pieces cut anywhere.

        More text is asked for when all that is known has been spoken as far as can be: the last word, and as many as
        the model looks ahead, wait for what follows them, for the end, or for a `Flush` among the pieces. With that all
        text so far is spoken to its end and `Flushed` says so; what comes then is spoken as a text of its own.
        """
        return (event for _, event in self.streams([texts], **manner))

    def streams(self, many: Iterable[Texts], **manner: Unpack[Manner]) -> Iterator[tuple[int, SpeechEvent]]:
        """Several streams in one batch: (stream's number, event). Errors as of `say`, before anything is spoken."""
        return self._run(enumerate(many), self._options(**manner))

    def _options(
        self,
        voice: Voice | None = None,
        cfg: float | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        seed: int = 0,
    ) -> TtsOptions:
        SpeechOptions(None, cfg, temperature, top_k, seed)  # refuses what no model can follow
        names, embedding, recording = self._cast.default, b"", None
        if isinstance(voice, str) and voice in self.voices:
            names = (voice,)
        elif isinstance(voice, str | Path) and not Path(voice).is_file():
            self._refuse(str(voice))
        elif isinstance(voice, str | Path) and Path(voice).suffix.lower() in RECORDINGS:
            names, recording = (), Path(voice)
        elif voice is not None:
            embedding = self._embedding(voice).tobytes()
        try:
            options = self._cast.options(Wish(names, embedding, cfg, temperature, top_k, seed))
        except ValueError as error:
            raise UnsupportedError(str(error)) from None
        return options if recording is None else replace(options, prefix=self._prefix(recording))

    def _prefix(self, recording: Path) -> NDArray[np.int32]:
        if self.engine.model.voice_dim:
            raise UnknownVoiceError(f"{recording}: {no_recording(self.name)}")
        return self._cast.recording(recording)

    def _refuse(self, voice: str) -> None:
        if self._cast.voices is not None:
            self._cast.voices.path(voice)  # says which there are
        raise UnknownVoiceError(f"there is no voice {voice!r}: {self.name} has no voices to choose from")

    def _embedding(self, voice: str | Path | NDArray[np.float32]) -> NDArray[np.float32]:
        model = self.engine.model
        if not model.voice_dim:
            raise UnsupportedError(f"{self.name} takes no speaker embedding, but a recording")
        if isinstance(voice, np.ndarray):
            return np.ascontiguousarray(voice, np.float32)
        return read_voice(Path(voice), model.config.voice_frames, model.voice_dim)

    def _run(self, waiting: Iterator[tuple[int, Texts]], options: TtsOptions) -> Iterator[tuple[int, SpeechEvent]]:
        """Step all lanes together."""
        if not self._free:
            raise VivavoceError(f"all {self.engine.slots} slots are taken by streams that have not ended")
        lanes = list[_Lane]()
        try:
            while True:
                while self._free and (following := next(waiting, None)) is not None:
                    lanes.append(self._enter(*following, options))
                if not lanes:
                    return
                for lane in lanes:
                    for event in lane.listen():
                        yield lane.index, event
                outputs = self.engine.step({lane.slot: lane.machine.act for lane in lanes if not lane.finished})
                for lane in [lane for lane in lanes if lane.slot in outputs]:
                    for event in lane.stepped(outputs[lane.slot]):
                        yield lane.index, event
                for lane in [lane for lane in lanes if lane.finished]:
                    lanes.remove(lane)
                    self._leave(lane)
        finally:
            for lane in lanes:
                self._leave(lane)

    def _enter(self, index: int, texts: Texts, options: TtsOptions) -> _Lane:
        slot = self._free.popleft()
        try:
            self.engine.open(slot, options)
        except ValueError as error:
            self._free.append(slot)
            raise UnsupportedError(str(error)) from None

        def afresh() -> ScriptMachine:
            self.engine.close(slot)
            self.engine.open(slot, options)
            return self._cast.machine()

        session = TtsSession(self._cast.profile, self.engine.model.lm.config.n_q, self.engine.snapshot_steps)
        pieces = iter([texts] if isinstance(texts, str) else texts)
        return _Lane(index, slot, session, pieces, self._cast.machine(), afresh)

    def _leave(self, lane: _Lane) -> None:
        self.engine.close(lane.slot)
        self._free.append(lane.slot)


@dataclass
class _Lane:
    """A stream that occupies a slot."""

    index: int
    slot: int
    session: TtsSession
    texts: Iterator[str | Flush]
    machine: ScriptMachine
    afresh: Callable[[], ScriptMachine]  # begins the slot anew
    epoch: int = field(default=0, init=False)

    @property
    def finished(self) -> bool:
        return self.session.finished

    def listen(self) -> list[SpeechEvent]:
        """Take text until the next step is certain, or the stream ends; the answers of flushes of nothing."""
        answers = list[SpeechEvent]()
        self._read()
        while not (self.machine.ready or self.session.ended):
            match next(self.texts, None):
                case None:
                    self.session.end()
                case Flush(id):
                    answers += self.session.flush(id)
                case text:
                    self.session.push(text)
            self._read()
        return answers

    def _read(self) -> None:
        if self.session.pending:
            script = self.session.take()
            if script.epoch != self.epoch:
                self.epoch, self.machine = script.epoch, self.afresh()
            for entry in script.entries:
                self.machine.add(entry)
            if script.ended:
                self.machine.end()

    def stepped(self, output: TtsOutput) -> list[SpeechEvent]:
        return self.session.stepped(self.epoch, output.token, output.codes, output.audio, self.machine.state)
