"""The speech-to-text engine: slots, and one batched step for all streams that have a frame.

Synchronous and single-threaded. The five laws of docs/architecture.md are tests of this file.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vivavoce.core import TEXT_PAD, UnsupportedError
from vivavoce.nn.lm import Lm
from vivavoce.nn.mimi import Mimi
from vivavoce.nn.rows import Rows
from vivavoce.nn.sampling import Draws, Wanted, choose

from .codec import EncoderOf, fastest_encoder
from .kernels.lm import NativeLm
from .kernels.packing import Format
from .kernels.release import let_go
from .outputs import Begun, Made, Outputs, StepOutput
from .snapshot import Snapshot
from .stepper import StepperOf, fastest
from .terms import SPAN, Guide, Term, Terms, kinds_of

logger = logging.getLogger(__name__)
KEPT = 250  # frames: 20 s, 1.9 MB of audio
CONVOLUTIONS = 3  # frames that the codec's convolutions see
LOUDEST = 32.0  # beyond this a sample is no audio; full scale is 1


class SttEngine:
    """Up to `slots` streams in lock-free batches: cost follows the streams that have a frame, not the slots.

    Opening a slot runs the start position of the LM (spec/model.md §3.2), so that frame f yields text f + 1 at once.
    """

    TOGETHER: ClassVar = 16  # frames of a stream that `catch_up` takes at most
    SPARE: ClassVar = 0  # rows of state beside those of the slots

    def __init__(
        self,
        mimi: Mimi,
        lm: Lm,
        slots: int,
        stepper_of: StepperOf = fastest,
        encoder_of: EncoderOf = fastest_encoder,
        pieces: Sequence[str] = (),
    ) -> None:
        """`pieces` of the text by token id, for streams that have key terms."""
        if slots < 1:
            raise ValueError(f"an engine needs at least one slot, got {slots}")
        if lm.config.n_q > mimi.config.codebooks:
            raise ValueError(f"the LM hears {lm.config.n_q} codebooks, the codec has {mimi.config.codebooks}")
        self.mimi, self.lm, self.slots = mimi.eval(), lm.eval(), slots
        self.device = lm.embeddings.device
        self._codec = encoder_of(mimi, slots, self.TOGETHER)
        self._memory = stepper_of(lm, slots, self.TOGETHER)
        rows = slots + self.SPARE
        self._text = torch.zeros(rows, dtype=torch.long, device=self.device)
        self._temperature = torch.zeros(rows, device=self.device)
        self._seed = torch.zeros(rows, dtype=torch.long, device=self.device)
        self._open: set[int] = set()
        self._drawing: set[int] = set()  # slots whose temperature is not 0
        self._kinds = torch.from_numpy(kinds_of(pieces, lm.config.text_card_out)).to(self.device)
        self._guides = dict[int, Guide]()  # by slot, of streams that have key terms

    @classmethod
    def fastest(
        cls, mimi: Mimi, lm: Lm, slots: int, packed: str | None = None, pieces: Sequence[str] = ()
    ) -> SttEngine:
        """The engine for the device that the model is on: captured graphs on a GPU that has the kernels for them.

        `packed` as `stepper.fastest` has it. On a CPU the codec is bf16 where the LM is, int8 where that is packed. On
        a GPU "int8" packs the LM itself, from then on for everybody who has it.
        Raises UnsupportedError where nothing steps weights that are packed so.
        """
        if lm.embeddings.device.type == "cuda":
            from .gpu.support import reason_against, reason_against_packing

            if (reason := reason_against_packing(lm, packed) if packed else reason_against(lm)) is None:
                from .gpu.engine import GraphedEngine

                if packed:
                    from .gpu.packed import pack

                    pack(lm)
                return GraphedEngine(mimi, lm, slots, pieces=pieces)
            if packed:
                raise UnsupportedError(f"dtype {packed} needs captured graphs, which cannot be: {reason}")
            logger.warning("PyTorch steps the model on this GPU, without captured graphs: %s", reason)
        codec = Format.FLOAT32 if lm.embeddings.dtype == torch.float32 else Format.INT8 if packed else Format.BFLOAT16
        return cls(mimi, lm, slots, partial(fastest, packed=packed), partial(fastest_encoder, format=codec), pieces)

    def let_go(self) -> None:
        """The model is this engine's alone: what native code has packed is not kept a second time."""
        let_go(self._memory, self._codec)

    @property
    def native(self) -> bool:
        """The kernels step the LM, not PyTorch."""
        return isinstance(self._memory, NativeLm)

    @property
    def n_q(self) -> int:
        """Codebooks that the LM hears."""
        return self.lm.config.n_q

    @property
    def snapshot_frames(self) -> tuple[int, int]:
        """How many columns of codes and how many frames of audio are worth keeping of a stream.

        All that the layers together hear, which makes a restored stream go on as if nothing had happened; but where
        that is more than KEPT, codes: what the LM sees at once; audio: twice what the codec sees at once (two positions
        a frame), because its codes are hard decisions: whatever its next frame sees was then computed from as much as
        it sees itself.
        """
        lm, mimi = self.lm.config, self.mimi.config
        codec = mimi.encoder_layers * mimi.context // 2 + CONVOLUTIONS
        return max(lm.context, min(lm.num_layers * lm.context, KEPT)), max(mimi.context, min(codec, KEPT))

    @property
    def weight_bytes(self) -> int | None:
        """Of the LM's weights as native code keeps them; None where PyTorch steps it."""
        return self._memory.weight_bytes if isinstance(self._memory, NativeLm) else None

    def open(self, slot: int, *, temperature: float = 0.0, seed: int = 0, terms: Sequence[Term] = ()) -> int:
        """Give a free slot to a new stream; temperature 0 is greedy. Returns the text token of the start position."""
        self._take(slot, temperature, seed)
        self._guide(slot, terms)
        rows = Rows([slot], self.device)
        token, _, _ = self._hear(rows, *self.lm.start(1))
        self._keep(slot, 1)
        rows.write(self._text, token[:, -1])
        return int(token)

    @torch.inference_mode()
    def restore(self, slot: int, snapshot: Snapshot) -> None:
        """Give a free slot to a stream that was stepped elsewhere: one pass over what is kept of it.

        A stream whose whole life was kept goes on as if never interrupted; an older one all but so, because what it
        heard before the snapshot still echoed in the deeper layers. Raises ValueError for another model's snapshot.
        """
        lm = self.lm.config
        snapshot.must_fit(lm.n_q, lm.card, lm.text_card + 1, self.mimi.config.frame_size)
        self._take(slot, snapshot.temperature, snapshot.seed)
        self._guide(slot, snapshot.terms, snapshot.text[:-1].tolist())
        self._text[slot] = int(snapshot.text[-1])
        text = torch.tensor(snapshot.text[None, :-1], dtype=torch.long, device=self.device)
        codes = torch.tensor(snapshot.codes[None], dtype=torch.long, device=self.device)
        first = snapshot.frames - codes.shape[1] + 1
        if first == 1:  # nothing is missing but the start
            start_text, start_codes = self.lm.start(1)
            text, codes, first = torch.cat([start_text, text], 1), torch.cat([start_codes, codes], 1), 0
        self._memory.prefill(text, codes, slot, first)
        if len(snapshot.audio):
            audio = self._clean(snapshot.audio.reshape(1, -1).copy())
            self._codec.prefill(audio, slot, snapshot.frames - len(snapshot.audio))

    def _take(self, slot: int, temperature: float, seed: int) -> None:
        assert 0 <= slot < self.slots and slot not in self._open, f"slot {slot} is not free"
        self._memory.reset(slot)  # may refuse
        self._open.add(slot)
        self._codec.reset(slot)
        self._temperature[slot] = temperature
        self._seed[slot] = seed
        if temperature > 0:
            self._drawing.add(slot)

    def _guide(self, slot: int, terms: Sequence[Term], said: Sequence[int] = ()) -> None:
        """`said`: the text so far, but for the token that is heard next."""
        if terms:
            span = min(SPAN, self.snapshot_frames[0])  # more than is kept of a stream, restoring could not know
            self._guides[slot] = Guide(Terms(terms, self._kinds.cpu().numpy(), span), said)

    def _keep(self, slot: int, count: int) -> None:
        """The first of the tokens that were heard last stand."""
        if guide := self._guides.get(slot):
            guide.keep(count)

    def close(self, slot: int) -> None:
        """The stream is over; its slot is free."""
        self._open.remove(slot)
        self._guides.pop(slot, None)
        self._drawing.discard(slot)

    def step(self, frames: Mapping[int, NDArray[np.float32]]) -> dict[int, StepOutput]:
        """One frame, float32 [frame_size], for each slot that has one; samples that are no audio count as silence."""
        return self.begin(frames).outputs().each() if frames else {}

    @torch.inference_mode()
    def begin(self, frames: Mapping[int, NDArray[np.float32]]) -> Begun:
        """The same of at least one slot; where a device computes, this returns when it has been told what."""
        rows, codes = self._encode({slot: frame[None] for slot, frame in frames.items()})
        token, logprob, vad = self._hear(rows, rows.read(self._text)[:, None], codes)
        rows.write(self._text, token[:, -1])
        for slot in self._guides.keys() & frames.keys():
            self._keep(slot, 1)
        told = (part[:, 0].cpu().numpy() for part in (token, logprob, vad.float(), codes))
        return Made(Outputs(sorted(frames), *told))

    @torch.inference_mode()
    def catch_up(self, frames: Mapping[int, NDArray[np.float32]]) -> dict[int, list[StepOutput]]:
        """Several frames of each slot, float32 [k, frame_size], k from 1 to TOGETHER and the same for all.

        Gives what k steps give, in fewer passes: the codec hears all frames in one, and so does the LM with a guess of
        its own text. Behind a wrong guess it hears again, told what it said the last time (Jacobi decoding), until it
        says what it was told. Where little is said, as in the silence of a flush, two or three passes do.
        """
        if not frames:
            return {}
        slots, count = sorted(frames), len(next(iter(frames.values())))
        assert 1 <= count <= self.TOGETHER, f"a pass takes 1 to {self.TOGETHER} frames of a stream, got {count}"
        rows, codes = self._encode(frames)
        guess = [[int(token), *[TEXT_PAD] * (count - 1)] for token in rows.read(self._text)]
        told: list[list[StepOutput]] = [[] for _ in slots]
        while behind := [row for row in range(len(slots)) if len(told[row]) < count]:
            first = torch.tensor([len(told[row]) for row in behind])[:, None]
            # Who is further ahead hears its last frame over and over; what lies behind its position is not seen again.
            span = (first + torch.arange(count - int(first.min()))).clamp_max(count - 1)
            text = torch.tensor([guess[row] for row in behind]).gather(1, span).to(self.device)
            heard = codes[torch.tensor(behind)[:, None].to(self.device), span.to(self.device)]
            some = Rows([slots[row] for row in behind], self.device)
            position = some.read(self._memory.position).clone()
            for row, answers in zip(behind, _outputs(*self._hear(some, text, heard), heard), strict=True):
                start = len(told[row]) + 1
                answers = answers[: count + 1 - start]
                told[row] += answers[: 1 + _agreement(answers, guess[row][start:])]
                guess[row][start:] = [answer.token for answer in answers[:-1]]
                self._keep(slots[row], len(told[row]) - start + 1)
            known = torch.tensor([len(told[row]) for row in behind])[:, None]
            some.write(self._memory.position, position + (known - first)[:, 0].to(self.device))
        rows.write(self._text, torch.tensor([answers[-1].token for answers in told], device=self.device))
        return dict(zip(slots, told, strict=True))

    def _encode(self, frames: Mapping[int, NDArray[np.float32]]) -> tuple[Rows, Tensor]:
        """The rows of these slots, in order, and their codes int64 [B, k, n_q]."""
        self._must_be_open(frames)
        slots = sorted(frames)
        rows = Rows(slots, self.device)
        audio = self._clean(np.stack([frames[slot].reshape(-1) for slot in slots]))
        return rows, self._codec.encode(rows, audio, self.lm.config.n_q)

    def _must_be_open(self, frames: Mapping[int, object]) -> None:
        assert frames.keys() <= self._open, f"slots {sorted(frames.keys() - self._open)} are not open"

    def _clean(self, audio: NDArray[np.float32]) -> Tensor:
        return clean(torch.from_numpy(audio).to(self.device))

    @torch.inference_mode()
    def _hear(self, rows: Rows, text: Tensor, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """text [B, T], codes [B, T, n_q] to tokens and their log-probabilities [B, T], and pauses [B, T, heads]."""
        batch, count = text.shape
        draws = self._draws(rows, count) if self._drawing else None
        answer = self._memory.answer(rows, text, codes)
        wanted = self._wanted(rows, text) if self._guides else None
        if draws is None and wanted is None:
            return answer.token, answer.logprob, answer.pauses
        token, logprob = choose(answer.logits.flatten(0, 1), draws, wanted, answer.norm.flatten())
        return token.view(batch, count), logprob.view(batch, count), answer.pauses

    def _draws(self, rows: Rows, count: int) -> Draws | None:
        """Of the next `count` steps of these, if any of them draws."""
        if self._drawing.isdisjoint(rows.index.tolist()):
            return None
        step = rows.read(self._memory.position)[:, None] + torch.arange(count, device=self.device)
        temperature, seed = (rows.read(of).repeat_interleave(count) for of in (self._temperature, self._seed))
        return Draws(temperature, seed, step.flatten())

    def _wanted(self, rows: Rows, text: Tensor) -> Wanted | None:
        """What the streams with key terms, if any are among these, want of the steps that hear text [B, T]."""
        led = {row: guide for row, slot in enumerate(rows.index.tolist()) if (guide := self._guides.get(slot))}
        if not led:
            return None
        heard, count = text.tolist(), text.shape[1]
        bonus = np.stack([bonus for row, guide in led.items() for bonus in guide.follow(heard[row])])
        places = [row * count + step for row in led for step in range(count)]
        return Wanted(torch.tensor(places, device=self.device), torch.from_numpy(bonus).to(self.device), self._kinds)


def clean(audio: Tensor) -> Tensor:
    """A frame must never hurt its neighbours: NaN or infinity would stay in the shared buffers for good."""
    return audio.nan_to_num(0.0, 0.0, 0.0).clamp(-LOUDEST, LOUDEST)


def _outputs(token: Tensor, logprob: Tensor, vad: Tensor, codes: Tensor) -> list[list[StepOutput]]:
    """For each row, one for each of its frames."""
    told = (part.tolist() for part in (token, logprob, vad, codes))
    return [
        [StepOutput(t, p, tuple(v), tuple(c)) for t, p, v, c in zip(*row, strict=True)]
        for row in zip(*told, strict=True)
    ]


def _agreement(answers: Sequence[StepOutput], guesses: Sequence[int]) -> int:
    """How many guesses, from the first on, were what was then said."""
    wrong = (i for i, guess in enumerate(guesses) if guess != answers[i].token)
    return next(wrong, len(guesses))
