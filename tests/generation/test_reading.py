"""JSON is found in replies of any form, repaired where it is not quite JSON, and never made up."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.checks.reading import ParsedReply, parse_reply
from generation.checks.validation import ValidationFailure
from generation.settings import TripleSettings
from generation.tasks.triples import Triples
from generation.verbalize.describers.vision import Vision

SCHEMA = Triples(TripleSettings()).schema
FIRST = {
    "question": "What is it?",
    "answer": "A dog, it's old.",
    "rationale": "[0] is grey.",
    "kind": "intent",
    "regions": [0],
}
SECOND = FIRST | {"question": "Why {is} it [here]?"}
ONE, TWO = json.dumps(FIRST), json.dumps(SECOND)
GOOD = json.dumps({"triples": [FIRST, SECOND]})


def read(reply: str, finish: str = "stop") -> ParsedReply | ValidationFailure:
    return parse_reply(reply, finish, "triples", SCHEMA)


def items(reply: str, finish: str = "stop") -> Any:  # noqa: ANN401
    parsed = read(reply, finish)
    assert isinstance(parsed, ParsedReply), parsed
    return parsed.data["triples"]


@pytest.mark.parametrize(
    "reply",
    [
        GOOD,
        f"Here you are:\n```json\n{GOOD}\n```\nAnything else?",
        f"```\n{GOOD}```",
        f"Well, {GOOD} is what I think.",
        f"Note about {{this}} and [1]:\n```json\n{GOOD}\n```\nNote: [2] is {{unclear}}.",
        f"[{ONE}, {TWO}]",
        f"Here is the list: [{ONE}, {TWO}]. I hope that it helps.",
        f'{{"triples": [{ONE}]}}\n\n{{"triples": [{TWO}]}}',
        f"{ONE}\n{TWO}\n",
        f"1. {ONE}\n2. {TWO}",
        f"{ONE}, {TWO}",
        f'{{"result": {{"data": {GOOD}}}}}',
        f'{{"output": [{ONE}, {TWO}]}}',
        json.dumps(GOOD),
        GOOD.replace("question", "Question").replace("triples", "Triples"),
        f"<think>{{or}} [{ONE[:40]}</think>{GOOD}",
    ],
)
def test_strict_json_is_found_wherever_it_stands(reply: str) -> None:
    assert items(reply) == [FIRST, SECOND]
    parsed = read(reply)
    assert isinstance(parsed, ParsedReply)
    assert not parsed.is_repaired
    assert parsed.rejected == []


def quoted(opening: str, closing: str) -> str:
    return re.sub(r'"([^"]*)"', rf"{opening}\1{closing}", GOOD)


@pytest.mark.parametrize(
    "reply",
    [
        GOOD.replace("}]", "},]"),
        str({"triples": [FIRST, SECOND]}),
        quoted("\u201c", "\u201d"),
        GOOD.replace('"answer"', '// the answer\n"answer"'),
        GOOD.replace('"question"', "question").replace('"kind"', "kind"),
        GOOD.replace("}, {", "} {"),
        GOOD.replace("]}]}", "]}}"),
        f"triples = {GOOD[:-1]},}}",
        f"The drawing {{shows: {GOOD}",
    ],
)
def test_what_is_almost_json_is_repaired(reply: str) -> None:
    parsed = read(reply)
    assert isinstance(parsed, ParsedReply)
    assert parsed.data["triples"] == [FIRST, SECOND]
    assert (parsed.is_repaired, parsed.rejected) == (True, [])


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ('"regions": [0]', '"regions": [0], "score": NaN', {"score": None}),
        ("A dog", "A\ndog", {"answer": "A\ndog, it's old."}),
        ("A dog", 'A "good" dog', {"answer": 'A "good" dog, it\'s old.'}),
        ('"intent"', "None", {"kind": None}),
        ('"intent"', '"intent", "sure": True', {"sure": True}),
        ("A dog", "A \\ud83d dog", {"answer": "A \ufffd dog, it's old."}),
    ],
)
def test_values_that_json_does_not_allow_are_read(
    old: str, new: str, changed: dict[str, object]
) -> None:
    assert items(GOOD.replace(old, new)) == [FIRST | changed, SECOND | changed]


@pytest.mark.parametrize("end", range(len(GOOD) - len(TWO), len(GOOD) - 2, 7))
@pytest.mark.parametrize("text", [GOOD, str({"triples": [FIRST, SECOND]}), f"[{ONE}, {TWO}]..."])
def test_complete_items_of_a_reply_that_is_cut_off_are_kept(text: str, end: int) -> None:
    end = min(end, len(text) - 6)
    for finish in ("length", "stop"):
        parsed = read(text[:end], finish)
        assert isinstance(parsed, ParsedReply)
        assert parsed.data["triples"] == [FIRST]
        assert [failure.reason for failure in parsed.rejected] == ["cut_off"]


@pytest.mark.parametrize("end", range(12, len(ONE) + 12, 5))
def test_an_item_that_is_cut_off_is_never_completed(end: int) -> None:
    failure = read(GOOD[:end], "length")
    assert isinstance(failure, ValidationFailure)
    assert failure.reason == "cut_off"


def test_a_truncated_last_text_is_no_item_even_if_all_fields_are_there() -> None:
    item = {key: FIRST[key] for key in ("kind", "regions", "question", "answer", "rationale")}
    text = json.dumps({"triples": [item]})
    for end in range(text.index("[0] is"), text.index("grey.") + 5):
        for finish in ("length", "stop"):
            assert isinstance(read(text[:end], finish), ValidationFailure), text[:end]


def test_a_repair_that_would_be_a_guess_is_rejected() -> None:
    parsed = read(GOOD.replace("What is it?", 'What is "it", and, "why": now'))
    assert isinstance(parsed, ParsedReply)
    assert parsed.data["triples"] == [SECOND]
    assert [failure.reason for failure in parsed.rejected] == ["fields"]


def test_a_brace_in_a_text_with_an_odd_quotation_mark_does_not_complete_an_item() -> None:
    item = {key: FIRST[key] for key in ("kind", "regions", "question", "answer", "rationale")}
    text = json.dumps({"triples": [item]}).replace("[0] is grey.", '[0] has a 5" tail} and')
    failure = read(text[: text.index(" and") + 4], "length")
    assert isinstance(failure, ValidationFailure)
    assert failure.reason == "cut_off"


def test_words_that_only_the_repair_has_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the library does."""
    repaired = {"triples": [FIRST | {"answer": "A cat."}, SECOND]}
    monkeypatch.setattr("json_repair.loads", lambda *_, **__: repaired)
    parsed = read(GOOD.replace("}]", "},]"))
    assert isinstance(parsed, ParsedReply)
    assert parsed.data["triples"] == [SECOND]
    assert [failure.reason for failure in parsed.rejected] == ["fields"]


@pytest.mark.parametrize(
    ("reply", "finish", "reason"),
    [
        (ONE[:-4], "length", "cut_off"),
        (ONE[:-4], "stop", "no_json"),
        ("I would rather not.", "refusal", "refused"),
        (GOOD, "content_filter", "refused"),
        ("  ", "stop", "empty"),
        ("  ", "length", "cut_off"),
        ("<think>Well", "stop", "cut_off"),
        ('{"triples": "none"}', "stop", "no_json"),
        ("[1, 2, 3]", "stop", "no_json"),
        ('["What about [1]?"]', "stop", "no_json"),
        ("{see} [3]", "stop", "no_json"),
        ("[" * 100_000, "stop", "no_json"),
        ('{"triples": ' + "[" * 500 + "]" * 500 + "}", "stop", "no_json"),
    ],
)
def test_a_reply_without_a_list_has_a_reason(reply: str, finish: str, reason: str) -> None:
    failure = read(reply, finish)
    assert isinstance(failure, ValidationFailure)
    assert failure.reason == reason


def test_texts_without_the_list_of_items_are_read_where_there_are_several_fields() -> None:
    parsed = parse_reply(
        '{"scene": "A street.", "regions": null}', "stop", "regions", Vision.schema
    )
    assert isinstance(parsed, ParsedReply)
    assert parsed.data == {"scene": "A street.", "regions": []}


@given(
    st.one_of(
        st.text(max_size=200),
        st.text(alphabet="{}[]\":,\\'`n1 ", max_size=120),
        st.tuples(st.integers(0, len(GOOD)), st.integers(0, 9), st.sampled_from("\"{}[],'\\")).map(
            lambda cut: GOOD[: cut[0]] + cut[2] + GOOD[cut[0] + cut[1] :]
        ),
    ),
    st.sampled_from(["stop", "length", "refusal", "x"]),
)
@settings(max_examples=150, deadline=None)
def test_no_reply_breaks_the_reader_and_no_repair_adds_words(reply: str, finish: str) -> None:
    parsed = read(reply, finish)
    if isinstance(parsed, ParsedReply):
        said = re.sub(r"[\W_]+|\\n", "", reply)
        for item in parsed.data["triples"] if parsed.is_repaired else ():
            for text in item.values() if isinstance(item, dict) else ():
                if isinstance(text, str):
                    assert re.sub(r"[\W_]+", "", text) in said
