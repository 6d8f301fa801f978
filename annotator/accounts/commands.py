"""Commands about accounts and their API tokens."""

from typing import TYPE_CHECKING

import click

from lskd_console import Group, as_json_option, open_store, print_result, store_option

if TYPE_CHECKING:
    from db.schema import Role

_ROLES = click.Choice(["annotator", "researcher", "admin"])


@click.group(cls=Group)
def users() -> None:
    """Manage accounts and API tokens."""


@users.command("add")
@click.argument("name")
@click.option(
    "--role", type=_ROLES, default="annotator", show_default=True, help="What the account may do."
)
@click.password_option(help="Prompted for if omitted.")
@store_option
def users_add(url: str, name: str, role: "Role", password: str) -> None:
    """Add an account.

    Once there is an account, everyone has to sign in.
    """
    from annotator.accounts.sessions import add_person

    with open_store(url).write() as session:
        add_person(session, name, role, password)
    click.echo(f"added {name} with the role {role}")


@users.command("list")
@store_option
@as_json_option
def users_list(url: str, *, as_json: bool) -> None:
    """List all accounts and simulated annotators."""
    from annotator.accounts.accounts import list_accounts

    with open_store(url).read() as session:
        print_result(list_accounts(session), as_json=as_json)


@users.command("token")
@click.argument("name")
@click.argument("purpose")
@store_option
def users_token(url: str, name: str, purpose: str) -> None:
    """Create an API token for the account NAME.

    The token may do what the account may. It is printed once and cannot be shown again.
    """
    from annotator.accounts.accounts import create_token
    from annotator.accounts.sessions import account_by_name

    with open_store(url).write() as session:
        click.echo(create_token(session, account_by_name(session, name).id, purpose))
