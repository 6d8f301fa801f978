"""A released critic of LAVIS, as one of ours: its weights in a base, drawn as it learned to see."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from blip2 import lavis_checkpoint as lavis
from critic.blip2 import ABOUT, HEADS, load_base
from critic.judge import Heads
from critic.settings import PictureSettings
from regions.errors import UserError


def convert(file: Path, base: str, out: Path, size: int) -> dict[str, Any]:
    """Write a critic into the empty folder `out`; how many weights came from where.

    UserError for a checkpoint of another model, an unknown weight, or a folder that is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise UserError("the folder is not empty", where=str(out), todo="choose another --out")
    ours, heads = lavis.renamed(lavis.load(file))
    model, tokenizer = load_base(base)
    patch = int(model.config.vision_config.patch_size)
    if size < patch:
        raise UserError(f"a picture of {size} pixels", todo="use --size 480, as LSKD does")
    _enlarge(model, size, patch)
    lacking = lavis.into(model, ours, str(file))
    own = Heads(int(model.config.qformer_config.hidden_size))
    wanted = {name: tuple(weight.shape) for name, weight in own.state_dict().items()}
    if heads and {name: tuple(weight.shape) for name, weight in heads.items()} != wanted:
        raise UserError("the heads of its parts have another shape", where=str(file))
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    save_file(heads or own.state_dict(), out / HEADS)
    settings = PictureSettings(model=str(out.resolve()), size=size, style="lskd")
    (out / ABOUT).write_text(json.dumps(asdict(settings)), "utf-8")
    return {
        "folder": str(out),
        "weights of the checkpoint": len(ours),
        "weights of the base": len(lacking),
        "heads of the parts": "of the checkpoint" if heads else "none: not trained",
    }


def _enlarge(model: Any, size: int, patch: int) -> None:  # noqa: ANN401 - of transformers
    """Let the tower take pictures of another size: its positions are resized once and for all.

    What is left of a side behind its last whole patch is not seen, as in LAVIS: 4 pixels of 480.
    """
    embeddings = model.vision_model.embeddings
    positions = lavis.resized(embeddings.position_embedding.data, (size // patch) ** 2)
    embeddings.position_embedding = type(embeddings.position_embedding)(positions)
    model.config.vision_config.image_size = size
