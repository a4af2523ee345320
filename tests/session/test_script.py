"""The script machine, judged by moshi's own."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import pytest
from hypothesis import strategies as st

from vivavoce.core import CheckpointError
from vivavoce.session import Entry, ScriptMachine, ScriptState, TextReader, TtsProfile

from .driver import law

CARD = 20
PROFILES = st.builds(
    TtsProfile,
    text_card=st.just(CARD),
    delay_steps=st.sampled_from([0, 4]),
    acoustic_delay=st.sampled_from([0, 2]),
    lookahead=st.sampled_from([0, 1, 2, 2, 3]),
    multi_speaker=st.booleans(),
    initial_padding=st.integers(0, 3),
    max_padding=st.integers(0, 8),
    padding_between=st.integers(0, 3),
    final_padding=st.integers(1, 4),
)
# a word is spelled by its ids, also those with another meaning: letter n is id n
WORDS = st.text("abcdefghij", min_size=1, max_size=5)
ENTRY = st.builds(Entry, WORDS, speaker=st.integers(0, 1)) | st.builds(Entry, st.just(""), st.integers(0, 9))
ENTRIES = st.lists(ENTRY, min_size=1)
SAMPLED = st.lists(st.sampled_from([0, 0, 3, 3, 3, 1, 7]), min_size=1, max_size=120)


def encode(word: str) -> list[int]:
    return ["abcdefghij".index(letter) for letter in word if letter in "abcdefghij"]


def machine_of(profile: TtsProfile, entries: Sequence[Entry], state: ScriptState | None = None) -> ScriptMachine:
    machine = ScriptMachine(profile, encode, state)
    for entry in entries:
        machine.add(entry)
    machine.end()
    return machine


@dataclass
class Tokenizer:
    """What moshi asks of a tokenizer."""

    def encode(self, word: str) -> list[int]:
        return encode(word)


def script_of(entries: Sequence[Entry]) -> list[str]:
    """As moshi takes it: a turn for each stretch of one speaker, alternating, beginning with the main one."""
    turns, speaker = [""], 0
    for entry in entries:
        if entry.text and entry.speaker != speaker:
            speaker = entry.speaker
            turns.append("")
        turns[-1] += f"{entry.text} " if entry.text else f'<break time="{entry.pause / 12.5:.2f}s"/>'
    return turns


@law(PROFILES, ENTRIES, SAMPLED)
def test_the_machine_feeds_what_moshi_feeds(profile: TtsProfile, entries: list[Entry], sampled: list[int]) -> None:
    tts = pytest.importorskip("moshi.models.tts", reason="the reference package moshi is not installed")
    ids = tts.TokenIds(CARD + 1)
    theirs = tts.StateMachine(ids, profile.lookahead, profile.max_padding, profile.initial_padding)
    state = theirs.new_state(
        tts.script_to_entries(
            Tokenizer(), ids, 12.5, script_of(entries), profile.multi_speaker, profile.padding_between
        )
    )
    ours = machine_of(profile, entries)
    for step, token in enumerate(sampled):
        assert ours.ready
        assert ours.act(token) == theirs.process(step, state, token)[0]
        assert ours.state.taken == len(state.consumption_times)
        assert ours.state.end_step == state.end_step
        assert (ours.state.queued, ours.state.ahead) == (tuple(state.queued), tuple(state.lookahead_queued))
        assert (ours.state.remaining, ours.state.forced) == (state.remaining_padding, state.forced_padding)


# no dash, which the reference's server drops and its library does not, and no break longer than ten seconds
BITS = st.sampled_from(
    ["ab", "c’", ":", "(", ")", " ", "\n", "<", "<break", '<break time="1.5s"/>', '<break time="7s">']
)


@law(st.lists(st.lists(BITS, max_size=8).map("".join), max_size=4), st.booleans(), st.integers(0, 2))
def test_a_script_is_read_as_moshi_reads_it(turns: list[str], multi_speaker: bool, padding_between: int) -> None:
    tts = pytest.importorskip("moshi.models.tts", reason="the reference package moshi is not installed")
    theirs = tts.script_to_entries(Tokenizer(), tts.TokenIds(CARD + 1), 12.5, turns, multi_speaker, padding_between)
    reader, entries = TextReader(), list[Entry]()
    for turn, text in enumerate(turns):
        entries += reader.push(text, whole=True, speaker=turn % 2)
        entries += reader.end()
    profile = TtsProfile(CARD, 0, multi_speaker=multi_speaker, padding_between=padding_between)
    ours = machine_of(profile, entries)
    assert [entry.text for entry in entries] == [entry.text for entry in theirs]
    assert [(list(w.tokens), w.padding) for w in ours._waiting] == [(e.tokens, e.padding) for e in theirs]


@law(PROFILES, ENTRIES, SAMPLED, st.data())
def test_it_does_not_matter_when_the_entries_came(
    profile: TtsProfile, entries: list[Entry], sampled: list[int], data: st.DataObject
) -> None:
    known = machine_of(profile, entries)
    expected = [known.act(token) for token in sampled]
    machine, to_come = ScriptMachine(profile, encode), deque(entries)
    tokens = []
    for token in sampled:
        for _ in range(data.draw(st.integers(0, 2))):
            if to_come:
                machine.add(to_come.popleft())
        while not machine.ready:  # as late as can be
            if to_come:
                machine.add(to_come.popleft())
            else:
                machine.end()
        tokens.append(machine.act(token))
    assert tokens == expected
    assert machine.state == known.state


@law(PROFILES, ENTRIES, SAMPLED, st.data())
def test_another_machine_goes_on_from_the_state_of_any_step(
    profile: TtsProfile, entries: list[Entry], sampled: list[int], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(sampled)))
    machine = machine_of(profile, entries)
    for token in sampled[:cut]:
        machine.act(token)
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(machine.state), type=ScriptState)
    assert state == machine.state == pickle.loads(pickle.dumps(state))
    other = machine_of(profile, entries[state.taken :], state)
    assert [other.act(token) for token in sampled[cut:]] == [machine.act(token) for token in sampled[cut:]]
    assert other.state == machine.state


@law(PROFILES, ENTRIES)
def test_every_script_comes_to_its_end(profile: TtsProfile, entries: list[Entry]) -> None:
    """Also when the model never asks for a word: then `max_padding` does."""
    machine = machine_of(profile, entries)
    frames = 0
    while not machine.finished:
        machine.act(3)
        frames += machine.state.steps > profile.first_audio_step
        assert machine.state.steps < 3000
    assert machine.state.end_step is not None
    assert machine.state.taken == len(entries)
    assert frames == machine.state.end_step + profile.final_padding


TINY = TtsProfile(CARD, delay_steps=0, initial_padding=0)


def machine(lookahead: int = 0, *entries: Entry) -> ScriptMachine:
    made = ScriptMachine(replace(TINY, lookahead=lookahead), encode)
    for entry in entries:
        made.add(entry)
    return made


def test_a_step_waits_for_its_word() -> None:
    late = machine()
    assert not late.ready
    late.add(Entry("a"))
    assert late.ready


def test_nothing_is_stepped_before_there_is_something_to_say() -> None:
    """Not the initial padding either: a stream without text must not become audio."""
    begun = ScriptMachine(TtsProfile(CARD, 0, lookahead=2, initial_padding=2), encode)
    assert not begun.ready
    begun.add(Entry("a"))
    assert [begun.act(0), begun.act(0), begun.ready] == [3, 3, False]


def test_a_text_that_ends_without_an_entry_is_finished_at_once() -> None:
    empty = ScriptMachine(TtsProfile(CARD, 0), encode)
    assert not empty.finished
    empty.end()
    assert empty.finished
    assert not empty.ready


def test_a_step_waits_for_the_words_that_the_second_stream_looks_ahead_to() -> None:
    late = machine(2, Entry("a"), Entry("", 3), Entry("b"))
    assert not late.ready
    late.add(Entry("", 3))
    assert not late.ready
    late.add(Entry("c"))
    assert late.ready


def test_a_break_looks_ahead_to_nothing() -> None:
    assert machine(2, Entry("", 3)).ready


def test_nothing_is_waited_for_after_the_end() -> None:
    late = machine(2, Entry("a"))
    late.end()
    assert late.ready


def test_steps_that_can_take_no_word_do_not_wait_for_one() -> None:
    """A word's own pieces and the padding after it."""
    word = machine(0, Entry("efg"))
    assert [word.act(0), word.act(0), word.act(0), word.act(0), word.ready] == [0, 4, 5, 6, False]


def test_both_text_streams_are_one_id() -> None:
    """The marker goes to the second stream and the first piece beside it; then the word that is two ahead."""
    said = machine(2, Entry("ef"), Entry("g"), Entry("hi"))
    said.end()
    assert [divmod(said.act(0), CARD + 1) for _ in range(3)] == [(0 + 1, 4), (7 + 1, 5), (8 + 1, 3)]


def test_a_machine_that_goes_on_knows_who_spoke_last() -> None:
    """The turn's token is fed once, before its first word."""
    profile = replace(TINY, multi_speaker=True)
    said = machine_of(profile, [Entry("e"), Entry("f"), Entry("g", speaker=1)])
    assert [said.act(0) for _ in range(3)] == [0, 1, 4]
    other = machine_of(profile, [Entry("f"), Entry("g", speaker=1)], said.state)
    assert [other.act(0) for _ in range(5)] == [0, 5, 0, 2, 6]


def test_a_long_stream_keeps_nothing_of_what_is_over() -> None:
    endless = machine(2, *[Entry("ef")] * 3)
    sizes = []
    for step in range(5000):
        endless.act(0)
        while not endless.ready:
            endless.add(Entry("ef"))
        if step % 100 == 0:
            sizes.append(len(pickle.dumps((endless.state, endless._waiting))))
    assert max(sizes[25:]) <= max(sizes[:25]) + 16


@pytest.mark.parametrize("field", ["delay_steps", "lookahead", "final_padding"])
def test_a_profile_with_a_negative_number_is_refused(field: str) -> None:
    with pytest.raises(CheckpointError, match=f"{field} must not be negative, got -1"):
        replace(TINY, **{field: -1})  # type: ignore[arg-type]


def test_a_profile_without_a_vocabulary_is_refused() -> None:
    with pytest.raises(CheckpointError, match="text_card must be positive"):
        TtsProfile(0, 16)
