"""Makes reference outputs with LAVIS itself, from a tiny Blip2Qformer of random weights.

    python3 -m venv lavis && lavis/bin/pip install --upgrade 'pip>=25.1'
    lavis/bin/pip install --group lavis
    lavis/bin/python tests/blip2/lavis_reference.py tests/blip2/lavis_reference.pth

In an environment of its own: LAVIS wants transformers 4. The file holds a checkpoint as LAVIS saves
it, pictures, texts, and what LAVIS makes of them; `test_lavis_parity.py` holds ours against it.
"""

import os
import sys
from functools import partial
from typing import Any

import torch

IMAGE, PATCH, WIDTH, HIDDEN, WORDS, QUERIES = 28, 14, 32, 24, 50, 4


def _make_torchvision_load() -> None:
    """PyPI's torchvision is built for CUDA: its operators are declared, and never called."""
    library: Any = torch.library
    declared = library.Library("torchvision", "DEF")
    declared.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    declared.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    globals()["_declared"] = declared  # it unregisters itself when it goes


def model() -> Any:  # noqa: ANN401 - LAVIS ships no types
    """A Blip2Qformer of two layers; every weight is drawn, so that a wrong place shows."""
    from lavis.models.blip2_models.blip2 import Blip2Base, LayerNorm
    from lavis.models.blip2_models.blip2_qformer import Blip2Qformer
    from lavis.models.blip2_models.Qformer import BertConfig, BertLMHeadModel
    from lavis.models.eva_vit import VisionTransformer

    class Words:
        """As many as there are word embeddings; no text is tokenized here."""

        def __len__(self) -> int:
            return WORDS

    def tokenizer(cls: type) -> Words:
        del cls
        return Words()

    def tower(cls: type, *_: object) -> tuple[Any, Any]:
        del cls
        lavis_model = VisionTransformer(
            img_size=IMAGE,
            patch_size=PATCH,
            embed_dim=WIDTH,
            depth=2,
            num_heads=4,
            mlp_ratio=2.0,
            qkv_bias=True,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        )
        return lavis_model, LayerNorm(WIDTH)

    def qformer(cls: type, queries: int, width: int, every: int = 2) -> tuple[Any, Any]:
        del cls
        config = BertConfig(
            vocab_size=WORDS,
            hidden_size=HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=48,
            max_position_embeddings=32,
            encoder_width=width,
            add_cross_attention=True,
            cross_attention_freq=every,
            query_length=queries,
        )
        return BertLMHeadModel(config), torch.nn.Parameter(torch.zeros(1, queries, HIDDEN))

    Blip2Base.init_tokenizer = classmethod(tokenizer)
    Blip2Base.init_vision_encoder = classmethod(tower)
    Blip2Base.init_Qformer = classmethod(qformer)
    lavis_model = Blip2Qformer(num_query_token=QUERIES, embed_dim=16, max_txt_len=16)
    torch.manual_seed(7)
    for weight in lavis_model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return lavis_model.eval()


@torch.no_grad()
def main(file: str) -> None:
    """Write the reference."""
    _make_torchvision_load()
    lavis_model = model()
    generator = torch.Generator().manual_seed(3)
    pictures = torch.randn(3, 3, IMAGE, IMAGE, generator=generator)
    ids = torch.randint(1, WORDS, (3, 10), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 7:], mask[2, 4:] = 0, 0
    image_embeds = lavis_model.ln_vision(lavis_model.visual_encoder(pictures))
    queries = lavis_model.query_tokens.expand(3, -1, -1)
    attends = torch.cat([torch.ones(3, QUERIES, dtype=torch.long), mask], dim=1)
    fused = lavis_model.Qformer.bert(
        ids,
        query_embeds=queries,
        attention_mask=attends,
        encoder_hidden_states=image_embeds,
        encoder_attention_mask=torch.ones(image_embeds.shape[:-1], dtype=torch.long),
        return_dict=True,
    ).last_hidden_state[:, :QUERIES]
    torch.save(
        {
            "model": lavis_model.state_dict(),
            "pictures": pictures,
            "ids": ids,
            "mask": mask,
            "seen": image_embeds,
            "itm": lavis_model.itm_head(fused).mean(dim=1),
        },
        file,
    )


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    distributed: Any = torch.distributed
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    main(sys.argv[1])
