"""Draw regions on an image: outlines in colours, and badges with the regions' numbers.

The image is resized first and drawn on after, so that lines and numerals have the same size
whatever the size of the original. The web app's canvas shows regions in the same colours, with the
same casing, and with badges at the same places: annotator/canvas/geometry.js has `place_badges`.
"""

import colorsys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal, get_args

from PIL import Image, ImageDraw, ImageFont

from regions.errors import InvalidError
from regions.geometry import Box, Polygon, Region, iou

Style = Literal["numbered", "lskd"]
"""`numbered`: outlines and numbers. `lskd`: as the released checkpoints were trained with."""

Point = tuple[int, int]
"""x, y of a top left corner, or width and height, in pixels."""

PALETTE: tuple[str, ...] = (
    # Seven colours of Okabe and Ito (2008), then those farthest from all before them in OKLab, to
    # normal sight and under simulated protanopia, deuteranopia and tritanopia (Machado 2009).
    *("#d55e00", "#56b4e9", "#f0e442", "#009e73", "#cc79a7", "#0072b2", "#e69f00"),
    *("#0000e6", "#991a00", "#9980ff", "#b23380", "#8033ff", "#6633b2", "#cc33cc"),
    *("#33e6ff", "#99cc80", "#b2ffb2", "#663366", "#ffb2cc", "#00664c"),
)

CASING = "#101010"
"""Colour of the line around outlines and badges."""


def colour(number: int) -> str:
    """Return the colour of a region; colours repeat, and the number tells regions apart."""
    return PALETTE[number % len(PALETTE)]


def ink(background: str) -> str:
    """Return black or white, whichever has a contrast of 4.5 or more on a colour (WCAG 2.2).

    >>> ink("#f0e442"), ink("#0000e6")
    ('#000', '#fff')
    """
    channels = (int(background[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 - sRGB
        for c in channels
    )
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#000" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "#fff"


def parse_style(name: str) -> Style:
    """Return the style of that name; InvalidError if there is none."""
    styles: dict[str, Style] = {style: style for style in get_args(Style)}
    if name not in styles:
        raise InvalidError(f"no style {name!r}", hint=f"use {' or '.join(styles)}")
    return styles[name]


def draw_regions(
    image: Image.Image,
    regions: Sequence[Region],
    *,
    size: tuple[int, int] | None = None,
    style: Style | None = "numbered",
) -> Image.Image:
    """Return a copy of the image with the regions drawn, in order; without a style, with none.

    The result has `size` (width, height), or else the size of the image. Regions are in pixels of
    the image as given.
    """
    width, height = size or image.size
    scaled = [region.scaled(width / image.width, height / image.height) for region in regions]
    resized = image if size is None else image.resize(size, Image.Resampling.BICUBIC)
    if style is None:
        return resized
    picture = resized.convert("RGB")
    return _draw_lskd(picture, scaled) if style == "lskd" else _draw_numbered(picture, scaled)


def place_badges(regions: Sequence[Region], badges: Sequence[Point], size: Point) -> list[Point]:
    """Return the top left corner of each badge, given by width and height: on its region's outline.

    Badges lie within the image, and do not overlap if there is room. The badge of a small region is
    placed beside it, so as not to cover it. Small regions are placed first, as they have fewest
    places.
    """
    placed: dict[int, Box] = {}
    for i in sorted(range(len(regions)), key=lambda i: regions[i].area):
        preferred = [
            _clamp(corner, badges[i], size) for corner in _badge_corners(regions[i], badges[i])
        ]
        candidates = (*preferred, *_nearby_boxes(placed.values(), preferred[0], badges[i], size))
        free = (c for c in candidates if not any(iou(c, other) for other in placed.values()))
        placed[i] = next(free, preferred[0])
    return [(int(placed[i][0]), int(placed[i][1])) for i in range(len(regions))]


def _draw_numbered(picture: Image.Image, regions: Sequence[Region]) -> Image.Image:
    width = max(2, round(min(picture.size) / 220))
    canvas = ImageDraw.Draw(picture)
    for region in regions:
        for line, stroke in ((CASING, width + 2), (colour(region.number), width)):
            for ring in region.polygons or (_corners(region.box),):
                canvas.line([*ring, ring[0], ring[1]], fill=line, width=stroke, joint="curve")
    font_size = max(11, round(min(picture.size) / 22))
    badges = [_badge(font_size, region.number) for region in regions]
    corners = place_badges(regions, [badge.size for badge in badges], picture.size)
    for badge, corner in zip(badges, corners, strict=True):
        picture.paste(badge, corner)
    return picture


def _draw_lskd(picture: Image.Image, regions: Sequence[Region]) -> Image.Image:
    """Draw as the released code does: boxes with a faint fill, no polygons and no numbers.

    Colours depend on the position in `regions`. Boxes are blended one after the other.
    """
    for position, region in enumerate(regions):
        fill, outline = (
            _RELEASED[position] if position < len(_RELEASED) else _released_colours(position)
        )
        layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
        ImageDraw.Draw(layer).rectangle(region.box, fill=fill, outline=outline, width=2)
        picture = Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")
    return picture


_RELEASED = (
    ("#ff05cd20", "#05ff37ff"),
    ("#ff800020", "#99ccffff"),
    ("#862d2d20", "#cc99ffff"),
    ("#ff800020", "#f5ad42ff"),
    ("#862d2d20", "#f55d42ff"),
)
"""Fill and outline of the first five regions in the released code."""


def _released_colours(position: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return fill and outline of the sixth region and later ones."""
    hue, lightness, saturation = (
        position % 1024 / 1024,
        0.4 + 0.6 * (position % 1025) / 1025,
        position % 1023,
    )
    channels = colorsys.hls_to_rgb(hue, lightness, saturation)
    rgb = tuple(int(channel * 255) for channel in channels)
    return (*rgb, 32), (*rgb, 255)


# Drawn once: loading the font and rendering the number take longer than all else.
@lru_cache(1024)
def _badge(font_size: int, number: int) -> Image.Image:
    font = ImageFont.load_default(font_size)
    left, top, right, bottom = font.getbbox(str(number))
    height = round(bottom - top) + 6
    width = max(round(right - left) + 8, height)
    fill = colour(number)
    badge = Image.new("RGB", (width, height), fill)
    canvas = ImageDraw.Draw(badge)
    canvas.rectangle((0, 0, width - 1, height - 1), fill=fill, outline=CASING)
    centre = width / 2, height / 2
    canvas.text(centre, str(number), fill=ink(fill), font=font, anchor="mm")
    return badge


def _corners(box: Box) -> Polygon:
    x1, y1, x2, y2 = box
    return (x1, y1), (x2, y1), (x2, y2), (x1, y2)


def _badge_corners(region: Region, badge: Point) -> list[tuple[float, float]]:
    """Return places for a badge: beside a small region, else in its corners or on its outline."""
    x1, y1, x2, y2 = region.box
    w, h = badge
    if x2 - x1 < 2 * w or y2 - y1 < 2 * h:
        return [(x1, y1 - h), (x2, y1), (x1 - w, y1), (x1, y2)]
    if region.polygons:
        points = [point for ring in region.polygons for point in ring]
        left, right = min(points), max(points)
        top, bottom = min(points, key=lambda p: p[1]), max(points, key=lambda p: p[1])
        return [(x - w / 2, y - h / 2) for x, y in (top, left, right, bottom)]
    return [(x1, y1), (x2 - w, y1), (x1, y2 - h), (x2 - w, y2 - h)]


def _nearby_boxes(
    placed: Iterable[Box], preferred: Box, badge: Point, size: Point
) -> Iterator[Box]:
    """Yield boxes next to the badges placed already, nearest to the preferred box first."""
    w, h = badge
    candidates = [
        _clamp(corner, badge, size)
        for x1, y1, x2, y2 in placed
        for corner in ((x2, y1), (x1 - w, y1), (x1, y2), (x1, y1 - h))
    ]
    yield from sorted(
        candidates, key=lambda c: (c[0] - preferred[0]) ** 2 + (c[1] - preferred[1]) ** 2
    )


def _clamp(corner: tuple[float, float], badge: Point, size: Point) -> Box:
    """Return the box of a badge, moved into the image, in whole pixels."""
    x = max(0, min(round(corner[0]), size[0] - badge[0]))
    y = max(0, min(round(corner[1]), size[1] - badge[1]))
    return x, y, x + badge[0], y + badge[1]
