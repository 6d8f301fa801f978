"""The command line: every command by step of the work, and the commands of the store itself.

Commands import what they run when they run, so that help is fast. Shared options, tables and
progress bars are in `lskd_console`.
"""

from pathlib import Path
from typing import Literal

import click

from annotator import commands as annotator
from annotator.accounts.commands import users
from annotator.jobs import student_loader
from annotator.labelling.commands import batch, gold, reorder
from annotator.labels.commands import labels
from annotator.studies.commands import study
from critic.commands import critic
from generation.commands import generate
from generation.verbalize.commands import verbalize
from lskd_console import Group, as_json_option, open_store, print_result, progress_bar, store_option
from regions.errors import InvalidError, NotFoundError
from student.commands import student

_SECTIONS = {
    "Data": ["import", "sources", "export", "status", "check", "backup", "restore"],
    "Generate": ["verbalize", "generate"],
    "Annotate": ["batch", "reorder", "gold", "users", "study", "labels", "simulate-votes"],
    "Critic": ["critic"],
    "Student": ["student"],
    "Serve": ["app", "commands"],
}
"""Headings of the help, in the order of the work."""
_ACCURACIES = (0.9, 0.85, 0.8)


@click.group(
    cls=Group, sections=_SECTIONS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="lskd-studio")
@click.pass_context
def cli(context: click.Context) -> None:
    """Region-grounded visual commonsense: generate triples, judge them, learn from them."""
    context.obj = student_loader.load_student


for _command in (
    annotator.check,
    batch,
    reorder,
    gold,
    users,
    study,
    labels,
    verbalize,
    generate,
    critic,
    student,
):
    cli.add_command(_command)


@cli.command()
@store_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=7860, show_default=True, help="Port to listen on.")
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="CIDR",
    help="A reverse proxy whose X-Forwarded-For and X-Forwarded-Proto are believed; repeatable.",
)
@click.option(
    "--root-path",
    default="",
    metavar="PATH",
    help="Path below which a reverse proxy serves the app, such as /lskd; it removes the path.",
)
@click.option(
    "--json-logs",
    is_flag=True,
    help="Log every request and error as a JSON object per line on standard error.",
)
def app(
    url: str,
    host: str,
    port: int,
    trusted_proxies: tuple[str, ...],
    root_path: str,
    *,
    json_logs: bool,
) -> None:
    """Serve the web app.

    If there is no store yet, one with the demo project is created.
    """
    from annotator.web.server import serve
    from db.demo import project

    try:
        store = open_store(url)
    except NotFoundError:
        store = open_store(url, create=True)
        project.create(store)
        click.echo(f"created {url} with the demo project")
    serve(
        store,
        host=host,
        port=port,
        trusted_proxies=trusted_proxies,
        root_path=root_path,
        json_logs=json_logs,
    )


@cli.command("import")
@click.argument("format_", metavar="FORMAT")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--images",
    default="",
    help="A folder, a .zip file, a URL such as s3://BUCKET/FOLDER, or none: without pictures.",
)
@click.option(
    "--source", default="", help="Name of the image source; default: the name of the folder."
)
@click.option(
    "--boxes",
    type=click.Choice(["stored", "upright"]),
    default="stored",
    show_default=True,
    help="What boxes refer to where rows do not say it: pixels before or after EXIF orientation.",
)
@click.option(
    "--trust-pictures",
    is_flag=True,
    help="Do not decode the pictures; damaged ones are found later.",
)
@click.option("--accept-means", help="For numeric labels: the number that means accept, 1 or 0.")
@click.option("--strict", is_flag=True, help="Reject the whole file at the first invalid row.")
@store_option
@as_json_option
def import_(
    *,
    url: str,
    format_: str,
    file: Path,
    images: str,
    source: str,
    boxes: Literal["stored", "upright"],
    trust_pictures: bool,
    accept_means: str | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Import FILE in a FORMAT and count invalid rows.

    The exit code is 1 if every row is invalid.

    Formats: lskd, coco, vcr, visual-genome, llava, jsonl, votes and gold.
    """
    from db.images.locations import NO_PICTURES
    from db.transfer.importing import check_arguments, import_file

    check_arguments(format_, file, images, accept_means)
    report = import_file(
        open_store(url, create=True),
        format_,
        file,
        images or NO_PICTURES,
        source=source,
        strict=strict,
        accept_means=accept_means,
        boxes=boxes,
        trust_pictures=trust_pictures,
        progress=progress_bar("bytes"),
        picture_progress=progress_bar("pictures"),
    )
    print_result(report, as_json=as_json)
    if report.is_failure:
        click.get_current_context().exit(1)


@cli.group(cls=Group, default="list")
def sources() -> None:
    """List, check and move the places of images.

    Without a command, `lskd sources` lists them.
    """


@sources.command("list")
@store_option
@as_json_option
def list_sources(url: str, *, as_json: bool) -> None:
    """List the sources of images and their places."""
    from db.transfer import sources as places

    print_result(places.list_sources(open_store(url)), as_json=as_json)


@sources.command("move")
@click.argument("name")
@click.argument("place")
@click.option(
    "--allow-missing", is_flag=True, help="Move the source although images are missing there."
)
@store_option
@as_json_option
def move_source(url: str, name: str, place: str, *, allow_missing: bool, as_json: bool) -> None:
    """Re-point the source NAME to PLACE, where its images are.

    Every image is compared by size and digest; if one differs, nothing is changed.
    """
    from db.transfer import sources as places

    check = places.move_source(
        open_store(url), name, place, allow_missing=allow_missing, progress=progress_bar("images")
    )
    print_result(check, as_json=as_json)


@sources.command("check")
@click.argument("name")
@store_option
@as_json_option
def check_source(url: str, name: str, *, as_json: bool) -> None:
    """Decode every image of the source NAME.

    Missing, damaged and changed images are counted. Images of earlier versions become upright.
    """
    from db.transfer import sources as places

    check = places.check_source(open_store(url), name, progress_bar("images"))
    print_result(check, as_json=as_json)


@sources.command("duplicates")
@click.option(
    "--distance",
    default=4,
    show_default=True,
    help="Most bits, of 64, in which the hashes of two images that look alike differ.",
)
@click.option(
    "--same-part", is_flag=True, help="Keep the images of a group in one part of the split."
)
@store_option
@as_json_option
def list_duplicates(url: str, distance: int, *, same_part: bool, as_json: bool) -> None:
    """List images that look alike."""
    from db.transfer.duplicates import find_duplicates

    report = find_duplicates(open_store(url), distance=distance, same_part=same_part)
    print_result(report, as_json=as_json)


@cli.command()
@click.argument(
    "format_", metavar="FORMAT", type=click.Choice(["lskd", "jsonl", "hf", "llava", "votes"])
)
@click.option("--release", help="The release to export, for lskd, jsonl and hf.")
@click.option("--batch", "batch_name", help="For votes: export only those of this batch.")
@click.option(
    "--shuffle-seed",
    type=int,
    help="For llava: random seed for the order of image and question; default: image first.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Output file; for hf, a folder.",
)
@click.option("--force", is_flag=True, help="Replace an existing file or folder that lskd wrote.")
@store_option
@as_json_option
def export(
    *,
    url: str,
    format_: str,
    release: str | None,
    batch_name: str | None,
    shuffle_seed: int | None,
    out: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Export a release, instructions or votes to a file.

    Formats: lskd, jsonl and hf for a release, llava for instructions, votes for votes (the suffix
    of --out chooses csv, jsonl or parquet).
    """
    from db.formats import votes
    from db.transfer import exporting

    store = open_store(url)
    if format_ == "votes":
        count = votes.export_votes(
            store, out, batch=batch_name, force=force, progress=progress_bar("votes")
        )
        print_result({"file": str(out), "votes": count}, as_json=as_json)
        return
    if format_ == "llava":
        count = exporting.export_instructions(
            store, out, seed=shuffle_seed, force=force, progress=progress_bar("instructions")
        )
        print_result({"file": str(out), "instructions": count}, as_json=as_json)
        return
    if release is None:
        raise InvalidError(f"{format_} needs a release", hint="use --release NAME")
    if format_ == "hf":
        from db.formats.hf import export_hf

        written = export_hf(store, release, out, force=force, progress=progress_bar("images"))
        result = {"release": release, "folder": str(out), "triples": written.triples}
        print_result(result | {"skipped_triples": dict(written.skipped_triples)}, as_json=as_json)
        return
    triples = exporting.export(
        store, format_, release, out, force=force, progress=progress_bar("triples")
    )
    print_result({"release": release, "file": str(out), "triples": triples}, as_json=as_json)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="FILE is a folder: add a backup named after the time, keep the newest N.",
)
@store_option
@as_json_option
def backup(url: str, file: Path, keep: int | None, *, as_json: bool) -> None:
    """Save the whole store in FILE, also while it is in use."""
    from db.backup.backup import backup as write
    from db.backup.rotation import add_backup

    store, deleted = open_store(url), {}
    if keep is None:
        counts = write(store, file, progress_bar("rows"))
    else:
        file, counts, old = add_backup(store, file, keep, progress_bar("rows"))
        deleted["deleted"] = [path.name for path in old]
    print_result(
        {"file": str(file), **{name: n for name, n in counts.items() if n}, **deleted},
        as_json=as_json,
    )


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@store_option
@as_json_option
def restore(url: str, file: Path, *, as_json: bool) -> None:
    """Create the store --store from the backup FILE.

    Images are not in the backup. A source whose place is missing here is looked for at the same
    place relative to the store; else see `lskd sources move`.
    """
    from db.backup.backup import restore as read
    from db.transfer.sources import relocate

    restored = read(file, url, progress_bar("rows"))
    counts = {name: n for name, n in restored.row_counts.items() if n}
    found, absent = relocate(open_store(url), restored.folder)
    report = {"store": url, **counts, "sources_found": found, "sources_missing": absent}
    print_result(report, as_json=as_json)


@cli.command()
@store_option
@as_json_option
def status(url: str, *, as_json: bool) -> None:
    """Count the records of the store and list its runs."""
    from db.store.status import store_status

    print_result(store_status(open_store(url)), as_json=as_json)


@cli.command("simulate-votes")
@click.option(
    "--accuracy",
    "accuracies",
    multiple=True,
    default=_ACCURACIES,
    show_default=True,
    help="Agreement with the answer key; one simulated annotator each.",
)
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@store_option
@as_json_option
def simulate_votes(url: str, accuracies: tuple[float, ...], seed: int, *, as_json: bool) -> None:
    """Vote on the demo project with simulated annotators.

    They vote as the answer key says, with errors, and are marked as simulated everywhere.
    """
    from db.demo.simulated_annotators import simulate_votes as simulate

    votes = simulate(open_store(url), accuracies=accuracies, seed=seed)
    print_result({"simulated_annotators": len(accuracies), "new_votes": votes}, as_json=as_json)


@cli.command()
def commands() -> None:
    """Print every command as a Markdown table."""
    click.echo("| command | what it does |\n|---|---|")
    for path, command in _commands_below(cli, "lskd"):
        click.echo(f"| `{path}` | {command.get_short_help_str(200)} |")


def _commands_below(group: click.Group, path: str) -> list[tuple[str, click.Command]]:
    """Return the path and command of every visible command in a group, in order."""
    commands: list[tuple[str, click.Command]] = []
    for name in group.list_commands(click.Context(group)):
        command = group.commands[name]
        if isinstance(command, click.Group):
            commands += _commands_below(command, f"{path} {name}")
        elif not command.hidden:
            commands.append((f"{path} {name}", command))
    return commands
