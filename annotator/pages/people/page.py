"""The page of accounts, invitations, studies and API tokens. It uses the JSON API only."""

import gradio as gr

from annotator.pages import shell
from db.store.session import Store


def build(_store: Store) -> gr.Blocks:
    """The page."""
    with gr.Blocks() as page:
        shell.render_shell("people")
    return page
