"""Checkpoints of LAVIS's Blip2Qformer, as models of transformers.

LAVIS saves only what was trained: a released critic or student has no vision tower, which comes
from a base. Every key is accounted for: mapped, dropped by name, or refused.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regions.errors import UserError

State = dict[str, Tensor]

_RENAMED: tuple[tuple[str, str], ...] = (
    (r"visual_encoder\.cls_token", "vision_model.embeddings.class_embedding"),
    (r"visual_encoder\.pos_embed", "vision_model.embeddings.position_embedding"),
    (r"visual_encoder\.patch_embed\.proj\.", "vision_model.embeddings.patch_embedding."),
    (r"visual_encoder\.blocks\.(\d+)\.norm(\d)\.", r"vision_model.encoder.layers.\1.layer_norm\2."),
    (
        r"visual_encoder\.blocks\.(\d+)\.attn\.qkv\.",
        r"vision_model.encoder.layers.\1.self_attn.qkv.",
    ),
    (
        r"visual_encoder\.blocks\.(\d+)\.attn\.proj\.",
        r"vision_model.encoder.layers.\1.self_attn.projection.",
    ),
    (r"visual_encoder\.blocks\.(\d+)\.mlp\.", r"vision_model.encoder.layers.\1.mlp."),
    (r"ln_vision\.", "vision_model.post_layernorm."),
    (r"Qformer\.bert\.embeddings\.LayerNorm\.", "qformer.layernorm."),
    (r"Qformer\.bert\.embeddings\.(word|position)_embeddings\.", r"embeddings.\1_embeddings."),
    (
        r"Qformer\.bert\.encoder\.layer\.(\d+)\.(attention|crossattention)\.self\.",
        r"qformer.encoder.layer.\1.\2.attention.",
    ),
    (r"Qformer\.bert\.encoder\.", "qformer.encoder."),
    (r"vision_proj\.", "vision_projection."),
    (r"text_proj\.", "text_projection."),
    (r"query_tokens$", "query_tokens"),
    (r"itm_head\.", "itm_head."),
    (r"(?:t5|opt)_proj\.", "language_projection."),
)
HEADS = re.compile(r"(qa|r)_head\.(\d+)\.(weight|bias)$")
"""LSKD's own heads: of question and answer, and of the rationale."""

_DROPPED = re.compile(
    r"temp$|Qformer\.cls\.|Qformer\.bert\.embeddings\.position_ids$|visual_encoder\.rel_pos_bias"
)
_HALF_BIAS = re.compile(r"visual_encoder\.blocks\.(\d+)\.attn\.([qv])_bias$")
_CAPTIONER = {
    "transform.dense.weight": "dense.weight",
    "transform.dense.bias": "dense.bias",
    "transform.LayerNorm.weight": "norm.weight",
    "transform.LayerNorm.bias": "norm.bias",
    "bias": "bias",
}
"""Of `Qformer.cls.predictions`, what a captioner is made of besides the words."""
_WORDS = "Qformer.cls.predictions.decoder.weight"
"""Where the word embeddings survive in a file that lacks them: the two were tied."""

POSITIONS = "vision_model.embeddings.position_embedding"


def load_state(file: Path) -> State:
    """The weights of a LAVIS checkpoint; UserError for a file that is none, or is cut off."""
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError("no such file", where=str(file), hint="check the path") from error
    except Exception as error:  # torch and pickle each have their own
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise UserError(
            f"no checkpoint, or it is cut off: {reason}", where=str(file), hint="fetch it again"
        ) from error
    state = found.get("model") if isinstance(found, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(
            "this is no checkpoint of LAVIS: there is no `model` in it", where=str(file)
        )
    return dict(state)


def rename_keys(state: Mapping[str, Tensor]) -> tuple[State, State]:
    """The weights under transformers' names, and those of LSKD's heads under their own.

    UserError names the first key that nothing is known of.
    """
    ours: State = {}
    heads: State = {}
    for key, value in state.items():
        if HEADS.match(key):
            heads[key] = value
        elif not _DROPPED.match(key) and not _HALF_BIAS.match(key):
            ours[_name(key)] = value
    ours |= dict(_biases(state))
    words = "embeddings.word_embeddings.weight"
    if words not in ours and _WORDS in state:
        ours[words] = state[_WORDS]
    return ours, heads


def has_language_model(state: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint is of a BLIP-2 with a language model, not of the first stage."""
    return any(key.startswith(("t5_proj.", "opt_proj.")) for key in state)


def lm_head_state(state: Mapping[str, Tensor]) -> tuple[State, float | None]:
    """What captions, under the names of its layers, and contrast's temperature; where they are."""
    before = "Qformer.cls.predictions."
    found = {ours: state[before + key] for key, ours in _CAPTIONER.items() if before + key in state}
    return found, float(state["temp"]) if "temp" in state else None


def apply_to(
    state: Mapping[str, Tensor],
    model: Any,  # noqa: ANN401 - of transformers
    size: int,
    where: str,
) -> tuple[State, State, list[str]]:
    """Put a checkpoint onto its base, which sees pictures of `size` from then on.

    Returns the weights of the checkpoint, those of LSKD's heads, and the names of those that stay
    the base's. UserError for a checkpoint of another model, or an unknown weight.
    """
    ours, heads = rename_keys(state)
    patch = int(model.config.vision_config.patch_size)
    if size < patch:
        raise UserError(f"a picture of {size} pixels", hint="use --size 480, as LSKD does")
    # What is left of a side behind its last whole patch is not seen, as in LAVIS: 4 of 480 pixels.
    embeddings = model.vision_model.embeddings
    positions = resize_positions(embeddings.position_embedding.data, (size // patch) ** 2)
    embeddings.position_embedding = type(embeddings.position_embedding)(positions)
    model.config.vision_config.image_size = size
    return ours, heads, load_into(model, ours, where)


def resize_positions(positions: Tensor, patches: int) -> Tensor:
    """Positions of a square of patches, shape (1, n * n + 1, width), for `patches` of them.

    Bicubic, as LAVIS resizes them: 16 x 16 at 224 px to 34 x 34 at 480.
    """
    side, wanted = round((positions.shape[1] - 1) ** 0.5), round(patches**0.5)
    if side == wanted:
        return positions
    first, grid = positions[:, :1], positions[:, 1:]
    grid = grid.reshape(1, side, side, -1).permute(0, 3, 1, 2).float()
    grid = torch.nn.functional.interpolate(
        grid, size=(wanted, wanted), mode="bicubic", align_corners=False
    )
    grid = grid.permute(0, 2, 3, 1).reshape(1, wanted * wanted, -1).to(positions.dtype)
    return torch.cat([first, grid], dim=1)


def load_into(model: Any, state: State, where: str) -> list[str]:  # noqa: ANN401 - of transformers
    """Load renamed weights into a model; the keys that the file lacks, which stay the base's.

    UserError for a key that the model lacks, or one of another shape.
    """
    own = model.state_dict()
    if POSITIONS in state and POSITIONS in own:
        state = state | {POSITIONS: resize_positions(state[POSITIONS], own[POSITIONS].shape[1] - 1)}
    for key, value in state.items():
        if key not in own:
            raise UserError(f"the base has no {key}", where=where, hint="use the base it is of")
        if own[key].shape != value.shape:
            raise UserError(
                f"{key} is {tuple(value.shape)}, in the base {tuple(own[key].shape)}",
                where=where,
                hint="use the base it is of",
            )
    model.load_state_dict(state, strict=False)
    # LAVIS's layer norms behind the tower have 1e-5, transformers' 1e-6 by default.
    model.vision_model.post_layernorm.eps = 1e-5
    return sorted(own.keys() - state.keys())


def _name(key: str) -> str:
    for pattern, name in _RENAMED:
        if found := re.match(pattern, key):
            return found.expand(name) + key[found.end() :]
    raise UserError(f"an unknown weight in the checkpoint: {key[:120]}", hint="is it BLIP-2's?")


def _biases(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """LAVIS has no bias for keys, and keeps those of queries and values apart."""
    for key, query in state.items():
        if (found := _HALF_BIAS.match(key)) and found[2] == "q":
            value = state[key.replace("q_bias", "v_bias")]
            name = f"vision_model.encoder.layers.{found[1]}.self_attn.qkv.bias"
            yield name, torch.cat([query, torch.zeros_like(query), value])
