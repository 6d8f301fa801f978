"""The command line: one group of subcommands a package, each importing what it runs only then.

What commands do alike is in `lskd_console`. Every command takes `--store`, long ones show progress.
"""

from pathlib import Path

import click

from annotator import commands as labelling
from annotator.jobs import student_loader
from critic.commands import critic
from generation.commands import generate
from generation.verbalize.commands import verbalize
from lskd_console import Group, as_json_option, open_store, print_result, progress_bar, store_option
from regions.errors import UserError
from student.commands import student

_SIMULATED = (0.9, 0.85, 0.8)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lskd-studio")
@click.pass_context
def cli(context: click.Context) -> None:
    """Region-grounded visual commonsense: write triples, judge them, learn from them."""
    context.obj = student_loader.ready


for _command in (
    labelling.batch,
    labelling.reorder,
    labelling.gold,
    labelling.users,
    labelling.study,
    labelling.labels,
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
def app(url: str, host: str, port: int) -> None:
    """Serve the web app; with no store yet, make one with the demo project."""
    from annotator.web.server import serve
    from db.demo import project
    from db.store.session import Store

    try:
        store = Store.open(url)
    except UserError as error:
        if error.problem != "no store here":
            raise
        store = Store.create(url)
        project.create(store)
        click.echo(f"made {url} with the demo project")
    serve(store, host=host, port=port)


@cli.command("import")
@click.argument("format_", metavar="FORMAT")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--images", required=True, help="A folder, a .zip, or an address such as s3://BUCKET/FOLDER."
)
@click.option("--source", default="", help="Name for where they come from; default: the folder's.")
@click.option("--accept-means", help="In label files with numbers: which number is accept, 1 or 0.")
@click.option("--strict", is_flag=True, help="Stop at the first bad row and change nothing.")
@store_option
@as_json_option
def import_(
    *,
    url: str,
    format_: str,
    file: Path,
    images: str,
    source: str,
    accept_means: str | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Bring in FILE: lskd, coco, vcr, visual-genome, llava or jsonl; bad rows are counted."""
    from db.store.session import Store
    from db.transfer.importing import check_arguments, import_file

    check_arguments(format_, file, images, accept_means)
    report = import_file(
        Store.create(url),
        format_,
        file,
        images,
        source=source,
        strict=strict,
        accept_means=accept_means,
        progress=progress_bar("bytes"),
    )
    print_result(report.as_dict(), as_json=as_json)


@cli.command()
@click.argument(
    "format_", metavar="FORMAT", type=click.Choice(["lskd", "jsonl", "hf", "llava", "votes"])
)
@click.option("--release", help="Which triples, for lskd, jsonl and hf.")
@click.option("--batch", "batch_name", help="For votes: only those of this batch.")
@click.option(
    "--shuffle-seed",
    type=int,
    help="For llava: draw whether picture or question comes first; default: the picture.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to write; for hf, a folder.",
)
@click.option("--force", is_flag=True, help="Replace what is there.")
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
    """Write a release (lskd, jsonl, hf), instructions (llava), votes (csv, jsonl, parquet)."""
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
        raise UserError(f"{format_} needs a release", hint="use --release NAME")
    if format_ == "hf":
        from db.formats.hf import export_hf

        kept = export_hf(store, release, out, force=force, progress=progress_bar("images"))
        print_result({"release": release, "folder": str(out), "triples": kept}, as_json=as_json)
        return
    written = exporting.export(
        store, format_, release, out, force=force, progress=progress_bar("triples")
    )
    print_result({"release": release, "file": str(out), "triples": written}, as_json=as_json)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@store_option
@as_json_option
def backup(url: str, file: Path, *, as_json: bool) -> None:
    """Write the whole store into one file, while people work."""
    from db.store.backup import backup as write

    counts = write(open_store(url), file, progress_bar("rows"))
    print_result(
        {"file": str(file), **{name: n for name, n in counts.items() if n}}, as_json=as_json
    )


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@store_option
@as_json_option
def restore(url: str, file: Path, *, as_json: bool) -> None:
    """Make a new store out of a backup; --store says where."""
    from db.store.backup import restore as read

    counts = read(file, url, progress_bar("rows"))
    print_result({"store": url, **{name: n for name, n in counts.items() if n}}, as_json=as_json)


@cli.command()
@store_option
@as_json_option
def status(url: str, *, as_json: bool) -> None:
    """What the store holds."""
    from db.store.status import status as read

    print_result(read(open_store(url)), as_json=as_json)


@cli.command("simulate-votes")
@click.option(
    "--accuracy",
    "accuracies",
    multiple=True,
    default=_SIMULATED,
    show_default=True,
    help="One simulated annotator each: how often it agrees with the answer key.",
)
@click.option("--seed", default=0, show_default=True, help="Draws their mistakes.")
@store_option
@as_json_option
def simulate_votes(url: str, accuracies: tuple[float, ...], seed: int, *, as_json: bool) -> None:
    """Let simulated annotators, named as such, vote on the demo from its answer key."""
    from db.demo.simulated_annotators import simulate_votes as simulate

    votes = simulate(open_store(url), accuracies=accuracies, seed=seed)
    print_result({"simulated annotators": len(accuracies), "new votes": votes}, as_json=as_json)


@cli.command()
def commands() -> None:
    """Print every command as a Markdown table, as the README has it."""
    click.echo("| command | what it does |\n|---|---|")
    for path, command in _walk(cli, "lskd"):
        click.echo(f"| `{path}` | {command.get_short_help_str(200)} |")


def _walk(group: click.Group, path: str) -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += _walk(command, f"{path} {name}")
        else:
            found.append((f"{path} {name}", command))
    return found
