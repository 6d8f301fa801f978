"""Generation with the server of transformers and a tiny model."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from sqlalchemy import select
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from db.schema import Call, Rejection
from db.store.session import Store
from generation.runs.cost_estimate import estimate_cost
from generation.runs.run import generate
from generation.settings import LLMSettings, TripleSettings
from generation.tasks.triples import Triples
from tests.servers import free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of two layers whose tokens are bytes, with a chat template."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: n for n, token in enumerate(["<s>", "</s>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    fast.chat_template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
        "assistant: "
    )
    folder = tmp_path / "tiny"
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=8192,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    command = Path(sys.executable).parent / "transformers"
    served = subprocess.Popen(
        [str(command), "serve", "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(1200):
        try:
            httpx.get(f"http://127.0.0.1:{port}/health")
            break
        except httpx.TransportError:
            assert served.poll() is None, "the server does not start"
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}/v1"
    served.kill()
    served.wait()


def test_every_reply_of_a_tiny_model_is_accounted_for(
    pictures: Store, model: Path, address: str
) -> None:
    task = Triples(TripleSettings(samples=1))
    settings = LLMSettings(
        model=str(model), base_url=address, tokenizer=str(model), max_tokens=8, concurrency=2
    )
    estimate = estimate_cost(pictures, task, settings)
    run = generate(pictures, task, settings)
    assert (run.results["replies"], run.results["failed_calls"]) == (19, 0)
    assert run.results["prompt_tokens"] == pytest.approx(estimate.prompt_tokens, rel=0.03)
    with pictures.read() as session:
        assert set(session.scalars(select(Call.status))) == {"answered"}
        assert len(session.scalars(select(Rejection.id)).all()) == 19
        assert set(session.scalars(select(Rejection.reason))) <= {"cut_off", "no_json", "empty"}
