"""Loading: the same logits as transformers from every layout, placed as asked, with no second copy in memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mambascope.models.bundled import BUNDLED
from mambascope.models.checkpoints.hash import weights_hash
from mambascope.models.load import load
from tests.models.checkpoints.small import (
    REFERENCES,
    VOCAB,
    assert_same_logits,
    original_layout,
    prompts,
    reference,
    reference_logits,
    tokenizer,
    write_original,
)


def as_bin(folder: Path) -> None:
    """Turn the folder's safetensors into pytorch_model.bin."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def as_bin_shards(folder: Path) -> None:
    """Turn the folder's safetensors into two .bin shards whose tensors alternate."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)]
    for number, name in enumerate(names):
        torch.save({k: tensors[k] for k in sorted(tensors)[number::2]}, folder / name)
    where = {k: names[i % 2] for i, k in enumerate(sorted(tensors))}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_model_object_gives_the_same_logits(kind):
    theirs = reference(kind)
    assert_same_logits(load(theirs), reference_logits(theirs))


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_saved_folder_gives_the_same_logits(kind, tmp_path):
    theirs = reference(kind)
    theirs.save_pretrained(tmp_path)
    assert_same_logits(load(tmp_path), reference_logits(theirs))


@pytest.mark.parametrize("kind", ["mamba", "mamba2", "gpt2", "llama-biased-tied"])
@pytest.mark.parametrize("layout", ["shards", "bin", "bin shards"])
def test_shards_and_bins_give_the_same_weights(kind, layout, tmp_path):
    theirs = reference(kind)
    theirs.save_pretrained(tmp_path, max_shard_size="5KB" if layout == "shards" else "1GB")
    if layout == "shards":
        assert (tmp_path / "model.safetensors.index.json").exists()
    elif layout == "bin":
        as_bin(tmp_path)
    else:
        as_bin_shards(tmp_path)
    assert weights_hash(load(tmp_path)) == weights_hash(load(theirs))


@pytest.mark.parametrize("kind", ["mamba", "mamba-untied-biased", "mamba2", "mamba2-limited"])
def test_the_original_layout_gives_the_same_logits(kind, tmp_path):
    theirs = reference(kind)
    config = original_layout(kind)[0]
    layer = config["ssm_cfg"]
    if kind == "mamba-untied-biased":
        layer |= {"bias": True, "conv_bias": False}
    if kind == "mamba2-limited":
        layer |= {"dt_limit": [0.01, float("inf")]}
    model = load(write_original(tmp_path, kind, ssm_cfg=layer))
    assert model.config.vocab_size == VOCAB > config["vocab_size"]
    assert_same_logits(model, reference_logits(theirs))


def test_the_original_layout_is_also_read_from_safetensors(tmp_path):
    write_original(tmp_path, "mamba")
    tensors = original_layout("mamba")[1]
    del tensors["lm_head.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "pytorch_model.bin").unlink()
    assert_same_logits(load(tmp_path), reference_logits(reference("mamba")))


@pytest.mark.parametrize("kind", ["mamba", "gpt2", "llama-biased-tied"])
def test_a_model_saved_without_its_head_loads_as_the_tied_model_that_it_is(kind, tmp_path):
    theirs = reference(kind)
    theirs.base_model.save_pretrained(tmp_path)
    assert_same_logits(load(tmp_path), reference_logits(theirs))
    assert_same_logits(load(theirs.base_model), reference_logits(theirs))


@pytest.mark.parametrize(
    ("kind", "extras"),
    [
        ("gpt2", ["transformer.h.0.attn.bias", "transformer.h.1.attn.masked_bias"]),
        ("gpt_neox", ["gpt_neox.layers.1.attention.rotary_emb.inv_freq"]),
        ("llama", ["model.layers.0.self_attn.rotary_emb.inv_freq"]),
        ("mamba", ["lm_head.weight"]),
    ],
)
def test_harmless_extra_tensors_are_tolerated(kind, extras, tmp_path):
    theirs = reference(kind)
    theirs.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors |= {name: theirs.get_input_embeddings().weight.detach().clone() for name in extras}
    save_file(tensors, tmp_path / "model.safetensors")
    assert_same_logits(load(tmp_path), reference_logits(theirs))


def test_the_older_name_of_the_embedding_is_read(tmp_path):
    theirs = reference("mamba")
    theirs.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["backbone.embedding.weight"] = tensors.pop("backbone.embeddings.weight")
    save_file(tensors, tmp_path / "model.safetensors")
    assert_same_logits(load(tmp_path), reference_logits(theirs))


def test_a_loaded_model_is_ready_to_be_read_and_not_to_be_trained():
    model = load(reference("mamba"))
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert all(p.is_contiguous() for p in load(reference("gpt2")).parameters())


def test_tied_embeddings_are_one_parameter():
    names = dict(load(reference("mamba")).named_parameters())
    assert "unembedding" not in names
    assert "unembedding" in dict(load(reference("mamba-untied-biased")).named_parameters())


def test_a_model_object_keeps_its_own_weights():
    theirs = reference("mamba")
    before = theirs.state_dict()["backbone.embeddings.weight"].clone()
    load(theirs).embedding.data.zero_()
    assert torch.equal(theirs.state_dict()["backbone.embeddings.weight"], before)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16", torch.bfloat16])
@pytest.mark.parametrize("layout", ["safetensors", "bin", "object"])
def test_weights_come_in_the_asked_dtype(dtype, layout, tmp_path):
    theirs = reference("mamba2")
    theirs.save_pretrained(tmp_path)
    if layout == "bin":
        as_bin(tmp_path)
    model = load(theirs if layout == "object" else tmp_path, dtype=dtype)
    wanted = dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype)
    assert {p.dtype for p in model.parameters()} == {wanted}
    weight = theirs.state_dict()["backbone.layers.1.mixer.in_proj.weight"]
    assert torch.equal(model.blocks[1].mixer.in_proj.weight, weight.to(wanted))


def test_half_precision_weights_run_in_full_precision(tmp_path):
    theirs = reference("mamba2").to(torch.bfloat16)
    theirs.save_pretrained(tmp_path)
    assert_same_logits(load(tmp_path), reference_logits(theirs.float()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_weights_come_to_the_asked_device(tmp_path):
    theirs = reference("mamba")
    theirs.save_pretrained(tmp_path)
    model = load(tmp_path, device="cuda")
    assert {p.device.type for p in model.parameters()} == {"cuda"}
    logits = model.run(prompts()[-1]).logits[0].cpu()
    torch.testing.assert_close(logits, reference_logits(theirs)[-1], atol=1e-4, rtol=1e-4)


def test_a_model_is_named_for_what_it_was_loaded_from(tmp_path, monkeypatch):
    reference("mamba").save_pretrained(tmp_path / "mine")
    assert load(tmp_path / "mine").name == str(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert load("mine").name == "mine"
    assert load(reference("mamba")).name == "MambaForCausalLM"


def test_a_folder_under_home_is_found(tmp_path, monkeypatch):
    reference("mamba").save_pretrained(tmp_path / "mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("~/mine").config.d_model == 24


def test_a_bundled_name_wins_over_a_folder(tmp_path, monkeypatch):
    """So that a result's `model` says what it was made with."""
    folder = tmp_path / "bundled"
    reference("gpt2").save_pretrained(folder)
    monkeypatch.setattr("mambascope.models.load.bundled_folder", lambda name: folder)
    monkeypatch.chdir(tmp_path)
    name = next(iter(BUNDLED))
    reference("mamba").save_pretrained(tmp_path / name)
    assert load(name).config.architecture == "transformer"
    assert load(Path(name)).config.architecture == "mamba1"


@pytest.mark.parametrize("kind", ["mamba", "gpt2", "llama"])
def test_the_tokenizer_beside_the_weights_is_read_as_it_was_written(kind, tmp_path):
    text = "The capital of France is Paris, 1234 times; naïve café."
    expected = tokenizer()
    reference(kind).save_pretrained(tmp_path)
    expected.save_pretrained(tmp_path)
    found = load(tmp_path).tokenizer
    assert found.encode(text) == expected.encode(text)
    assert found.decode(found.encode(text)) == text


@pytest.mark.parametrize("layout", ["transformers", "original"])
def test_a_bare_tokenizer_file_is_enough(layout, tmp_path):
    if layout == "original":
        write_original(tmp_path, "mamba")
    else:
        reference("mamba").save_pretrained(tmp_path)
    assert load(tmp_path).tokenizer is None
    tokenizer().backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert load(tmp_path).tokenizer.encode("Paris 12") == tokenizer().encode("Paris 12")


PEAK = """
import sys
from pathlib import Path
from mambascope.models.load import load

def peak():  # of this program alone; getrusage would include the one that started it
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])

load(sys.argv[1])  # a small one: everything is imported
before = peak()
model = load(sys.argv[2], dtype=sys.argv[3])
print((peak() - before) / sum(p.nbytes for p in model.parameters()))
"""


@pytest.fixture(scope="module")
def large_and_small(tmp_path_factory):
    """A checkpoint of 180 MB, of tensors between 6 kB and 50 MB, and a small one."""
    from transformers import MambaConfig, MambaForCausalLM

    large, small = (tmp_path_factory.mktemp(name) for name in ("large", "small"))
    config = MambaConfig(hidden_size=768, num_hidden_layers=8, vocab_size=16000)
    MambaForCausalLM(config).save_pretrained(large)
    reference("mamba").save_pretrained(small)
    return large, small


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads Linux's account of memory"
)
@pytest.mark.parametrize(
    ("layout", "dtype", "most"),
    [
        ("safetensors", "float32", 1.3),
        ("safetensors", "bfloat16", 1.7),  # the largest tensor is there in float32 as well
        ("bin", "float32", 1.3),
    ],
)
def test_loading_takes_no_second_copy_of_the_weights(
    large_and_small, layout, dtype, most, tmp_path
):
    large, small = large_and_small
    if layout == "bin":
        (tmp_path / "config.json").write_bytes((large / "config.json").read_bytes())
        torch.save(load_file(large / "model.safetensors"), tmp_path / "pytorch_model.bin")
        large = tmp_path
    command = [sys.executable, "-c", PEAK, str(small), str(large), dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    share = float(done.stdout.split()[-1])
    assert 0.5 < share < most, share
