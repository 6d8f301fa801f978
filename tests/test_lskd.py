"""The command line: tables and JSON, one line for a mistake, exit code 2, an unchanged store."""

import importlib.metadata
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from click.testing import CliRunner

import lskd
from annotator.jobs.training_job import TrainingJob
from db.store.session import Store
from lskd_cli import cli
from tests import tiny
from tests.generation.llm_server import Script, Serve


def run(store: Store | None, *words: str, code: int = 0) -> str:
    url = ["--store", store.engine.url.render_as_string()] if store else []
    result = CliRunner().invoke(cli, [*words, *url])
    assert result.exit_code == code, result.output
    return result.stderr if code else result.stdout


@pytest.mark.slow
def test_the_whole_loop_by_command(demo_store: Store, tmp_path: Path) -> None:
    run(demo_store, "simulate-votes")
    trained = json.loads(
        run(demo_store, "critic", "train", "--simulated", "--resamples", "50", "--json")
    )
    assert trained["labelled_triples"] == 157
    assert "Precision" in run(demo_store, "critic", "evaluate")
    assert "0.500" in run(demo_store, "critic", "evaluate", "--threshold", "0.5")
    run(demo_store, "critic", "score")
    kept = run(demo_store, "critic", "release", "pilot", "--threshold", "0.4", "--simulated")
    assert "Precision" in kept
    run(demo_store, "export", "lskd", "--release", "pilot", "--out", str(tmp_path / "p.jsonl"))
    learned = run(
        demo_store,
        "student",
        "train",
        "--release",
        "pilot",
        "--steps",
        "3",
        "--base-steps",
        "3",
        "--json",
    )
    assert json.loads(learned)["model"] == "tiny"
    nowhere = run(
        demo_store, "student", "train", "--release", "pilot", "--model", "/nowhere", code=2
    )
    assert "the model '/nowhere' cannot be loaded" in nowhere
    picture = tmp_path / "picture.png"
    PIL.Image.new("RGB", (60, 40)).save(picture)
    answer = json.loads(
        run(
            demo_store,
            "student",
            "ask",
            str(picture),
            "What is [0]?",
            "--region",
            "1,2,30,30",
            "--json",
        )
    )
    assert answer["question"] == "What is [0]?"
    status = json.loads(run(demo_store, "status", "--json"))
    assert (status["votes"], status["simulated_votes"]) == (0, 471)
    assert status["releases"] == ["pilot"]


def test_verbalize_and_batch(demo_store: Store) -> None:
    assert "Images  12" in run(demo_store, "verbalize", "annotations")
    assert "no triples match for a batch" in run(demo_store, "batch", "second", code=2)


def test_images_are_verbalized_by_every_describer(
    demo_store: Store, serve: Serve, tmp_path: Path
) -> None:
    """Models that look, one that asks, one that answers, and one behind an API."""

    def words(*command: str) -> dict[str, Any]:
        return dict(json.loads(run(demo_store, "verbalize", *command, "--json")))

    looks = ["--model", str(tiny.blip2(tmp_path / "blip2")), "--longest", "4"]
    api = ["--model", "gpt-4o", "--base-url", serve(Script())]
    captions = words("captions", *looks, "--views", "whole,crop")
    assert captions["texts"] + captions["empty_texts"] == 12 + 69
    assert words("concepts", "--model", str(tiny.clip(tmp_path / "clip")))["texts"] == 12 * 3
    assert words("questions", *api)["kept"] == 24
    answered = words("answers", *looks)
    # A tiny model may have nothing to say: that is counted too.
    assert answered["texts"] + answered["empty_texts"] == 24
    assert words("vision", *api)["kept"] == 12 + 69 + 24


def test_triples_and_descriptions_are_generated(
    demo_store: Store, serve: Serve, tmp_path: Path
) -> None:
    run(demo_store, "verbalize", "annotations")
    model = ["--model", "gpt-4o-mini", "--base-url", serve(Script())]
    planned = run(demo_store, "generate", "triples", *model, "--dry-run", "--json")
    assert json.loads(planned)["calls"] == 36
    made = json.loads(run(demo_store, "generate", "triples", *model, "--json"))
    assert made["kept"] == 108
    again = run(demo_store, "generate", "reparse", made["run"], "--json")
    assert json.loads(again)["kept"] == 108
    run(demo_store, "generate", "descriptions", *model)
    out = tmp_path / "llava.json"
    assert "12" in run(demo_store, "export", "llava", "--out", str(out))
    status = json.loads(run(demo_store, "status", "--json"))
    assert (status["llm_calls"], status["instructions"]) == (48, 12)
    nobody = run(demo_store, "generate", "triples", "--model", "m", "--budget", "1", code=2)
    assert "no price is known for m" in nobody


def test_accounts_are_added_and_listed(demo_store: Store) -> None:
    run(demo_store, "users", "add", "ann", "--password", "long enough")
    listed = run(demo_store, "users", "list")
    assert "ann" in listed
    assert "long enough" not in listed
    assert "too short" in run(demo_store, "users", "add", "bob", "--password", "x", code=2)


PICTURE = "docs/images/annotate.png"
MISTAKES: dict[str, tuple[list[str], str]] = {
    "format": (["import", "csv", "README.md", "--images", "docs"], "unknown format 'csv'"),
    "file": (["import", "lskd", "none.jsonl", "--images", "docs"], "no such file"),
    "few votes": (["critic", "train"], "too few labels"),
    "no critic": (["critic", "evaluate"], "no critic has been trained yet"),
    "no student": (
        ["student", "ask", "docs/images/annotate.png", "--region", "1,2,9,9"],
        "no student",
    ),
    "model": (
        ["student", "train", "--release", "none", "--model", "/nowhere"],
        "no release named 'none'",
    ),
    "no image": (["student", "ask", "README.md", "--region", "1,2,9,9"], "not a picture"),
    "region": (["student", "ask", PICTURE, "--region", "9,9,1,1"], "inverted"),
    "accuracy": (["simulate-votes", "--accuracy", "7"], "between 0 and 1"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_user_error_is_one_line_and_changes_nothing(demo_store: Store, name: str) -> None:
    words, what = MISTAKES[name]
    before = run(demo_store, "status")
    output = run(demo_store, *words, code=2)
    assert what in output
    assert output.startswith("error: ")
    assert output.count("\n") == 1
    assert run(demo_store, "status") == before


def test_a_missing_store_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["status", "--store", str(tmp_path / "none.db")])
    assert result.exit_code == 2
    assert result.output.startswith("error: no store here")
    assert not (tmp_path / "none.db").exists()


def test_tables_contain_no_control_characters(
    demo_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.store.status.store_status", lambda _: {"store": "\x1b[31mred\x07"})
    assert "\x1b" not in run(demo_store, "status")


ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["critic.py", "regions/__init__.py", "lskd_console.py"])
def test_a_module_of_the_same_name_in_the_working_folder_is_one_sentence(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("raise SystemExit('the wrong module ran')")
    ran = subprocess.run(
        [sys.executable, "-m", "lskd", "status"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert f"{tmp_path}" in ran.stderr
    assert "not part of LSKD Studio" in ran.stderr
    assert "run lskd from another folder" in ran.stderr


@pytest.mark.slow
def test_training_behind_the_page_ignores_a_critic_of_the_users_own(
    demo_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "critic.py").write_text("raise SystemExit('the wrong module ran')")
    monkeypatch.chdir(tmp_path)
    job = TrainingJob(demo_store)
    job.start(["train"])
    while job.state().is_running:
        time.sleep(0.1)
    assert "too few labels" in job.state().error


def test_a_package_that_another_distribution_replaced_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "regions" / "__init__.py"
    package.parent.mkdir()
    package.write_text("the other package")
    info = tmp_path / "lskd_studio-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lskd-studio\nVersion: 0.1.0\n")
    (info / "RECORD").write_text("regions/__init__.py,sha256=abc,10\n")
    installed = importlib.metadata.PathDistribution(info)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: installed)
    assert "another package has replaced regions" in (lskd.foreign_module() or "")


def test_labels_are_made_and_agreement_is_printed_by_command(demo_store: Store) -> None:
    run(demo_store, "simulate-votes")
    made = json.loads(run(demo_store, "labels", "make", "--simulated", "--json"))
    assert made["run"] == "labels-1"
    assert "Krippendorff" in run(demo_store, "labels", "agreement", "--simulated")
