"""References in text: how they read, and the promises that hold for any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regions import references
from regions.references import Token

numbers = st.integers(0, 999_999_999)
# Made of what the rules turn on, so that every combination of neighbours comes up.
texts = st.lists(
    st.one_of(
        st.sampled_from(["[", "]", "(", ")", "?", ",", "'s", " ", "\n", "[4]", "[-1]", "[07]"]),
        st.text(max_size=3),
        numbers.map("[{}]".format),
    )
).map("".join)
words = st.from_regex(r"[a-z]+(?:['-][a-z]+)?", fullmatch=True)


@st.composite
def canonical_tokens(draw: st.DrawFn) -> list[Token]:
    ids = st.lists(numbers, min_size=1, max_size=3)
    marks = st.sampled_from(list(".,!?;:)}({"))
    tokens: list[Token] = draw(st.lists(st.one_of(words, marks, ids)))
    return tokens


@given(texts)
def test_parsing_then_rendering_gives_any_text_back(text: str) -> None:
    assert references.render(references.parse(text)) == text


@given(st.lists(st.tuples(words, numbers)))
def test_rendering_then_parsing_gives_the_parts_back(pairs: list[tuple[str, int]]) -> None:
    parts: list[str | int] = [part for pair in pairs for part in pair]
    assert references.parse(references.render(parts)) == parts


@given(canonical_tokens())
def test_canonical_tokens_survive_the_way_through_text(tokens: list[Token]) -> None:
    assert references.to_tokens(references.from_tokens(tokens)) == tokens


@given(texts)
def test_any_text_has_a_canonical_form_that_survives_the_way_through_tokens(text: str) -> None:
    tokens = references.to_tokens(text)
    canonical = references.from_tokens(tokens)
    assert references.to_tokens(canonical) == tokens
    assert references.from_tokens(references.to_tokens(canonical)) == canonical


@given(texts)
def test_the_way_through_tokens_changes_nothing_but_spacing(text: str) -> None:
    canonical = references.from_tokens(references.to_tokens(text))
    assert "".join(canonical.split()) == "".join(text.split())
    assert references.mentioned(canonical) == references.mentioned(text)


@given(st.lists(st.one_of(texts, st.lists(numbers, min_size=1))))
def test_tokens_of_any_cut_keep_their_words_and_order(tokens: list[Token]) -> None:
    verbatim = "".join(t if isinstance(t, str) else references.render(t) for t in tokens)
    assert "".join(references.from_tokens(tokens).split()) == "".join(verbatim.split())


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["What", "is", [4], "doing", "?"], "What is [4] doing?"),
        (["Why", "are", [1, 2], "here", "?"], "Why are [1][2] here?"),
        ([[1], ",", [2], "and", [10], "!"], "[1], [2] and [10]!"),
        (["the", "woman's", "hat", ",", [0], "'s", "."], "the woman's hat, [0]'s."),
        (["a", "man", "(", [3], ")", "."], "a man ([3])."),
        ([], ""),
    ],
)
def test_token_lists_read_as_a_person_would_write_them(tokens: list[Token], text: str) -> None:
    assert references.from_tokens(tokens) == text
    assert references.to_tokens(text) == tokens


def test_tokens_that_hold_spaces_or_nothing_are_words_all_the_same() -> None:
    assert references.from_tokens(["two words", "", " ? "]) == "two words?"


@pytest.mark.parametrize("token", [[], [-1], [True], ["0"], [1.0], [10**9], None, 7])
def test_a_token_that_is_neither_word_nor_ids_is_named(token: list[int]) -> None:
    with pytest.raises(ValueError, match="a token is a word or a list of region ids"):
        references.from_tokens(["What", "is", token])


@pytest.mark.parametrize("text", ["[x]", "[-1]", "[07]", "[ 3 ]", "[1, 2]", "[]", "[3", "3]"])
def test_other_brackets_are_plain_text(text: str) -> None:
    assert references.parse(text) == [text]
    assert references.mentioned(text) == ()


def test_regions_are_mentioned_once_each_in_order_of_first_mention() -> None:
    assert references.mentioned("[2] and [0], but [2] more than [12]") == (2, 0, 12)


@given(texts)
def test_renumbering_and_its_inverse_give_the_text_back(text: str) -> None:
    old = references.mentioned(text)
    mapping = dict(zip(old, range(len(old)), strict=True))
    inverse = {new: old for old, new in mapping.items()}
    assert references.renumber(references.renumber(text, mapping), inverse) == text


def test_renumbering_swaps_without_mixing_up() -> None:
    assert references.renumber("[0] hugs [1]", {0: 1, 1: 0}) == "[1] hugs [0]"


def test_renumbering_names_the_region_that_has_no_new_number() -> None:
    with pytest.raises(ValueError, match=r"no new number for region \[5\]"):
        references.renumber("[0] hugs [5]", {0: 1})


@pytest.mark.parametrize("text", ["[0] waves", "no region", "he said [sic] so", "[x]", "a] b"])
def test_a_right_text_has_no_fault(text: str) -> None:
    assert references.check(text, {0}) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[7] waves", "names region [7], which the image lacks"),
        ("[0] and [-1]", "writes a reference as [-1]"),
        ("[0] and [01]", "writes a reference as [01]"),
        ("[0, 1] wave", "writes a reference as [0, 1]"),
        ("[ 0 ] waves", "writes a reference as [ 0 ]"),
        ("[0 waves", "writes a reference as [0 waves"),
        ("[0 and [0]", "writes a reference as [0 and"),
        ("[1234567890] waves", "writes a reference as [1234567890]"),
    ],
)
def test_the_fault_of_a_text_is_told(text: str, fault: str) -> None:
    assert (references.check(text, {0}) or "").startswith(fault)


@pytest.mark.parametrize("piece", ["[", "[1", "[9" * 2, "1", "(", ".", "[ ", "[1,", "[1]", "]"])
def test_a_hundred_thousand_hostile_characters_are_read(piece: str) -> None:
    text = piece * (100_000 // len(piece)) + "x"
    assert references.render(references.parse(text)) == text
    assert "".join(references.from_tokens(references.to_tokens(text)).split()) == (
        "".join(text.split())
    )
    references.check(text, {1})
