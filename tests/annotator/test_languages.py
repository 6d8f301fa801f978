"""A language knows every sentence that the pages can say."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import annotator
from annotator import languages
from annotator.crowd import queue
from annotator.jobs import generation_job
from annotator.languages import NAMES
from annotator.pages import shell
from critic.thresholds.comparison import CHANCE
from critic.thresholds.evaluation import FIGURES
from critic.thresholds.slices import DIMENSIONS

HERE = Path(annotator.__file__).parent
UNSPOKEN = {
    "A",
    "F",
    "G",
    "H",
    "R",
    "S",
    "U",
    "?",
    "lskd import",
    "lskd critic train --kind blip2",
    ".",
    "https://…",
    "Markdown",
}
"""Keys, commands and names, which are the same in every language."""
OTHERS = [name for name in NAMES if name != "en"]


class Words(HTMLParser):
    """Every text of a page, and the attributes that are spoken."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.found.add(data.strip())

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        spoken = {"aria-label", "placeholder", "title"}
        self.found |= {value for name, value in attrs if name in spoken and value}


def sentences() -> set[str]:
    """What the pages, the doors and the queue say."""
    page = Words()
    for file in (HERE / "pages").rglob("*.html"):
        page.feed(file.read_text("utf-8"))
    found = {text for text in page.found if text not in UNSPOKEN}
    for file in (HERE / "pages").rglob("*.js"):
        code = file.read_text("utf-8")
        found |= set(re.findall(r'\bsay\("([^"]+)"', code))
        found |= set(re.findall(r'\bsay\([^"]*\? "([^"]+)" : "[^"]+"', code))
        # Headings of tables, and words that are looked up before they are said.
        found |= set(re.findall(r'\["([^"]+)", \([bp]\) =>', code))
        found |= set(re.findall(r'\bbutton\("([^"]+)"', code))
        for words in re.findall(r"const (?:SAID|ORDERS|PARTS|MADE|LABELS) = \{([^}]*)\}", code):
            found |= set(re.findall(r': "([^"]+)"', words))
        for titles in re.findall(r'(?:table\(\$\("[^"]+"\), |const head = )\[("[^\]]+)\]', code):
            found |= set(re.findall(r'"([^"]+)"', titles))
    shared = (HERE / "canvas" / "canvas.js").read_text("utf-8")
    reasons = shared[shared.index("const REASONS") : shared.index("return { Canvas, REASONS")]
    found |= set(re.findall(r'\["\w+", "([^"]+)"\]', reasons))
    doors = (HERE / "web" / "auth_pages.py").read_text("utf-8")
    found |= set(re.findall(r'(?:title|button|message)="([^"]+)"', doors))
    found |= set(re.findall(r'ConflictError\("([^"]+)"\)', Path(queue.__file__).read_text("utf-8")))
    found |= {*DIMENSIONS, *FIGURES, CHANCE, "critic", "triples"}
    return found | set(shell.PAGES.values()) | set(generation_job.TASKS.values())


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_has_every_text_of_the_pages(language: str) -> None:
    assert sentences() - languages.translations(language).keys() == set()


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_keeps_the_placeholders(language: str) -> None:
    blank = re.compile(r"\{\w+\}")
    for english, said in languages.translations(language).items():
        assert set(blank.findall(english)) == set(blank.findall(said)), english


def test_a_language_file_is_one_object_of_texts() -> None:
    for language in OTHERS:
        file = HERE / "languages" / f"{language}.json"
        assert all(isinstance(text, str) for text in json.loads(file.read_text("utf-8")).values())
