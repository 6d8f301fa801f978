"""Examples as a vision-language model sees them: marked images and renumbered texts, prefetched."""

from collections.abc import Iterator, Sequence
from functools import partial

from critic.protocol import Diagnostics, Example
from db.parallel.prefetch import prefetch
from regions import references
from regions.errors import UserError
from regions.marks import Style
from regions.view import View, make_view

PREFETCH_THREADS, PREFETCH_LIMIT = 2, 8
"""Threads that draw views, and how many views are drawn ahead."""
_MAX_GROUP_SIZE = 16
"""Triples that share one pass of their image."""


def draw_example(
    example: Example, visible_regions: Sequence[int], size: tuple[int, int], style: Style
) -> View:
    """The example's image with marks on `visible_regions`, and its texts in those numbers."""
    return make_view(
        example.image.load_image(),
        list(example.image.regions.values()),
        (example.question, example.answer, example.rationale),
        visible=visible_regions,
        size=size,
        style=style,
    )


def with_texts_of(drawn_view: View, example: Example) -> View:
    """The view of another triple about the same image with the same visible regions."""
    mapping = {old: new for new, old in enumerate(example.visible_regions)}
    texts = example.question, example.answer, example.rationale
    renumbered = tuple(references.renumber(text, mapping) for text in texts)
    return View(drawn_view.image, drawn_view.regions, renumbered)


def group_by_image(examples: Sequence[Example]) -> list[list[int]]:
    """Indices of examples with the same image and visible regions, in groups of at most 16."""
    by_image: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for n, example in enumerate(examples):
        by_image.setdefault((example.image_id, example.visible_regions), []).append(n)
    return [
        indices[start : start + _MAX_GROUP_SIZE]
        for indices in by_image.values()
        for start in range(0, len(indices), _MAX_GROUP_SIZE)
    ]


def draw_group(examples: Sequence[Example], size: tuple[int, int], style: Style) -> list[View]:
    """Views of examples about the same image, which is drawn once."""
    first = draw_example(examples[0], examples[0].visible_regions, size, style)
    return [first, *(with_texts_of(first, example) for example in examples[1:])]


def prefetch_views(
    examples: Sequence[Example],
    groups: Sequence[list[int]],
    size: tuple[int, int],
    style: Style,
    diagnostics: Diagnostics,
) -> Iterator[tuple[list[int], list[View]]]:
    """Each group of `group_by_image` with its views, drawn in threads ahead of the consumer.

    Groups whose image cannot be read are left out, which goes into the diagnostics.
    """

    def draw(group: list[int]) -> list[View] | UserError:
        try:
            return draw_group([examples[n] for n in group], size, style)
        except UserError as error:
            return error

    calls = (partial(draw, group) for group in groups)
    drawn = prefetch(calls, threads=PREFETCH_THREADS, limit=PREFETCH_LIMIT)
    for group, views in zip(groups, drawn, strict=True):
        if isinstance(views, UserError):
            diagnostics.unreadable_images.add(str(views))
        else:
            yield group, views
