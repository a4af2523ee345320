"""The text-to-speech engine: slots, and one batched step for all streams whose turn it is.

Synchronous and single-threaded. The five laws of docs/architecture.md are tests of this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vivavoce.checkpoints import TtsModel
from vivavoce.core import TEXT_PAD
from vivavoce.nn.delays import unskew
from vivavoce.nn.rows import Rows
from vivavoce.nn.sampling import Choice, Sampling, draw, keys

from .codec import DecoderOf, fastest_decoder
from .kernels.release import let_go
from .kernels.speech import NativeSpeech
from .tts_snapshot import TtsOptions, TtsSnapshot
from .tts_stepper import TtsStepperOf, fastest_tts
from .tts_stream import TtsStream, conditions_of, no_conditions

Act = Callable[[int], int]
KEPT = 250  # frames: 20 s
CONVOLUTIONS = 3  # frames that the codec's convolutions see
TOGETHER = 16  # frames of a stream's past that the codec says at once


@dataclass(frozen=True, slots=True)
class TtsOutput:
    """What one step gave."""

    sampled: int  # what the text head chose
    token: int  # what the LM was fed instead
    codes: tuple[int, ...]  # the step's column, n_q codes, delays included; -1 where nothing is generated
    audio: NDArray[np.float32] | None  # [frame_size]; None for the first `first_audio_step` steps


class TtsEngine:
    """Up to `slots` streams in lock-free batches: cost follows the streams that are stepped, not the slots.

    Step s feeds the text of frame s of the audio, which comes out `first_audio_step` steps later (spec/model.md §4.3).
    Where guidance is not distilled into the model, a guided stream takes a second row of the state and its time.
    """

    def __init__(
        self,
        model: TtsModel,
        slots: int,
        stepper_of: TtsStepperOf | None = None,
        decoder_of: DecoderOf = fastest_decoder,
    ) -> None:
        if slots < 1:
            raise ValueError(f"an engine needs at least one slot, got {slots}")
        if model.config.codebooks > model.mimi.config.codebooks:
            raise ValueError(
                f"the LM speaks {model.config.codebooks} codebooks, the codec has {model.mimi.config.codebooks}"
            )
        lm = model.lm.config
        self.model, self.slots, self.device = model, slots, model.lm.embeddings.device
        self._delays = torch.tensor(lm.delays, device=self.device)
        source = model.config.max_speakers * model.config.voice_frames if lm.cross_attention else 0
        rows = slots if model.guidances else 2 * slots  # row `slots + slot` is the one that guidance leads away from
        stepper_of = stepper_of or partial(fastest_tts, packed=model.packed)
        self._memory = stepper_of(model.lm, model.config.codebooks, rows, source)
        self._decoder = decoder_of(model.mimi, slots, TOGETHER)
        self._text = torch.zeros(slots, dtype=torch.long, device=self.device)
        self._columns = torch.zeros(slots, max(lm.delays) + 1, lm.n_q, dtype=torch.long, device=self.device)
        self._streams: dict[int, TtsStream] = {}

    def let_go(self) -> None:
        """The model is this engine's alone: what native code has packed is not kept a second time."""
        let_go(self._memory, self._decoder)

    @property
    def native(self) -> bool:
        """The kernels step the LM, not PyTorch."""
        return isinstance(self._memory, NativeSpeech)

    @property
    def first_audio_step(self) -> int:
        """The first step, counted from 0, that gives audio."""
        return self.model.config.delay_steps + max(self.model.lm.config.delays)

    @property
    def snapshot_steps(self) -> int:
        """How many steps are worth keeping of a stream: all that the layers hear, within reason (`SttEngine`)."""
        lm, mimi = self.model.lm.config, self.model.mimi.config
        heard = max(lm.context, min(lm.num_layers * lm.context, KEPT)) + 1
        said = max(mimi.context, min(mimi.decoder_layers * mimi.context // 2 + CONVOLUTIONS, KEPT))
        return max(heard, said + max(lm.delays))

    @torch.inference_mode()
    def open(self, slot: int, options: TtsOptions | None = None) -> None:
        """Give a free slot to a new stream. Raises ValueError for options that the model cannot follow."""
        stream = self._take(slot, options or TtsOptions())
        self._fill(slot, stream, torch.full((stream.step,), -1, device=self.device), stream.forced[: stream.step])

    @torch.inference_mode()
    def restore(self, slot: int, snapshot: TtsSnapshot) -> None:
        """Give a free slot to a stream that was stepped elsewhere: one pass over what is kept of it.

        A stream whose whole life was kept goes on as if never interrupted; an older one all but so, because what it
        heard before the snapshot still echoed in the deeper layers. Raises ValueError for another model's snapshot.
        """
        lm = self.model.lm.config
        snapshot.must_fit(lm.n_q, lm.card, self._text_ids, self._columns.shape[1])
        stream = self._take(slot, snapshot.options)
        text = torch.tensor(snapshot.tokens, dtype=torch.long, device=self.device)
        codes = torch.tensor(snapshot.codes, dtype=torch.long, device=self.device)
        begin, stream.step = stream.step, stream.step + snapshot.steps
        if len(text) == snapshot.steps:  # its whole life
            text = torch.cat([text.new_full((begin,), -1), text])
            codes = torch.cat([stream.forced[:begin], codes])
        steps = torch.arange(stream.step - len(codes), stream.step, device=self.device)
        codes = codes.masked_fill(steps[:, None] < self._delays, lm.card)
        self._fill(slot, stream, text, codes)

    def close(self, slot: int) -> None:
        """The stream is over; its slot is free."""
        del self._streams[slot]

    @torch.inference_mode()
    def step(self, acts: Mapping[int, Act]) -> dict[int, TtsOutput]:
        """One step of each given slot; its act turns what the text head chose into the token that is fed instead.

        What an act raises ends the step of all slots: it must not.
        """
        assert acts.keys() <= self._streams.keys(), f"slots {sorted(acts.keys() - self._streams.keys())} are not open"
        if not acts:
            return {}
        slots = sorted(acts)
        streams, rows = [self._streams[slot] for slot in slots], Rows(slots, self.device)
        hidden, logits = self._hear(slots, streams, rows)
        key = self._keys(streams)
        sampled = self._sample_text(logits[: len(slots)], streams, key)
        tokens = [self._checked(acts[slot](choice)) for slot, choice in zip(slots, sampled, strict=True)]
        text = torch.tensor(tokens, device=self.device)
        columns = self._speak(hidden, text, streams, key)
        newest = torch.cat([rows.read(self._columns)[:, 1:], columns[:, None]], 1)
        rows.write(self._text, text)
        rows.write(self._columns, newest)
        audio = self._decode(slots, streams, newest)
        codes = columns.masked_fill(columns == self.model.lm.config.card, -1).tolist()
        for stream in streams:
            stream.step += 1
        results = zip(slots, sampled, tokens, codes, strict=True)
        return {s: TtsOutput(choice, token, tuple(column), audio.get(s)) for s, choice, token, column in results}

    @property
    def _text_ids(self) -> int:
        ids = self.model.lm.config.text_card + 1
        return ids * (ids + 1) if self.model.lm.config.demux else ids

    def _checked(self, token: int) -> int:
        assert -1 <= token < self._text_ids, f"the LM hears text ids -1 to {self._text_ids - 1}, got {token}"
        return token

    def _take(self, slot: int, options: TtsOptions) -> TtsStream:
        """A free slot with a stream that has heard nothing yet but its conditions."""
        assert 0 <= slot < self.slots and slot not in self._streams, f"slot {slot} is not free"
        stream = TtsStream.of(self.model, options)
        conditions = [(slot, conditions_of(self.model, options))]
        conditions += [(self.slots + slot, no_conditions(self.model))] if stream.guided else []
        for row, fused in conditions:
            self._memory.begin(row, fused)
        self._decoder.reset(slot)
        self._streams[slot] = stream
        return stream

    def _fill(self, slot: int, stream: TtsStream, text: Tensor, codes: Tensor) -> None:
        """Make the newest steps, which fed text [k] and gave codes [k, n_q], the past of a slot that was taken."""
        lm, kept = self.model.lm, self._columns.shape[1]
        start_text, start_codes = lm.start(1)
        complete = len(text) == stream.step
        before = start_codes[0].expand(kept, -1) if complete else codes[:0]
        self._columns[slot] = torch.cat([before, codes])[-kept:]
        self._text[slot] = torch.cat([start_text[0], text])[-1]
        if complete:
            text, codes = torch.cat([start_text[0], text]), torch.cat([start_codes[0], codes])
        self._prefill(slot, stream, text[:-1], codes[:-1], first=0 if complete else stream.step - len(text) + 1)
        self._prefill_decoder(slot, stream, codes[1:] if complete else codes)

    def _prefill(self, slot: int, stream: TtsStream, text: Tensor, codes: Tensor, first: int) -> None:
        """The rows of a slot hear text [k] and codes [k, n_q] at the positions from `first` on."""
        positions = torch.arange(first, first + len(text), device=self.device)
        heard = [(slot, text, codes)]
        if stream.guided:
            heard += [(self.slots + slot, *self._unguided(text, codes, positions, [stream.prefix_end]))]
        for row, ids, columns in heard:
            self._memory.prefill(ids[None], columns[None], row, first)

    def _unguided(self, text: Tensor, codes: Tensor, positions: Tensor, ends: Sequence[int]) -> tuple[Tensor, Tensor]:
        """text [k] and codes [k, n_q] as the row hears them that guidance leads away from (spec/model.md §4.5).

        `ends` are the first steps without prefix, of every position or of all.
        """
        end = torch.tensor(ends, device=self.device)[:, None]
        prefix = (positions[:, None] > self._delays) & (positions[:, None] <= self._delays + end)
        return text.masked_fill(positions > 0, -1), codes.masked_fill(prefix, -1)

    def _prefill_decoder(self, slot: int, stream: TtsStream, codes: Tensor) -> None:
        """The codec's slot says the frames of the prefix, and those that the newest columns [k, n_q] complete."""
        lm, lead = self.model.lm.config, self.model.config.delay_steps
        frames, first = stream.prefix, 0
        if stream.step - self.first_audio_step > len(stream.prefix):
            first = max(0, stream.step - len(codes) - lead)
            frames = unskew(codes, lm.delays)[max(0, lead - (stream.step - len(codes))) :]
        if len(frames):
            spoken = frames[None, :, : self.model.config.codebooks]
            self._decoder.prefill(spoken, slot, first)

    def _hear(self, slots: list[int], streams: list[TtsStream], rows: Rows) -> tuple[Tensor, Tensor]:
        """What all slots heard [rows, dim] and then the second rows of those that are guided, and text logits."""
        text, codes = rows.read(self._text), rows.read(self._columns)[:, -1]
        guided = [i for i, stream in enumerate(streams) if stream.guided]
        if guided:
            positions = torch.tensor([streams[i].step for i in guided], device=self.device)
            ends = [streams[i].prefix_end for i in guided]
            null_text, null_codes = self._unguided(text[guided], codes[guided], positions, ends)
            text, codes = torch.cat([text, null_text]), torch.cat([codes, null_codes])
            rows = Rows([*slots, *(self.slots + slots[i] for i in guided)], self.device)
        return self._memory.hear(rows, text, codes)

    def _keys(self, streams: list[TtsStream]) -> Tensor:
        seeds, steps = [stream.options.seed for stream in streams], [stream.step for stream in streams]
        seed, step = (torch.tensor(column, device=self.device) for column in (seeds, steps))
        return keys(seed, step, 1 + self.model.config.codebooks)

    def _sample_text(self, logits: Tensor, streams: list[TtsStream], key: Tensor) -> list[int]:
        options = [stream.options for stream in streams]
        logits[:, TEXT_PAD] += torch.tensor([o.padding_bonus for o in options], device=self.device)
        temperature, top_k = [o.temperature_text for o in options], [o.top_k_text for o in options]
        how = Sampling.of(temperature, top_k, [0.0] * len(options), self.device)
        chosen: list[int] = draw(logits, how, key[:, 0]).tolist()
        return chosen

    def _speak(self, hidden: Tensor, text: Tensor, streams: list[TtsStream], key: Tensor) -> Tensor:
        """The columns int64 [B, n_q] of this step; the depformer runs for those that are not given as a whole."""
        columns = torch.full((len(streams), len(self._delays)), -1, device=self.device)
        speaking = [i for i, stream in enumerate(streams) if stream.step >= stream.prefix_end]
        if speaking:
            guided = [i for i, stream in enumerate(streams) if stream.guided]
            null = [len(streams) + guided.index(i) for i in speaking if streams[i].guided]
            choice = self._choice([streams[i] for i in speaking], key[speaking])
            codes = self._memory.speak(hidden[[*speaking, *null]], text[speaking], choice)
            columns[speaking, : codes.shape[1]] = codes
        for i, stream in enumerate(streams):
            if stream.step < len(stream.forced):
                own = stream.step >= self._delays + stream.prefix_end
                columns[i] = torch.where(own, columns[i], stream.forced[stream.step])
        return columns

    def _choice(self, streams: list[TtsStream], key: Tensor) -> Choice:
        options = [stream.options for stream in streams]
        top_k = [0 if o.top_p else o.top_k for o in options]
        how = Sampling.of([o.temperature for o in options], top_k, [o.top_p for o in options], self.device)
        guided = tuple(i for i, stream in enumerate(streams) if stream.guided)
        strength = torch.tensor([streams[i].guidance for i in guided], dtype=torch.float32, device=self.device)
        return Choice(how, key, guided, strength)

    def _decode(self, slots: list[int], streams: list[TtsStream], newest: Tensor) -> dict[int, NDArray[np.float32]]:
        """One frame [frame_size] of each slot whose newest columns [B, max(delays) + 1, n_q] complete one."""
        complete = [i for i, s in enumerate(streams) if s.step >= s.prefix_end + max(self.model.lm.config.delays)]
        if not complete:
            return {}
        frames = unskew(newest[complete], self.model.lm.config.delays)[..., : self.model.config.codebooks]
        heard = [slots[i] for i in complete]
        audio = self._decoder.decode(Rows(heard, self.device), frames)
        return dict(zip(heard, audio.float().cpu().numpy(), strict=True))
