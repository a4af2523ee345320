"""Laws that hold for any audio, any cut of it and any tokens, also those that no sane model says."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import strategies as st

from vivavoce.core import FRAME_SIZE, SAMPLE_RATE, Event, Flushed, Token, WordEnded, WordStarted
from vivavoce.session import SttProfile, SttSession

from .driver import MARK, PAD, Engine, always, law, started, text, words

LONGEST = 200  # text indices
# a track says (j) at index j, so that a piece lost, repeated or moved can be seen; odd ids begin a word
NUMBERED = ("<unk>", "<s>", "</s>", "<pad>", *(f"{mark}({j})" for j in range(LONGEST) for mark in ("", "▁")))


@dataclass(frozen=True)
class Stream:
    """A caller's life: stretches of audio, a flush after each but the last, the end after that; and the text."""

    model: SttProfile
    stretches: list[int]  # samples
    tokens: list[int]  # by text index, text[0] included

    @property
    def audio(self) -> list[np.ndarray]:
        sound = np.arange(1, sum(self.stretches) + 1, dtype=np.float32)
        return np.split(sound, list(accumulate(self.stretches))[:-1])

    @property
    def delay(self) -> int:
        return self.model.delay_frames

    @property
    def heard(self) -> list[int]:
        """Samples of the caller's in each stepped frame."""
        frames = [0] * self.model.prefix_frames
        for stretch in self.stretches:
            whole, rest = divmod(stretch, FRAME_SIZE)
            frames += [FRAME_SIZE] * whole + [rest] * (rest > 0) + [0] * (self.delay + 2)
        return frames

    @property
    def closings(self) -> list[int]:
        """Text indices at which a flush or the end is due."""
        frames, at = self.model.prefix_frames, []
        for stretch in self.stretches:
            frames += -(-stretch // FRAME_SIZE) + self.delay + 2
            at.append(frames)
        return at

    @property
    def pieces(self) -> list[int]:
        """Text indices of the pieces that count."""
        last = len(self.heard)
        return [j for j, token in enumerate(self.tokens) if token > PAD and self.delay <= j + 1 and 0 < j <= last]

    def start(self, piece: int) -> float:
        """When that piece was said, by a list of all borders and a search through the whole track."""
        borders = list(accumulate(self.heard, initial=0))
        before = max([c for c in self.closings if c < piece] + [j for j in self.pieces if j < piece] + [0])
        marks = [j for j in range(before + 1, piece) if self.tokens[j] == MARK and j + 1 >= self.delay]
        return borders[max(0, marks[-1] + 1 - self.delay if marks else piece - self.delay)] / SAMPLE_RATE

    def run(self) -> list[Event]:
        engine = Engine(SttSession(self.model), self.tokens, self.vad)
        for number, chunk in enumerate(self.audio):
            engine.session.push(chunk)
            self.close(engine.session, number)
        return engine.run()

    def close(self, session: SttSession, number: int) -> None:
        if number == len(self.stretches) - 1:
            session.end()
        else:
            session.flush(number)

    def vad(self, index: int) -> Sequence[float]:
        return [0.07 * index % 1] * self.model.vad_heads


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    model = SttProfile(
        NUMBERED,
        delay_seconds=draw(st.sampled_from([0.0, 0.08, 0.16, 0.5, 1.0])),
        silence_prefix_seconds=draw(st.sampled_from([0.0, 0.3])),
        vad_heads=draw(st.sampled_from([0, 3])),
    )
    whole = st.integers(0, 12).map(lambda frames: frames * FRAME_SIZE)
    stretches = draw(st.lists(whole | st.integers(0, 12 * FRAME_SIZE), min_size=1, max_size=4))
    kinds = draw(st.lists(st.sampled_from("0033wwpp12"), max_size=LONGEST))
    spelled = {"w": lambda j: 5 + 2 * j, "p": lambda j: 4 + 2 * j}
    tokens = [spelled[kind](j) if kind in spelled else int(kind) for j, kind in enumerate(kinds)]
    return Stream(model, stretches, tokens)


@law(streams(), st.data())
def test_neither_chunking_nor_the_moment_of_stepping_changes_an_event(stream: Stream, data: st.DataObject) -> None:
    engine = Engine(SttSession(stream.model), stream.tokens, stream.vad)
    ahead = 0
    for number, chunk in enumerate(stream.audio):
        for part in np.split(chunk, data.draw(st.lists(st.integers(0, len(chunk)), max_size=6).map(sorted))):
            engine.session.push(part)
            for _ in range(data.draw(st.integers(0, engine.session.pending))):
                engine.take()
                ahead += 1
            for _ in range(data.draw(st.integers(0, ahead))):
                engine.step()
                ahead -= 1
        stream.close(engine.session, number)
    for _ in range(ahead):
        engine.step()
    engine.run()
    assert engine.events == stream.run()
    assert engine.session.finished


@law(streams())
def test_every_sample_reaches_the_engine_once_and_in_order(stream: Stream) -> None:
    engine = Engine(SttSession(stream.model), vad=stream.vad)
    for number, chunk in enumerate(stream.audio):
        engine.session.push(chunk)
        stream.close(engine.session, number)
    engine.run()
    assert all(frame.shape == (FRAME_SIZE,) and frame.dtype == np.float32 for frame in engine.frames)
    assert [np.count_nonzero(frame) for frame in engine.frames] == stream.heard
    sound = np.concatenate(engine.frames)
    np.testing.assert_array_equal(sound[sound > 0], np.concatenate(stream.audio))


@law(streams())
def test_every_piece_is_in_exactly_one_word_in_order(stream: Stream) -> None:
    said = "".join(word.text for word in words(stream.run()))
    assert [int(number) for number in re.findall(r"\((\d+)\)", said)] == stream.pieces


@law(streams())
def test_a_piece_that_begins_a_word_begins_a_word(stream: Stream) -> None:
    first = {int(word.text.split(")")[0][1:]) for word in words(stream.run())}
    assert first >= {j for j in stream.pieces if stream.tokens[j] % 2}


@law(streams())
def test_the_text_is_the_words_with_their_spaces(stream: Stream) -> None:
    expected = "".join(NUMBERED[stream.tokens[j]] for j in stream.pieces).replace("▁", " ")
    assert text(stream.run()) == expected.lstrip()


@law(streams())
def test_what_was_told_as_known_is_never_taken_back(stream: Stream) -> None:
    """Pieces are a prefix of all text, and words that have started are the first of all words, at any moment."""
    whole, said = stream.run(), list[Event]()
    for event in whole:
        said.append(event)
        assert text(whole).startswith(text(said))
        assert started(said) == [word.text for word in words(whole)][: len(started(said))]
    assert started(whole) == [word.text for word in words(whole)]


@law(streams())
def test_times_never_go_back_and_lie_within_the_audio(stream: Stream) -> None:
    said = words(stream.run())
    for word in said:
        assert 0 <= word.start <= word.stop <= sum(stream.stretches) / SAMPLE_RATE
    for word, following in pairwise(said):
        assert word.stop <= following.start


@law(streams())
def test_every_piece_is_timed_to_the_sample(stream: Stream) -> None:
    events = stream.run()
    assert [event.start for event in events if isinstance(event, Token)] == [stream.start(j) for j in stream.pieces]
    starts = {int(word.text.split(")")[0][1:]): word.start for word in words(events)}
    assert starts == {j: stream.start(j) for j in starts}


@law(streams())
def test_a_word_ends_as_it_started_and_before_the_next_starts(stream: Stream) -> None:
    told = [event for event in stream.run() if isinstance(event, WordStarted | WordEnded)]
    assert len(told) % 2 == 0
    for known, ended in zip(told[::2], told[1::2], strict=True):
        assert isinstance(known, WordStarted)
        assert isinstance(ended, WordEnded)
        word = ended.word
        assert known == WordStarted(word.text, word.start, word.confidence, word.suspect)


@law(streams())
def test_each_flush_is_answered_once_between_the_words_before_it_and_those_after(stream: Stream) -> None:
    parts: list[list[Event]] = [[]]
    answers = []
    for event in stream.run():
        if isinstance(event, Flushed):
            answers.append(event.id)
            parts.append([])
        else:
            parts[-1].append(event)
    assert answers == list(range(len(stream.stretches) - 1))
    begin, opened = 0.0, 0
    for part, closing, end in zip(parts, stream.closings, accumulate(stream.stretches), strict=True):
        numbers = re.findall(r"\((\d+)\)", "".join(word.text for word in words(part)))
        assert [int(number) for number in numbers] == [j for j in stream.pieces if opened < j <= closing]
        for word in words(part):
            assert begin <= word.start <= word.stop <= end / SAMPLE_RATE
        begin, opened = end / SAMPLE_RATE, closing


@law(streams(), st.integers(0, LONGEST))
def test_a_copy_of_a_session_goes_on_as_the_session_does(stream: Stream, steps: int) -> None:
    engine = Engine(SttSession(stream.model), stream.tokens, stream.vad)
    for number, chunk in enumerate(stream.audio):
        engine.session.push(chunk)
        stream.close(engine.session, number)
    engine.run(steps)
    twin = copy.deepcopy(engine)
    assert twin.run() == engine.run()


@pytest.mark.parametrize("kinds", ["3", "0", "03", "0w33", "w", "p", "0wp0", "2"])
def test_nothing_grows_with_the_length_of_the_stream(kinds: str) -> None:
    engine = Engine(SttSession(SttProfile(NUMBERED, 0.5, vad_heads=1), vad_head=0), vad=always([0.9]))
    ids = {"w": 5, "p": 4, "0": MARK, "3": PAD, "2": 2}
    sizes = []
    for second in range(600):
        engine.index, engine.tokens = 0, [PAD, *(ids[kinds[j % len(kinds)]] for j in range(24))]
        engine.session.push(np.ones(2 * SAMPLE_RATE - 7, np.float32))
        if second % 7 == 0:
            engine.session.flush(second)
        engine.run(24)
        engine.run()
        engine.frames.clear()
        engine.events.clear()
        sizes.append(len(pickle.dumps(engine.session)))
    assert max(sizes[300:]) <= max(sizes[:300]) + 64  # the digits of the counters


@law(st.lists(st.sampled_from([*range(14), 3, 3]), max_size=60))
def test_byte_pieces_in_any_order_make_valid_text(kinds: list[int]) -> None:
    pieces = (
        "<unk>",
        "<s>",
        "</s>",
        "<pad>",
        "▁",
        "▁a",
        "b",
        *(f"<0x{b:02X}>" for b in (0xE2, 0x82, 0xAC, 0xC3, 0xA9, 0xFF, 0x41)),
    )
    session = SttSession(SttProfile(pieces, 0.0))
    session.push(np.ones(60 * FRAME_SIZE, np.float32))
    session.end()
    events = Engine(session, [PAD, *kinds]).run()
    assert text(events).replace(" ", "") == "".join(word.text for word in words(events))
    assert text(events).encode().decode() == text(events)
