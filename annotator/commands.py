"""The command that checks what labelling has stored."""

import click

from lskd_console import as_json_option, open_store, print_result, store_option


@click.command()
@click.option("--repair", is_flag=True, help="Restore what can be restored without a decision.")
@store_option
@as_json_option
def check(url: str, *, repair: bool, as_json: bool) -> None:
    """Check that votes, leases and batches are consistent.

    The exit code is 1 if a violation remains.
    """
    from annotator.labelling import invariants

    checks = invariants.check(open_store(url), repair=repair)
    print_result(checks, as_json=as_json)
    if any(row.violations > row.repaired for row in checks):
        raise SystemExit(1)
