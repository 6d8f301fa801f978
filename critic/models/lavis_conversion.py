"""A released critic of LAVIS, as one of ours: its weights in a base, drawn as it learned to see."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from blip2.model import lavis_checkpoint as lavis
from critic.models.blip2 import ABOUT, HEADS, load_base
from critic.models.network import Heads
from critic.settings import PictureSettings
from db.store.files import atomic_folder
from regions.errors import UserError


def convert(file: Path, base: str, out: Path, size: int) -> dict[str, Any]:
    """Write a critic into the empty folder `out`; how many weights came from where.

    UserError for a checkpoint of another model, an unknown weight, or a folder that is not empty.
    """
    with atomic_folder(out) as folder:
        model, tokenizer = load_base(base)
        ours, heads, lacking = lavis.apply_to(lavis.load_state(file), model, size, str(file))
        own = Heads(int(model.config.qformer_config.hidden_size))
        wanted = {name: tuple(weight.shape) for name, weight in own.state_dict().items()}
        if heads and {name: tuple(weight.shape) for name, weight in heads.items()} != wanted:
            raise UserError("the heads of its parts have another shape", where=str(file))
        settings = PictureSettings(model=str(out.resolve()), size=size, style="lskd")
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        save_file(heads or own.state_dict(), folder / HEADS)
        (folder / ABOUT).write_text(json.dumps(asdict(settings)), "utf-8")
    return {
        "folder": str(out),
        "weights of the checkpoint": len(ours),
        "weights of the base": len(lacking),
        "heads of the parts": "of the checkpoint" if heads else "none: not trained",
    }
