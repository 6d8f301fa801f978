"""Translations cover every text of the pages."""

import inspect
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import annotator
from annotator import languages
from annotator.jobs import generation_job
from annotator.labelling import votes
from annotator.languages import NAMES
from annotator.pages import shell
from annotator.statistics.agreement import COEFFICIENTS, MEAN_COHEN_KAPPA
from annotator.studies import joining, platforms, studies
from critic.thresholds.comparison import COLUMNS, RANDOM_BASELINE
from critic.thresholds.slices import DIMENSIONS
from db.schema import REASONS
from db.store.results import title

HERE = Path(annotator.__file__).parent
UNTRANSLATED = {
    *"AFGHRSU?.",
    "lskd import",
    "lskd critic train --kind blip2",
    "https://…",
    "Markdown",
    "see `lskd study workers`",
}
"""Keys, commands and names, which are the same in every language."""
OTHERS = [name for name in NAMES if name != "en"]


class Texts(HTMLParser):
    """Every text of a page, and the attributes that are shown or read out."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: set[str] = set()

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.add(data.strip())

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {"aria-label", "placeholder", "title"}
        self.texts |= {value for name, value in attrs if name in names and value}


def said(code: str) -> set[str]:
    """The texts in the first argument of each `say(...)`, without those that are compared."""
    texts = set()
    for call in re.finditer(r"\bsay\(", code):
        depth, end = 0, call.end()
        while depth >= 0 and not (depth == 0 and code[end] == ","):
            depth += {"(": 1, ")": -1}.get(code[end], 0)
            end = code.index('"', end + 1) + 1 if code[end] == '"' else end + 1
        literals = re.findall(r'(=== )?"([^"]+)"', code[call.end() : end])
        texts |= {text for is_compared, text in literals if not is_compared}
    return texts


def page_texts() -> set[str]:
    """What the pages, the sign-in pages and the queue show."""
    page = Texts()
    for file in (HERE / "pages").rglob("*.html"):
        page.feed(file.read_text("utf-8"))
    texts = page.texts - UNTRANSLATED
    for file in [*(HERE / "pages").rglob("*.js"), *(HERE / "canvas").rglob("*.js")]:
        code = file.read_text("utf-8")
        texts |= said(code)
        # Headings of tables, and texts that are looked up.
        for values in re.findall(r"const [A-Z]+ = \{([^}]*)\};", code):
            texts |= set(re.findall(r': "([^"]+)"', values))
        for titles in re.findall(
            r'(?:fillTable\(\$\("[^"]+", HTMLTableElement\), |const head = )\[("[^\]]+)\]', code
        ):
            texts |= set(re.findall(r'"([^"]+)"', titles))
    decisions = (HERE / "pages" / "shared" / "decisions.js").read_text("utf-8")
    reasons = re.findall(r'\["\w+", "([^"]+)"\]', decisions)
    assert len(reasons) == len(REASONS)
    texts |= set(reasons)
    for name in ("auth/auth_pages.py", "auth/account_pages.py"):
        forms = (HERE / "web" / name).read_text("utf-8")
        arguments = "title|button|message|done|heading|text"
        texts |= set(re.findall(rf'\b(?:{arguments})="([^"]+)"', forms))
        texts |= set(re.findall(r'\bField\("\w+", "([^"]+)"', forms))
    template = (HERE / "web" / "auth" / "auth_page.html").read_text("utf-8")
    texts |= set(re.findall(r'say\("([^"]+)"\)', template))
    rules = inspect.getsource(votes)
    conflicts = re.findall(r'ConflictError\(\s*"([^"]+)"', rules)
    texts |= {*conflicts, RANDOM_BASELINE}
    # What a crowd worker may read instead of the start page.
    refusals = "".join(
        inspect.getsource(part) for part in (joining, platforms, studies.study_by_link)
    )
    texts |= set(re.findall(r'(?:Error\(\s*|hint=)"([^"]+)"', refusals)) - UNTRANSLATED
    texts |= {title(name) for name in (*DIMENSIONS, *COLUMNS)}
    texts |= set(shell.PAGES.values()) | set(generation_job.TASKS.values())
    texts |= {*COEFFICIENTS, MEAN_COHEN_KAPPA}
    return texts | set(platforms.PLATFORMS)


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_has_every_text_of_the_pages(language: str) -> None:
    assert page_texts() - languages.translations(language).keys() == set()


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_keeps_the_placeholders(language: str) -> None:
    blank = re.compile(r"\{\w+\}")
    for english, translation in languages.translations(language).items():
        assert set(blank.findall(english)) == set(blank.findall(translation)), english


def test_a_language_file_is_one_object_of_texts() -> None:
    for language in OTHERS:
        file = HERE / "languages" / f"{language}.json"
        assert all(isinstance(text, str) for text in json.loads(file.read_text("utf-8")).values())
