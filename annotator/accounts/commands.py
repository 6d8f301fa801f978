"""Commands about accounts: roles, passwords, sessions, API tokens."""

from typing import TYPE_CHECKING

import click

from lskd_console import Group, as_json_option, open_store, print_result, store_option

if TYPE_CHECKING:
    from db.schema import Role

_ROLES = click.Choice(["annotator", "researcher", "admin"])


@click.group(cls=Group)
def users() -> None:
    """Manage accounts, passwords, sessions and API tokens."""


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


@users.command("update")
@click.argument("name")
@click.option("--role", type=_ROLES, help="What the account may do from now on.")
@click.option("--active/--closed", default=None, help="Whether the account may sign in.")
@store_option
def users_update(url: str, name: str, role: "Role | None", *, active: bool | None) -> None:
    """Change the role of NAME, close it or open it again.

    Open sessions and API tokens follow within two seconds. Closing keeps the votes.
    """
    from annotator.accounts.accounts import update_account
    from annotator.accounts.sessions import account_by_name

    with open_store(url).write() as session:
        person = account_by_name(session, name)
        role = person.role if role is None else role
        active = person.active if active is None else active
        update_account(session, person.id, role=role, active=active)
    click.echo(f"{name} has the role {role} and is {'active' if active else 'closed'}")


@users.command("password")
@click.argument("name")
@click.password_option(help="Prompted for if omitted.")
@store_option
def users_password(url: str, name: str, password: str) -> None:
    """Set the password of NAME and sign it out everywhere."""
    from annotator.accounts.password_changes import set_password
    from annotator.accounts.sessions import account_by_name

    with open_store(url).write() as session:
        set_password(session, account_by_name(session, name).id, password)
    click.echo(f"set the password of {name}; its sessions and API tokens are revoked")


@users.command("reset")
@click.argument("name")
@store_option
def users_reset(url: str, name: str) -> None:
    """Print a link to choose a new password.

    It is the path of a link for the owner of the account NAME. It works once, for 24 hours, and
    then ends all other sessions.
    """
    from annotator.accounts.password_changes import create_reset
    from annotator.accounts.sessions import account_by_name

    with open_store(url).write() as session:
        click.echo(f"/reset/{create_reset(session, account_by_name(session, name).id)}")


@users.command("sign-out")
@click.argument("name")
@store_option
def users_sign_out(url: str, name: str) -> None:
    """End all sessions of NAME and revoke its API tokens."""
    from annotator.accounts.sessions import account_by_name, sign_out_everywhere

    with open_store(url).write() as session:
        sign_out_everywhere(session, account_by_name(session, name).id)
    click.echo(f"signed {name} out everywhere and revoked its API tokens")
