"""Images as language models receive them: with numbered regions, as a data URL."""

from db.images import image_files
from db.schema import Image
from db.store import queries
from db.store.session import Store
from regions.geometry import fit_within
from regions.marks import draw_regions


def image_data_url(store: Store, image_id: int, side: int) -> str:
    """Return an image with its regions marked, scaled to a longest `side` in pixels."""
    with store.read() as session:
        image = session.get_one(Image, image_id)
        regions = queries.regions_by_image(session, [image_id])[image_id]
    picture = image_files.load(image)
    size = fit_within(*picture.size, side)
    return image_files.to_data_url(draw_regions(picture, regions, size=size))
