"""The demo project is what it says: real photographs, tight regions, triples with a key apart."""

from collections import Counter

from sqlalchemy import func, select

from db.images import image_files
from db.schema import AnswerKey, BatchItem, Image, Triple, Vote
from db.store import queries
from db.store.session import Store
from regions import references
from regions.geometry import box_error


def test_photographs_have_a_licence_and_an_author(demo_store: Store) -> None:
    with demo_store.read() as session:
        images = session.scalars(select(Image)).all()
    assert len(images) >= 10
    for image in images:
        assert image.licence
        assert image.author
        assert image.origin
        assert image_files.load(image).size == (image.width, image.height)


def test_images_have_three_to_eight_regions_inside_them(demo_store: Store) -> None:
    with demo_store.read() as session:
        images = session.scalars(select(Image)).all()
        regions = queries.regions_by_image(session, [image.id for image in images])
    for image in images:
        assert 3 <= len(regions[image.id]) <= 8
        for region in regions[image.id]:
            assert box_error(region.box, image.width, image.height) is None
            for x, y in (corner for ring in region.polygons for corner in ring):
                assert region.box[0] - 1 <= x <= region.box[2] + 1
                assert region.box[1] - 1 <= y <= region.box[3] + 1


def test_triples_refer_to_existing_regions(demo_store: Store) -> None:
    with demo_store.read() as session:
        triples = session.scalars(select(Triple)).all()
    assert len(triples) >= 150
    for triple in triples:
        assert references.mentioned(triple.question + triple.answer + triple.rationale)
        for text in (triple.question, triple.answer, triple.rationale):
            assert references.check(text, triple.visible_regions) is None


def test_many_triples_have_flaws_of_every_kind(demo_store: Store) -> None:
    with demo_store.read() as session:
        flaws = Counter(session.scalars(select(AnswerKey.flaw)))
    good = flaws.pop(None)
    assert 0.4 < good / (good + flaws.total()) < 0.65
    assert len(flaws) == 6


def test_all_triples_are_in_a_batch_without_votes(demo_store: Store) -> None:
    with demo_store.read() as session:
        assert session.scalar(select(func.count()).select_from(Vote)) == 0
        assert session.scalar(select(func.count()).select_from(BatchItem)) == 157
