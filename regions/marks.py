"""Draw regions on an image; the picture keeps its size, and `[n]` in a text is the mark numbered n.

Regions are given in the pixels of that image: it already has the size that the model or the
person sees, so that lines and numerals are never scaled.
"""

import colorsys
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, get_args

from PIL import Image, ImageDraw, ImageFont

from regions.errors import UserError
from regions.geometry import Box, Polygon, Region, fit_within, iou

Style = Literal["numbered", "lskd"]
Point = tuple[int, int]
"""x, y of a top left corner, or width and height, in pixels."""

PALETTE: tuple[str, ...] = (
    # Seven colours of Okabe and Ito (2008), then those farthest from all before them in OKLab, to
    # normal sight and under simulated protanopia, deuteranopia and tritanopia (Machado 2009).
    *("#d55e00", "#56b4e9", "#f0e442", "#009e73", "#cc79a7", "#0072b2", "#e69f00"),
    *("#0000e6", "#991a00", "#9980ff", "#b23380", "#8033ff", "#6633b2", "#cc33cc"),
    *("#33e6ff", "#99cc80", "#b2ffb2", "#663366", "#ffb2cc", "#00664c"),
)

_CASING = "#101010"


def colour(number: int) -> str:
    """Return the colour of a region; they repeat, and the number tells regions apart."""
    return PALETTE[number % len(PALETTE)]


def ink(background: str) -> str:
    """Return black or white, whichever reads better on a colour: contrast 4.5 or more (WCAG 2.2).

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


def style_of(name: str) -> Style:
    """A style of drawing by its name; UserError where there is none."""
    styles: dict[str, Style] = {style: style for style in get_args(Style)}
    if name not in styles:
        raise UserError(f"no style {name!r}", hint="use numbered or lskd")
    return styles[name]


def draw(
    image: Image.Image, regions: Sequence[Region], *, style: Style = "numbered"
) -> Image.Image:
    """Return a copy of the image, RGB and of the same size, with the regions drawn in order."""
    picture = image.convert("RGB")
    return _draw_lskd(picture, regions) if style == "lskd" else _draw_numbered(picture, regions)


def draw_scaled(picture: Image.Image, regions: Sequence[Region], side: int) -> Image.Image:
    """The picture, made smaller so that no side is longer than `side`, then marked."""
    width, height = fit_within(picture.width, picture.height, side)
    sx, sy = width / picture.width, height / picture.height
    resized = picture.resize((width, height), Image.Resampling.BICUBIC)
    return draw(resized, [region.scaled(sx, sy) for region in regions])


def place_badges(regions: Sequence[Region], badges: Sequence[Point], size: Point) -> list[Point]:
    """Return where each chip, given by width and height, goes: on its region's outline.

    All lie inside the picture, and none on another as long as there is room. A small region has its
    chip beside it, which would hide it otherwise. Small ones choose first: they have less room.
    """
    taken: dict[int, Box] = {}
    for i in sorted(range(len(regions)), key=lambda i: regions[i].area):
        wanted = [
            _inside(spot, badges[i], size) for spot in _badge_candidates(regions[i], badges[i])
        ]
        spots = (*wanted, *_nearby_boxes(taken.values(), wanted[0], badges[i], size))
        free = (s for s in spots if not any(iou(s, other) for other in taken.values()))
        taken[i] = next(free, wanted[0])
    return [(int(taken[i][0]), int(taken[i][1])) for i in range(len(regions))]


def _draw_numbered(picture: Image.Image, regions: Sequence[Region]) -> Image.Image:
    """Outlines in the regions' colours within a dark casing, and their numbers on chips."""
    width = max(2, round(min(picture.size) / 220))
    brush = ImageDraw.Draw(picture)
    for region in regions:
        for line, stroke in ((_CASING, width + 2), (colour(region.number), width)):
            for ring in region.polygons or (_corners(region.box),):
                brush.line([*ring, ring[0], ring[1]], fill=line, width=stroke, joint="curve")
    font = ImageFont.load_default(max(11, round(min(picture.size) / 22)))
    chips = [_badge_size(font, region) for region in regions]
    spots = place_badges(regions, chips, picture.size)
    for region, (x, y), (w, h) in zip(regions, spots, chips, strict=True):
        fill = colour(region.number)
        brush.rectangle((x, y, x + w - 1, y + h - 1), fill=fill, outline=_CASING)
        middle = x + w / 2, y + h / 2
        brush.text(middle, str(region.number), fill=ink(fill), font=font, anchor="mm")
    return picture


def _draw_lskd(picture: Image.Image, regions: Sequence[Region]) -> Image.Image:
    """The drawing that the released checkpoints were trained with: by place, without numbers.

    A box two pixels wide and a faint fill each, blended one after the other; no polygons. The
    first five colours are a list, the others nearly grey.
    """
    for place, region in enumerate(regions):
        fill, outline = _RELEASED[place] if place < len(_RELEASED) else _released_colours(place)
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


def _released_colours(place: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Fill and outline of the sixth region and those after it."""
    hue, lightness, saturation = (
        place % 1024 / 1024,
        0.4 + 0.6 * (place % 1025) / 1025,
        place % 1023,
    )
    channels = colorsys.hls_to_rgb(hue, lightness, saturation)
    rgb = tuple(int(channel * 255) for channel in channels)
    return (*rgb, 32), (*rgb, 255)


def _badge_size(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, region: Region) -> Point:
    left, top, right, bottom = font.getbbox(str(region.number))
    height = round(bottom - top) + 6
    return max(round(right - left) + 8, height), height


def _corners(box: Box) -> Polygon:
    x1, y1, x2, y2 = box
    return (x1, y1), (x2, y1), (x2, y2), (x1, y2)


def _badge_candidates(region: Region, chip: Point) -> list[tuple[float, float]]:
    """Where a chip may sit: beside a small region, else in a box's corners or on an outline."""
    x1, y1, x2, y2 = region.box
    w, h = chip
    if x2 - x1 < 2 * w or y2 - y1 < 2 * h:
        return [(x1, y1 - h), (x2, y1), (x1 - w, y1), (x1, y2)]
    if region.polygons:
        corners = [corner for ring in region.polygons for corner in ring]
        left, right = min(corners), max(corners)
        top, bottom = min(corners, key=lambda c: c[1]), max(corners, key=lambda c: c[1])
        return [(x - w / 2, y - h / 2) for x, y in (top, left, right, bottom)]
    return [(x1, y1), (x2 - w, y1), (x1, y2 - h), (x2 - w, y2 - h)]


def _nearby_boxes(taken: Iterable[Box], wanted: Box, chip: Point, size: Point) -> Iterator[Box]:
    """Places next to the chips that lie already, the nearest to the wanted one first."""
    w, h = chip
    spots = [
        _inside(spot, chip, size)
        for x1, y1, x2, y2 in taken
        for spot in ((x2, y1), (x1 - w, y1), (x1, y2), (x1, y1 - h))
    ]
    yield from sorted(spots, key=lambda s: (s[0] - wanted[0]) ** 2 + (s[1] - wanted[1]) ** 2)


def _inside(spot: tuple[float, float], chip: Point, size: Point) -> Box:
    """The chip's rectangle, moved into the picture, on whole pixels."""
    x = max(0, min(round(spot[0]), size[0] - chip[0]))
    y = max(0, min(round(spot[1]), size[1] - chip[1]))
    return x, y, x + chip[0], y + chip[1]
