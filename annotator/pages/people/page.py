"""The admin's page: accounts, invitations, studies; and tokens. It talks to the API alone."""

import gradio as gr

from annotator.pages import shell
from db.store.session import Store


def build(_store: Store) -> gr.Blocks:
    """The page; all that it shows comes by the API."""
    with gr.Blocks() as page:
        shell.render_shell("people")
    return page
