"""The public Python API of speech to text: recordings in, words out; chunks in, events out.

Sits on top of `checkpoints`, `engine`, `session` and `audio`; one process, no server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from . import audio
from .audio.decode import HIGHEST_RATE, LOUDEST, LOWEST_RATE
from .checkpoints import SttModel, load_stt
from .core import (
    SAMPLE_RATE,
    Event,
    Flush,
    InvalidAudioError,
    KeyTerm,
    Transcript,
    VivavoceError,
    seconds,
)
from .engine import SttEngine
from .engine.terms import Term
from .runtime.options import StreamOptions
from .session import SttProfile, SttSession
from .session.draft import Draft
from .session.key_terms import given, spell

Chunk = NDArray[np.float32] | Flush
KeyTerms = Iterable[str | KeyTerm] | None  # words and phrases that are likely; a text may have ":BOOST" behind it
Recording = Callable[[], Iterator[NDArray[np.float32]]]


class Transcriber:
    """A loaded model and an engine of `batch_size` slots; streams that run at once share its steps.

    `key_terms`, of all calls or of one, are words and phrases that are likely to be heard: `core.KeyTerm`, or a text,
    "Kyutai" or with a boost "Kyutai:2". Raises UnsupportedError for one that the model cannot write.
    """

    def __init__(
        self,
        model: SttModel,
        *,
        batch_size: int = 8,
        vad_head: int | None = None,
        vad_threshold: float = 0.5,
        temperature: float | None = None,
        seed: int = 0,
        guard: str = "flag",
        key_terms: KeyTerms = (),
    ) -> None:
        StreamOptions(temperature, seed)  # refuses what no model can follow
        self.name, self.languages = model.config.name, model.config.languages
        self.hears_pauses = model.lm.config.extra_heads > 0  # without, there are no turns
        self.engine = SttEngine.fastest(model.mimi, model.lm, batch_size, packed=model.packed, pieces=model.pieces)
        self._profile = SttProfile(
            model.pieces,
            model.config.audio_delay_seconds,
            model.config.audio_silence_prefix_seconds,
            model.lm.config.extra_heads,
        )
        head = model.config.vad_head if vad_head is None else vad_head
        self._session = {"vad_head": head, "vad_threshold": vad_threshold, "guard": guard}
        self._temperature = model.config.temperature if temperature is None else temperature
        self._seed = seed
        self._tokenizer = model.tokenizer
        self._terms = self._spelled(key_terms)
        self._free = deque(range(batch_size))

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        device: str = "auto",
        dtype: str | None = None,
        batch_size: int = 8,
        vad_head: int | None = None,
        vad_threshold: float = 0.5,
        temperature: float | None = None,
        seed: int = 0,
        guard: str = "flag",
        key_terms: KeyTerms = (),
    ) -> Transcriber:
        """Load a model: None is the embedded one; else a folder, `hf://owner/repo`, or `owner/repo` on the hub.

        `vad_head` 0 to 3 watches for pauses of 0.5, 1, 2 or 3 s; None is the model's own choice. `temperature` None too
        (0 for the released ones: greedy); a sampled stream number i of a call draws with `seed + i`. `guard` flag:
        words that nobody can have said are suspect; drop: they are `dropped`.

        Raises CheckpointError or DownloadError with one clear line.
        """
        return cls(
            load_stt(model, device=device, dtype=dtype),
            batch_size=batch_size,
            vad_head=vad_head,
            vad_threshold=vad_threshold,
            temperature=temperature,
            seed=seed,
            guard=guard,
            key_terms=key_terms,
        )

    def transcribe(
        self,
        source: str | Path | NDArray[np.float32],
        sample_rate: int = SAMPLE_RATE,
        *,
        key_terms: KeyTerms = None,
    ) -> Transcript:
        """The words of a file, or of float samples [n] or [n, channels] at `sample_rate`.

        Raises AudioNotFoundError or InvalidAudioError.
        """
        ((_, result),) = self.transcribe_all([recording(source, sample_rate)], key_terms=key_terms)
        if isinstance(result, VivavoceError):
            raise result
        return result

    def transcribe_all(
        self,
        recordings: Iterable[Recording],
        progress: Callable[[float], None] | None = None,
        *,
        key_terms: KeyTerms = None,
    ) -> Iterator[tuple[int, Transcript | VivavoceError]]:
        """Many recordings, as many at once as the batch holds; yields (index, result) as each finishes.

        A recording is a function that opens it: `vivavoce.transcriber.recording(path)`. What goes wrong with one is
        its own result. `progress` is told the seconds of audio taken in since it was last told.
        """
        drafts: dict[int, Draft] = {}
        for lane, event in self._run(map(_Opened, recordings), progress, self._spelled(key_terms)):
            draft = drafts.setdefault(lane.index, Draft())
            if isinstance(event, VivavoceError):
                yield lane.index, event
            elif event is None:
                yield lane.index, draft.transcript(seconds(lane.samples))
            else:
                draft.add(event)
            if event is None or isinstance(event, VivavoceError):
                del drafts[lane.index]

    def stream(self, chunks: Iterable[Chunk], *, key_terms: KeyTerms = None) -> Iterator[Event]:
        """Events as they become known, from chunks of float32 samples [n] at 24 kHz of any length.

        A `Flush(id)` among the chunks asks for every word so far at once and is answered by `Flushed(id)`.
        """
        return (event for _, event in self.streams([chunks], key_terms=key_terms))

    def streams(self, many: Iterable[Iterable[Chunk]], *, key_terms: KeyTerms = None) -> Iterator[tuple[int, Event]]:
        """Several streams in one batch: (stream's number, event). An invalid chunk raises InvalidAudioError."""
        for lane, event in self._run(iter(many), None, self._spelled(key_terms)):
            if isinstance(event, VivavoceError):
                raise event
            if event is not None:
                yield lane.index, event

    def _run(
        self,
        sources: Iterator[Iterable[Chunk]],
        progress: Callable[[float], None] | None,
        terms: Sequence[Term],
    ) -> Iterator[tuple[_Lane, Event | VivavoceError | None]]:
        """Step all lanes together; a lane's None says that it has finished."""
        if not self._free:
            raise VivavoceError(f"all {self.engine.slots} slots are taken by streams that have not ended")
        waiting, lanes = enumerate(sources), list[_Lane]()
        try:
            while True:
                while self._free and (following := next(waiting, None)) is not None:
                    lanes.append(self._enter(*following, terms))
                if not lanes:
                    return
                yield from self._tick(lanes, progress)
        finally:
            for lane in lanes:
                self._leave(lane)

    def _tick(
        self, lanes: list[_Lane], progress: Callable[[float], None] | None
    ) -> Iterator[tuple[_Lane, Event | VivavoceError | None]]:
        for lane in list(lanes):
            try:
                heard = lane.listen()
            except VivavoceError as error:
                lanes.remove(lane)
                self._leave(lane)
                yield lane, error
                continue
            if progress and heard:
                progress(seconds(heard))
        ready = {lane.slot: lane for lane in lanes if lane.session.pending}
        count = min([self.engine.TOGETHER, *(lane.session.pending for lane in ready.values())])
        frames = {slot: np.stack([lane.session.take() for _ in range(count)]) for slot, lane in ready.items()}
        for slot, outputs in self.engine.catch_up(frames).items():
            for output in outputs:
                for event in ready[slot].session.stepped(output.token, output.logprob, output.vad):
                    yield ready[slot], event
        for lane in [lane for lane in lanes if lane.session.finished]:
            lanes.remove(lane)
            self._leave(lane)
            yield lane, None

    def _spelled(self, key_terms: KeyTerms) -> tuple[Term, ...]:
        if key_terms is None:
            return self._terms
        found = given(key_terms)
        return spell(found, self._tokenizer(), self._profile.pieces) if found else ()

    def _enter(self, index: int, chunks: Iterable[Chunk], terms: Sequence[Term]) -> _Lane:
        session = SttSession(self._profile, **self._session)  # type: ignore[arg-type]
        slot = self._free.popleft()
        self.engine.open(slot, temperature=self._temperature, seed=(self._seed + index) % 2**63, terms=terms)
        return _Lane(index, slot, session, iter(chunks))

    def _leave(self, lane: _Lane) -> None:
        self.engine.close(lane.slot)
        self._free.append(lane.slot)


@dataclass
class _Lane:
    """A stream that occupies a slot."""

    index: int
    slot: int
    session: SttSession
    chunks: Iterator[Chunk]
    samples: int = 0
    ended: bool = False

    def listen(self) -> int:
        """Take chunks until a frame is ready or the stream ends; the samples taken."""
        before = self.samples
        while not self.session.pending and not self.ended:
            chunk = next(self.chunks, None)
            if chunk is None:
                self.ended = True
                self.session.end()
            elif isinstance(chunk, Flush):
                self.session.flush(chunk.id)
            else:
                self.session.push(chunk)
                self.samples += len(chunk)
        return self.samples - before


class _Opened:
    """A recording that is opened when its first block is asked for, so that its errors arrive in its own lane."""

    def __init__(self, open_recording: Recording) -> None:
        self._open = open_recording

    def __iter__(self) -> Iterator[Chunk]:
        yield from self._open()


def recording(source: str | Path | NDArray[np.float32], sample_rate: int = SAMPLE_RATE) -> Recording:
    """A recording for `transcribe_all`, of a file or of float samples [n] or [n, channels]."""
    if isinstance(source, np.ndarray):
        samples = _mono(source, sample_rate)
        return lambda: iter([samples])
    return lambda: audio.blocks(source)


def _mono(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    if samples.ndim not in (1, 2) or not np.issubdtype(samples.dtype, np.floating):
        raise InvalidAudioError(
            f"samples must be floats of shape [n] or [n, channels], got {samples.dtype} {list(samples.shape)}"
        )
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise InvalidAudioError(f"a sample rate of {sample_rate} Hz; {LOWEST_RATE} to {HIGHEST_RATE} Hz can be audio")
    mono = samples.mean(1) if samples.ndim == 2 else samples
    mono = mono.astype(np.float32)
    if (peak := float(np.abs(mono).max(initial=0))) > LOUDEST:
        what = "audio lies between -1 and 1, 16-bit integers are divided by 32768"
        raise InvalidAudioError(f"a sample is ±{peak:g}; {what}")
    return mono if sample_rate == SAMPLE_RATE else np.asarray(soxr.resample(mono, sample_rate, SAMPLE_RATE))
