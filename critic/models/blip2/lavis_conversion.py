"""Convert a critic checkpoint of LAVIS, as LSKD released it, into a critic of this package."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import save_file

from blip2.model import lavis_checkpoint as lavis
from critic.models.blip2.model import CONFIG_FILE, HEADS_FILE, load_base_model
from critic.models.blip2.network import PartHeads
from critic.settings import ModelConfig
from db.store.files import atomic_folder
from regions.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Conversion:
    """Where the weights of a converted critic come from."""

    folder: str
    checkpoint_weights: int
    base_weights: int
    part_heads: str


def convert(file: Path, base: str, out: Path, image_size: int) -> Conversion:
    """Write a critic into the new or empty folder `out`.

    UserError for a checkpoint of another model, an unknown weight, or a folder that is not empty.
    """
    with atomic_folder(out) as folder:
        model, tokenizer = load_base_model(base)
        loaded, heads, missing = lavis.apply_to(
            lavis.load_state(file), model, image_size, str(file)
        )
        untrained = PartHeads(int(model.config.qformer_config.hidden_size)).state_dict()
        if heads and _shapes(heads) != _shapes(untrained):
            raise InvalidError("the part heads have unexpected shapes", where=str(file))
        config = ModelConfig(model=str(out.resolve()), image_size=image_size, style="lskd")
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        save_file(heads or untrained, folder / HEADS_FILE)
        (folder / CONFIG_FILE).write_text(json.dumps(asdict(config)), "utf-8")
    return Conversion(
        folder=str(out),
        checkpoint_weights=len(loaded),
        base_weights=len(missing),
        part_heads="from the checkpoint" if heads else "untrained: not in the checkpoint",
    )


def _shapes(state: lavis.State) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in state.items()}
