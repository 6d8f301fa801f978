"""Load checkpoints of LAVIS's Blip2Qformer into models of transformers.

LAVIS saves only trained weights: a released critic or student has no vision tower, which is taken
from a base model. Every key is renamed, dropped by name, or refused.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blip2.training.loading import first_line
from regions.errors import InvalidError, NotFoundError

State = dict[str, Tensor]

_KEY_PATTERNS: tuple[tuple[str, str], ...] = (
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
"""LSKD's additional heads, for question and answer, and for the rationale."""

_DROPPED = re.compile(
    r"temp$|Qformer\.cls\.|Qformer\.bert\.embeddings\.position_ids$|visual_encoder\.rel_pos_bias"
)
_QV_BIAS = re.compile(r"visual_encoder\.blocks\.(\d+)\.attn\.([qv])_bias$")
_LM_HEAD = {
    "transform.dense.weight": "dense.weight",
    "transform.dense.bias": "dense.bias",
    "transform.LayerNorm.weight": "norm.weight",
    "transform.LayerNorm.bias": "norm.bias",
    "bias": "bias",
}
"""Weights of the language-model head, under `Qformer.cls.predictions`, except the embeddings."""
_TIED_EMBEDDINGS = "Qformer.cls.predictions.decoder.weight"
"""The output embeddings, which are tied to the word embeddings that some files lack."""

POSITIONS = "vision_model.embeddings.position_embedding"


def load_state(file: Path) -> State:
    """Return the weights of a LAVIS checkpoint; UserError for another file or a truncated one."""
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise NotFoundError("no such file", where=str(file), hint="check the path") from error
    except Exception as error:  # torch and pickle each have their own
        raise InvalidError(
            f"not a checkpoint, or a truncated one: {first_line(error):.160}",
            where=str(file),
            hint="download it again",
        ) from error
    state = checkpoint.get("model") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InvalidError("not a checkpoint of LAVIS: it has no `model`", where=str(file))
    return dict(state)


def rename_keys(state: Mapping[str, Tensor]) -> tuple[State, State]:
    """Return the weights under transformers' names, and those of LSKD's heads under their own.

    InvalidError names the first unknown key.
    """
    renamed: State = {}
    heads: State = {}
    for key, value in state.items():
        if HEADS.match(key):
            heads[key] = value
        elif not _DROPPED.match(key) and not _QV_BIAS.match(key):
            renamed[_rename_key(key)] = value
    renamed |= dict(_qkv_biases(state))
    embeddings = "embeddings.word_embeddings.weight"
    if embeddings not in renamed and _TIED_EMBEDDINGS in state:
        renamed[embeddings] = state[_TIED_EMBEDDINGS]
    return renamed, heads


def has_language_model(state: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint is of BLIP-2's second stage, with a language model."""
    return any(key.startswith(("t5_proj.", "opt_proj.")) for key in state)


def lm_head_state(state: Mapping[str, Tensor]) -> tuple[State, float | None]:
    """Return the weights of the language-model head, and the temperature of the contrastive loss.

    Empty and None in checkpoints without them.
    """
    prefix = "Qformer.cls.predictions."
    head = {name: state[prefix + key] for key, name in _LM_HEAD.items() if prefix + key in state}
    return head, float(state["temp"]) if "temp" in state else None


def apply_to(
    state: Mapping[str, Tensor],
    model: Any,  # noqa: ANN401 - of transformers
    size: int,
    where: str,
) -> tuple[State, State, list[str]]:
    """Load a checkpoint into its base model, which takes images of `size` from then on.

    Returns the weights of the checkpoint, those of LSKD's heads, and the names of weights that the
    checkpoint lacks. InvalidError for a checkpoint of another model, or an unknown weight.
    """
    renamed, heads = rename_keys(state)
    patch_size = int(model.config.vision_config.patch_size)
    if size < patch_size:
        raise InvalidError(
            f"the image size must be at least {patch_size} (got {size})",
            hint="use --image-size 480, as LSKD does",
        )
    # As in LAVIS, pixels after the last whole patch are ignored: 4 of 480.
    embeddings = model.vision_model.embeddings
    positions = resize_positions(embeddings.position_embedding.data, (size // patch_size) ** 2)
    embeddings.position_embedding = type(embeddings.position_embedding)(positions)
    model.config.vision_config.image_size = size
    return renamed, heads, load_into(model, renamed, where)


def resize_positions(positions: Tensor, patches: int) -> Tensor:
    """Resize position embeddings, shape (1, n * n + 1, width), to `patches` patches.

    Bicubic interpolation, as in LAVIS: 16 x 16 patches at 224 px become 34 x 34 at 480 px.
    """
    side, new_side = round((positions.shape[1] - 1) ** 0.5), round(patches**0.5)
    if side == new_side:
        return positions
    class_position, grid = positions[:, :1], positions[:, 1:]
    grid = grid.reshape(1, side, side, -1).permute(0, 3, 1, 2).float()
    grid = torch.nn.functional.interpolate(
        grid, size=(new_side, new_side), mode="bicubic", align_corners=False
    )
    grid = grid.permute(0, 2, 3, 1).reshape(1, new_side * new_side, -1).to(positions.dtype)
    return torch.cat([class_position, grid], dim=1)


def load_into(model: Any, state: State, where: str) -> list[str]:  # noqa: ANN401 - of transformers
    """Load renamed weights into a base model; return the keys that are not in `state`.

    InvalidError for a key that the model lacks, or whose shape differs.
    """
    hint = "use the base model that the checkpoint was trained from"
    base = model.state_dict()
    if POSITIONS in state and POSITIONS in base:
        patches = base[POSITIONS].shape[1] - 1
        state = state | {POSITIONS: resize_positions(state[POSITIONS], patches)}
    for key, value in state.items():
        if key not in base:
            raise InvalidError(f"the base model has no {key}", where=where, hint=hint)
        if base[key].shape != value.shape:
            raise InvalidError(
                f"{key} has shape {tuple(value.shape)}, in the base model {tuple(base[key].shape)}",
                where=where,
                hint=hint,
            )
    model.load_state_dict(state, strict=False)
    # The layer norm after the tower has 1e-5 in LAVIS, and 1e-6 by default in transformers.
    model.vision_model.post_layernorm.eps = 1e-5
    return sorted(base.keys() - state.keys())


def _rename_key(key: str) -> str:
    for pattern, name in _KEY_PATTERNS:
        if match := re.match(pattern, key):
            return match.expand(name) + key[match.end() :]
    raise InvalidError(f"unknown weight in the checkpoint: {key[:120]}", hint="use one of BLIP-2")


def _qkv_biases(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Join the biases of queries and values, which LAVIS stores apart; keys have none."""
    for key, query in state.items():
        if (match := _QV_BIAS.match(key)) and match[2] == "q":
            value = state[key.replace("q_bias", "v_bias")]
            name = f"vision_model.encoder.layers.{match[1]}.self_attn.qkv.bias"
            yield name, torch.cat([query, torch.zeros_like(query), value])
