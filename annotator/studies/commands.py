"""Commands about crowd studies: create them, sign links, see workers, review and pay them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from annotator.studies.settings import ReviewRules
from lskd_console import (
    Group,
    as_json_option,
    open_store,
    options_from_dataclass,
    print_result,
    settings_from,
    store_option,
)

if TYPE_CHECKING:
    from annotator.studies.payments import Platform


@dataclass(frozen=True, slots=True)
class _StudyResult:
    study: str
    path: str
    code: str
    quota: int
    max_workers: int | None
    signed: bool


@dataclass(frozen=True, slots=True)
class _UpdateResult:
    study: str
    open: bool
    max_workers: int | None
    signed: bool


@dataclass(frozen=True, slots=True)
class _ReleaseResult:
    worker: str
    place_freed: bool


@click.group(cls=Group, default="create")
def study() -> None:
    """Open batches to crowd workers; review and pay them.

    `lskd study NAME BATCH` is short for `lskd study create NAME BATCH`.
    """


@study.command("create")
@click.argument("name")
@click.argument("batch_name", metavar="BATCH")
@click.option("--quota", default=40, show_default=True, help="Triples per worker.")
@click.option(
    "--max-workers",
    type=int,
    help="Workers who can join (default: twice as many as the batch needs).",
)
@click.option("--signed", is_flag=True, help="Require a signature in each worker's link.")
@click.option("--code", default="", help="Completion code (default: a random one).")
@click.option("--finish-url", default="", help="URL that workers return to, https://...")
@store_option
@as_json_option
def create(
    url: str,
    name: str,
    batch_name: str,
    *,
    quota: int,
    max_workers: int | None,
    signed: bool,
    code: str,
    finish_url: str,
    as_json: bool,
) -> None:
    """Open a batch to crowd workers.

    Workers arrive by a link, label up to the quota, and get a completion code.
    """
    from annotator.studies.studies import create_study

    with open_store(url).write() as session:
        row = create_study(
            session,
            name,
            batch_name,
            quota=quota,
            max_workers=max_workers,
            signed=signed,
            code=code,
            finish_url=finish_url,
        )
        path = f"/join/{row.link}"
        result = _StudyResult(name, path, row.code, row.quota, row.max_workers, signed)
    print_result(result, as_json=as_json)


@study.command("list")
@store_option
@as_json_option
def list_(url: str, *, as_json: bool) -> None:
    """List all studies."""
    from annotator.studies.studies import list_studies

    with open_store(url).read() as session:
        print_result(list_studies(session), as_json=as_json)


@study.command("update")
@click.argument("name")
@click.option("--open/--close", "is_open", default=None, help="Open it to workers, or close it.")
@click.option("--max-workers", type=int, help="Workers who can join.")
@click.option("--signed/--unsigned", default=None, help="Whether links need a signature.")
@store_option
@as_json_option
def update(
    url: str,
    name: str,
    *,
    is_open: bool | None,
    max_workers: int | None,
    signed: bool | None,
    as_json: bool,
) -> None:
    """Open or close a study, change its places, or require signed links."""
    from annotator.studies.studies import update_study
    from db.schema import Study
    from db.store import queries

    with open_store(url).write() as session:
        study_id = queries.by_name(session, Study, name).id
        row = update_study(
            session, study_id, is_open=is_open, max_workers=max_workers, signed=signed
        )
        is_signed = row.signing_secret is not None
        result = _UpdateResult(name, row.open, row.max_workers, is_signed)
    print_result(result, as_json=as_json)


@study.command("secret")
@click.argument("name")
@store_option
def secret(url: str, name: str) -> None:
    """Print the key that signs a study's links."""
    from annotator.studies.studies import signing_secret
    from db.schema import Study
    from db.store import queries

    with open_store(url).read() as session:
        click.echo(signing_secret(queries.by_name(session, Study, name)))


@study.command("sign")
@click.argument("name")
@click.argument("workers", metavar="WORKER...", nargs=-1, required=True)
@store_option
def sign(url: str, name: str, workers: tuple[str, ...]) -> None:
    """Print a signed link for each worker id."""
    from annotator.studies import platforms
    from annotator.studies.studies import signing_secret
    from db.schema import Study
    from db.store import queries

    with open_store(url).read() as session:
        row = queries.by_name(session, Study, name)
        link, key = row.link, signing_secret(row)
    ids = [platforms.PlatformIds(worker) for worker in workers]
    for each in ids:
        platforms.check_ids(each)
    for each in ids:
        click.echo(platforms.signed_path(link, key, each))


@study.command("workers")
@click.argument("name")
@store_option
@as_json_option
def workers_(url: str, name: str, *, as_json: bool) -> None:
    """Show the attention and time of each worker.

    Accuracy on gold, the share of votes that are too fast, the median time per vote, skips, and the
    minutes from the first visit until they finished.
    """
    from annotator.studies.workers import list_workers
    from db.schema import Study
    from db.store import queries

    with open_store(url).read() as session:
        rows = list_workers(session, queries.by_name(session, Study, name))
    print_result(rows, as_json=as_json)


@study.command("release")
@click.argument("name")
@click.argument("worker")
@store_option
@as_json_option
def release(url: str, name: str, worker: str, *, as_json: bool) -> None:
    """Let a worker continue in another browser.

    The place of a worker without a vote becomes free.
    """
    from annotator.studies.joining import release_worker
    from db.schema import Study
    from db.store import queries

    with open_store(url).write() as session:
        freed = release_worker(session, queries.by_name(session, Study, name), worker)
    print_result(_ReleaseResult(worker, freed), as_json=as_json)


@study.command("review")
@click.argument("name")
@click.option(
    "--platform",
    type=click.Choice(["prolific", "mturk"]),
    required=True,
    help="Platform whose files are written.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="New folder for the files."
)
@click.option("--force", is_flag=True, help="Replace the folder if this command wrote it.")
@options_from_dataclass(ReviewRules)
@store_option
@as_json_option
def review(
    url: str,
    name: str,
    *,
    platform: "Platform",
    out: Path,
    force: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - the rules' fields
) -> None:
    """Write whom to approve, reject and pay a bonus.

    Approved is who has finished and satisfies the rules. Nothing is sent to the platform.
    """
    from annotator.studies import payments
    from annotator.studies.workers import list_workers
    from db.schema import Study
    from db.store import queries

    rules = settings_from(ReviewRules, options)
    with open_store(url).read() as session:
        workers = list_workers(session, queries.by_name(session, Study, name))
    rows = payments.review(workers, rules)
    print_result(payments.write_review(platform, rows, out, force=force), as_json=as_json)
