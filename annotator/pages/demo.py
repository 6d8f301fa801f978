"""The researcher's page."""

import gradio as gr

from db.session import Store


def build(_store: Store) -> gr.Blocks:
    """TODO."""
    with gr.Blocks() as page:
        gr.Markdown("x")
    return page
