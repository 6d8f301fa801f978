"""Triples as a model sees them: drawn at its size, those of one picture together, ahead of time."""

from collections.abc import Iterator, Sequence
from functools import partial

from critic.models.protocol import Example
from db.parallel.prefetch import prefetch
from regions import references
from regions.marks import Style
from regions.view import View, make_view

THREADS, AHEAD = 2, 8
"""In which views are drawn, and how many before they are needed."""
_TEXTS = 16
"""Triples about one picture that are read together."""


def draw(example: Example, shown: Sequence[int], size: tuple[int, int], style: Style) -> View:
    """An example with the regions `shown`, and its texts in their numbers."""
    return make_view(
        example.image.picture(),
        list(example.image.regions.values()),
        (example.question, example.answer, example.rationale),
        visible=shown,
        size=size,
        style=style,
    )


def redraw(seen: View, example: Example) -> View:
    """Another triple about a picture that is drawn already with the regions that it shows."""
    mapping = {old: new for new, old in enumerate(example.shown)}
    texts = example.question, example.answer, example.rationale
    renumbered = tuple(references.renumber(text, mapping) for text in texts)
    return View(seen.image, seen.regions, renumbered)


def by_picture(examples: Sequence[Example]) -> list[list[int]]:
    """The places of examples that show the same picture with the same regions, some at a time."""
    found: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for n, example in enumerate(examples):
        found.setdefault((example.image_id, example.shown), []).append(n)
    return [
        places[start : start + _TEXTS]
        for places in found.values()
        for start in range(0, len(places), _TEXTS)
    ]


def drawn(examples: Sequence[Example], size: tuple[int, int], style: Style) -> list[View]:
    """Examples about one picture, which is drawn once."""
    first = draw(examples[0], examples[0].shown, size, style)
    return [first, *(redraw(first, example) for example in examples[1:])]


def pictures_ahead(
    examples: Sequence[Example],
    pieces: Sequence[Sequence[int]],
    size: tuple[int, int],
    style: Style,
) -> Iterator[list[View]]:
    """The views of each piece of `by_picture`, drawn while those before are looked at."""
    calls = (partial(drawn, [examples[n] for n in piece], size, style) for piece in pieces)
    return prefetch(calls, threads=THREADS, limit=AHEAD)
