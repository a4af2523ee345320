"""On tracks in the released layout the session says what the Rust server says, and more where Rust says too little."""

from __future__ import annotations

from hypothesis import strategies as st

from vivavoce.core import Word

from .driver import ID, MARK, PAD, PIECES, hear, law, profile, words
from .rust import released_layout, rust_words

BEGINS = st.sampled_from([ID["▁hel"], ID["▁you"], ID["▁b"], ID["▁I"]])
GOES_ON = st.sampled_from([ID["lo"], ID["a"], ID["c"], ID["'m"]])
PIECES_OF_A_WORD = st.tuples(BEGINS, st.lists(GOES_ON, max_size=4)).map(lambda word: [word[0], *word[1]])
SPOKEN = st.lists(st.tuples(st.floats(0, 15), PIECES_OF_A_WORD), max_size=12).map(sorted)
DELAYS = st.sampled_from([0.5, 2.5, 0.32, 1.0])
FRAMES = 300


def spell(pieces: tuple[int, ...]) -> list[str]:
    return "".join(PIECES[piece] for piece in pieces).replace("▁", " ").split()


def listen(tokens: list[int], delay: float) -> list[Word]:
    return words(hear(tokens, frames=len(tokens) + 20, model=profile(delay_seconds=delay)))


def test_the_layout_is_that_of_the_worked_example() -> None:
    text = released_layout([(1.0, [ID["▁hel"], ID["lo"]])], 0.5, 22)
    assert text == [PAD] * 17 + [MARK, ID["▁hel"], ID["lo"]] + [PAD] * 2
    assert rust_words(text, 6) == ([((ID["▁hel"], ID["lo"]), 0.96)], [])


@law(SPOKEN, DELAYS)
def test_words_starts_and_ends_are_those_of_the_rust_algorithm(
    spoken: list[tuple[float, list[int]]], delay: float
) -> None:
    """A fused word of Rust's is several of ours: the first has its start, the last its end."""
    tokens = released_layout(spoken, delay, FRAMES)
    fused, stops = rust_words(tokens, int(12.5 * delay))
    ours = iter(listen(tokens, delay))
    for number, (pieces, start) in enumerate(fused):
        group = [next(ours) for _ in spell(pieces)]
        assert [word.text for word in group] == spell(pieces)
        assert group[0].start == start
        if number < len(stops):  # Rust does not end the last
            assert group[-1].stop == stops[number]
    assert next(ours, None) is None
    assert len(stops) == max(0, len(fused) - 1)


@law(SPOKEN, DELAYS)
def test_every_word_of_the_layout_comes_out_by_itself(spoken: list[tuple[float, list[int]]], delay: float) -> None:
    """Also the adjacent ones, each at the frame of its first piece: the timestamp identity of §3.4."""
    tokens = released_layout(spoken, delay, FRAMES)
    firsts = [j for j, token in enumerate(tokens) if token > PAD and PIECES[token].startswith("▁")]
    said = listen(tokens, delay)
    assert [word.text for word in said] == [spell(tuple(pieces))[0] for _, pieces in spoken]
    assert [word.start for word in said] == [(j - int(12.5 * delay)) / 12.5 for j in firsts]
