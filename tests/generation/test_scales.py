"""Judgements are read on the scale that the prompt states; values with two meanings are refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from db.schema import Judgement
from db.store.session import Store
from generation.checks.scales import read_shares
from generation.runs.run import generate
from generation.settings import JudgeSettings, LLMSettings
from generation.stored_tasks import task_of
from generation.tasks.judge import Judge
from tests.generation.llm_server import Script, Serve


@pytest.mark.parametrize(
    ("value", "share"),
    [
        (70, 0.7),
        (70.0, 0.7),
        ("70", 0.7),
        ("70%", 0.7),
        (" 70 % ", 0.7),
        ("70 percent", 0.7),
        ("7/10", 0.7),
        ("70/100", 0.7),
        ("7 out of 10", 0.7),
        (0.7, 0.7),
        (0, 0.0),
        ("0%", 0.0),
        (100, 1.0),
        ("1%", 0.01),
        (1, None),
        (101, None),
        (-1, None),
        ("140%", None),
        ("11/10", None),
        ("7/0", None),
        (True, None),
        (None, None),
        ("likely", None),
        ("70-80", None),
        ([70], None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        ("9" * 5000, None),
    ],
)
def test_a_value_alone(value: object, share: float | None) -> None:
    assert read_shares([value], 100) == [share]


def test_the_other_values_of_a_reply_tell_the_scale() -> None:
    assert read_shares([1, 0.25], 100) == [1.0, 0.25]
    assert read_shares([1, 80], 100) == [0.01, 0.8]
    assert read_shares([0.7, 80], 100) == [None, 0.8], "70 % or 0.7 %"
    assert read_shares([1, 0, 1], 100) == [None, 0.0, None], "1 % or 100 %"
    assert read_shares([4, 5, "80%"], 5) == [0.8, 1.0, 0.8]


@given(st.lists(st.one_of(st.floats(), st.integers(), st.text(max_size=8), st.none()), max_size=5))
def test_every_share_is_between_0_and_1(values: list[object]) -> None:
    shares = read_shares(values, 100)
    assert len(shares) == len(values)
    assert all(share is None or 0 <= share <= 1 for share in shares)


def test_a_prompt_states_its_own_scale(demo_store: Store, serve: Serve, tmp_path: Path) -> None:
    class OutOfTen(Script):
        def write(self, body: dict[str, object]) -> str:
            judgements = json.loads(super().write(body))["judgements"]
            return json.dumps({"judgements": [j | {"accept": 8} for j in judgements]})

    file = tmp_path / "judge.md"
    prompt = "version: mine\nscale: 0 to 10\n\n# system\nYou judge triples.\n\n# user\n$data"
    file.write_text(prompt, "utf-8")
    settings = LLMSettings(model="m", base_url=serve(OutOfTen()), concurrency=4)
    run = generate(demo_store, Judge(JudgeSettings(side=0, prompt=str(file))), settings)
    assert run.results["kept"] == 157
    with demo_store.read() as session:
        assert session.scalars(select(Judgement.value).distinct()).all() == [0.8]
    task = task_of(run.name, run.settings)
    assert isinstance(task, Judge)
    assert task.scale == 10
