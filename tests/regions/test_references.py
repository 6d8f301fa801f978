"""References in text: how they read, and the promises that hold for any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regions import references
from regions.references import Token
from tests.regions import shared_cases

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
def test_rendering_a_parsed_text_restores_it(text: str) -> None:
    assert references.render(references.parse(text)) == text


@given(st.lists(st.tuples(words, numbers)))
def test_parsing_a_rendered_text_restores_its_parts(pairs: list[tuple[str, int]]) -> None:
    parts: list[str | int] = [part for pair in pairs for part in pair]
    assert references.parse(references.render(parts)) == parts


# tests/javascript/geometry.test.js runs the same cases.
@pytest.mark.parametrize(("text", "parts"), shared_cases.load("reference_cases"))
def test_a_text_is_parsed(text: str, parts: list[str | int]) -> None:
    assert references.parse(text) == parts


@given(canonical_tokens())
def test_canonical_tokens_are_restored_from_their_text(tokens: list[Token]) -> None:
    assert references.to_tokens(references.from_tokens(tokens)) == tokens


@given(texts)
def test_the_canonical_form_of_a_text_is_restored_from_its_tokens(text: str) -> None:
    tokens = references.to_tokens(text)
    canonical = references.from_tokens(tokens)
    assert references.to_tokens(canonical) == tokens
    assert references.from_tokens(references.to_tokens(canonical)) == canonical


@given(texts)
def test_converting_to_tokens_and_back_changes_only_spacing(text: str) -> None:
    canonical = references.from_tokens(references.to_tokens(text))
    assert "".join(canonical.split()) == "".join(text.split())
    assert references.mentioned(canonical) == references.mentioned(text)


@given(st.lists(st.one_of(texts, st.lists(numbers, min_size=1))))
def test_converting_any_tokens_keeps_words_and_order(tokens: list[Token]) -> None:
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
def test_token_lists_become_normal_text(tokens: list[Token], text: str) -> None:
    assert references.from_tokens(tokens) == text
    assert references.to_tokens(text) == tokens


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["two words", "", " ? "], "two words?"),
        (["a", "", "b"], "a b"),
        ([" a"], "a"),
        (["a\tb\u00a0c"], "a b c"),
    ],
)
def test_tokens_may_contain_white_space_or_be_empty(tokens: list[Token], text: str) -> None:
    assert references.from_tokens(tokens) == text


@pytest.mark.parametrize("token", [[], [-1], [True], ["0"], [1.0], [10**9], None, 7])
def test_a_token_that_is_neither_a_word_nor_numbers_is_an_error(token: list[int]) -> None:
    with pytest.raises(ValueError, match="a token must be a word or a list of region numbers"):
        references.from_tokens(["What", "is", token])


@pytest.mark.parametrize("text", ["[x]", "[-1]", "[07]", "[ 3 ]", "[1, 2]", "[]", "[3", "3]"])
def test_other_brackets_are_plain_text(text: str) -> None:
    assert references.parse(text) == [text]
    assert references.mentioned(text) == ()


def test_mentioned_regions_are_unique_and_in_order() -> None:
    assert references.mentioned("[2] and [0], but [2] more than [12]") == (2, 0, 12)


@given(texts)
def test_renumbering_is_undone_by_the_inverse_mapping(text: str) -> None:
    old = references.mentioned(text)
    mapping = dict(zip(old, range(len(old)), strict=True))
    inverse = {new: old for old, new in mapping.items()}
    assert references.renumber(references.renumber(text, mapping), inverse) == text


def test_renumbering_swaps_without_mixing_up() -> None:
    assert references.renumber("[0] hugs [1]", {0: 1, 1: 0}) == "[1] hugs [0]"


def test_renumbering_a_region_without_a_new_number_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no new number for region \[5\]"):
        references.renumber("[0] hugs [5]", {0: 1})


@pytest.mark.parametrize("text", ["[0] waves", "no region", "he said [sic] so", "[x]", "a] b"])
def test_a_valid_text_passes_the_check(text: str) -> None:
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
def test_check_says_what_is_wrong(text: str, fault: str) -> None:
    assert (references.check(text, {0}) or "").startswith(fault)


@pytest.mark.parametrize("piece", ["[", "[1", "[9" * 2, "1", "(", ".", "[ ", "[1,", "[1]", "]"])
def test_a_hundred_thousand_hostile_characters_are_parsed_quickly(piece: str) -> None:
    text = piece * (100_000 // len(piece)) + "x"
    assert references.render(references.parse(text)) == text
    assert "".join(references.from_tokens(references.to_tokens(text)).split()) == (
        "".join(text.split())
    )
    references.check(text, {1})
