"""What cannot be loaded is said in one sentence: what came, what was expected, what to do."""

import json
import os
import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mambascope.errors import CheckpointError, ConfigError, ModelError
from mambascope.models.bundled import BUNDLED
from mambascope.models.load import load
from tests.models.checkpoints.small import reference, tokenizer, write_original

WEIGHTS = "model.safetensors"
NORM = "backbone.layers.1.norm.weight"


def saved(folder: Path, kind: str = "mamba") -> Path:
    reference(kind).save_pretrained(folder)
    return folder


def edit_tensors(folder: Path, edit) -> None:
    tensors = load_file(folder / WEIGHTS)
    edit(tensors)
    save_file(tensors, folder / WEIGHTS)


def edit_config(folder: Path, **words) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | words))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def to_bin(folder: Path, what=None) -> Path:
    torch.save(what or load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    return folder / "pytorch_model.bin"


def lose_a_shard(folder: Path) -> None:
    shards = sorted(folder.glob("model-*.safetensors"))
    shards[1].unlink()


def index(folder: Path, content) -> None:
    (folder / WEIGHTS).unlink()
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(content))


BROKEN = {
    "missing tensor": (
        lambda f: edit_tensors(f, lambda t: t.pop(NORM)),
        rf"a mamba model with 2 layers.* needs tensors that are missing: {re.escape(NORM)}$",
    ),
    "many missing tensors": (
        lambda f: edit_config(f, num_hidden_layers=3),
        r"with 3 layers.* missing: (backbone\.layers\.2\.\S+, ){2}backbone\.layers\.2\.\S+ and 7 more$",
    ),
    "extra tensor": (
        lambda f: edit_tensors(f, lambda t: t.update({"backbone.secret": torch.ones(2)})),
        r"does not have these tensors that are there: backbone\.secret$",
    ),
    "wrong shape": (
        lambda f: edit_tensors(f, lambda t: t.update({NORM: torch.ones(25)})),
        rf"{re.escape(NORM)} has shape \(25,\), but config.json makes it \(24,\)",
    ),
    "whole numbers": (
        lambda f: edit_tensors(f, lambda t: t.update({NORM: torch.ones(24, dtype=torch.int8)})),
        "is not stored in floating point; load the unquantised checkpoint",
    ),
    "tied but different": (
        lambda f: edit_tensors(f, lambda t: t.update({"lm_head.weight": torch.ones(53, 24)})),
        r"ties the unembedding to the embedding, but lm_head\.weight differs",
    ),
    "cut safetensors": (
        lambda f: cut(f / WEIGHTS),
        r"model\.safetensors is damaged or cut short .*; copy or download it again",
    ),
    "empty safetensors": (
        lambda f: (f / WEIGHTS).write_bytes(b""),
        r"model\.safetensors is damaged or cut short",
    ),
    "cut bin": (
        lambda f: cut(to_bin(f)),
        r"pytorch_model\.bin is damaged or cut short; copy or download it again",
    ),
    "bin of something else": (
        lambda f: to_bin(f, [torch.ones(2)]),
        r"pytorch_model\.bin does not hold tensors by name",
    ),
    "broken config": (
        lambda f: (f / "config.json").write_text('{"model_type": "mamba",'),
        r"config\.json is no valid JSON",
    ),
    "config of another encoding": (
        lambda f: (f / "config.json").write_bytes(b"\xff\xfe{}"),
        r"config\.json is no valid JSON",
    ),
    "config is a list": (
        lambda f: (f / "config.json").write_text("[]"),
        r"config\.json must hold a JSON object, not a list",
    ),
    "config of nothing": (
        lambda f: (f / "config.json").write_text("{}"),
        r"describes no model: it has neither model_type .* nor d_model and n_layer",
    ),
    "wrong architecture": (
        lambda f: edit_config(f, model_type="bert"),
        r"describes a 'bert' model; those that can be loaded are: mamba, falcon_mamba, mamba2, gpt2",
    ),
    "another architecture's tensors": (
        lambda f: edit_config(f, model_type="llama", num_attention_heads=4),
        r"a llama model with 2 layers.* needs tensors that are missing: model\.embed_tokens\.weight",
    ),
    "size is a word": (
        lambda f: edit_config(f, hidden_size="large"),
        r"config\.json does not describe a mamba model \(",
    ),
    "layers are a word": (
        lambda f: edit_config(f, num_hidden_layers="many"),
        r"config\.json does not describe a mamba model \(n_layers: ",
    ),
    "quantised": (
        lambda f: edit_config(f, quantization_config={"quant_method": "gptq"}),
        r"the weights are quantised \(gptq\); load the unquantised checkpoint",
    ),
    "another activation": (
        lambda f: edit_config(f, hidden_act="relu"),
        r"config\.json says hidden_act = 'relu', and only 'silu' can be run",
    ),
    "no weights": (
        lambda f: (f / WEIGHTS).unlink(),
        r"has a config\.json but no weights: expected model\.safetensors or pytorch_model\.bin",
    ),
    "no config": (
        lambda f: (f / "config.json").unlink(),
        r"is no model: it has no config\.json \(it has: generation_config\.json, model\.safetensors\)",
    ),
    "index of nothing": (
        lambda f: index(f, {"metadata": {}}),
        r"index\.json has no weight_map",
    ),
    "index out of the folder": (
        lambda f: index(f, {"weight_map": {NORM: "../other/model.safetensors"}}),
        r"index\.json points outside its folder",
    ),
    "broken tokenizer": (
        lambda f: (f / "tokenizer.json").write_text("{}"),
        r"the tokenizer in .* cannot be read \(.*\); mend or remove tokenizer\.json",
    ),
    "several GGUF files": (
        lambda f: [(f / WEIGHTS).rename(f / "a.gguf"), (f / "b.gguf").write_bytes(b"")],
        r"holds several GGUF files \(a\.gguf, b\.gguf\); give the path of one",
    ),
    "no GGUF file": (
        lambda f: (f / WEIGHTS).rename(f / "a.gguf"),
        r"a\.gguf is no GGUF file",
    ),
}


def message_of(error: Exception) -> str:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 600
    return text


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_folder_is_named_with_what_is_wrong(what, tmp_path):
    spoil, expected = BROKEN[what]
    spoil(saved(tmp_path / "broken"))
    with pytest.raises(ModelError, match=expected) as caught:
        load(tmp_path / "broken")
    assert str(tmp_path / "broken") in message_of(caught.value)


ORIGINAL = {
    "hybrid": ({"attn_layer_idx": [1]}, r"layers \[1\] are attention layers, and hybrids"),
    "layer norm": ({"rms_norm": False}, "says rms_norm = False, and only True can be run"),
    "MLPs": ({"d_intermediate": 96}, "says d_intermediate = 96, and only 0 can be run"),
    "unknown layer": (
        {"ssm_cfg": {"layer": "Mamba3"}},
        "asks for layers of kind 'Mamba3'; known are: Mamba1, Mamba2",
    ),
    "part of the width": (
        {"ssm_cfg": {"layer": "Mamba2", "d_ssm": 24}},
        "says d_ssm = 24, and only None can be run",
    ),
}


@pytest.mark.parametrize("what", ORIGINAL)
def test_what_an_original_checkpoint_asks_for_in_vain_is_named(what, tmp_path):
    changes, expected = ORIGINAL[what]
    with pytest.raises(ModelError, match=expected) as caught:
        load(write_original(tmp_path, "mamba", **changes))
    message_of(caught.value)


@pytest.mark.parametrize(
    ("kind", "words", "expected"),
    [
        ("mistral", {"sliding_window": 16}, "sliding_window = 16, and only None can be run"),
        ("qwen2", {"use_sliding_window": True}, "use_sliding_window = True, and only False"),
        ("llama", {"rope_parameters": {"rope_type": "yarn"}}, "rotary positions of type 'yarn'"),
        ("llama", {"hidden_act": "mish"}, "the activation 'mish'; known are: gelu, gelu_new"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("mamba2", {"num_heads": 7}, r"n_heads x head_dim = 42, but d_inner is 48"),
    ],
)
def test_what_a_transformers_checkpoint_asks_for_in_vain_is_named(kind, words, expected, tmp_path):
    saved(tmp_path, kind)
    edit_config(tmp_path, **words)
    with pytest.raises(ModelError, match=expected) as caught:
        load(tmp_path)
    message_of(caught.value)


def test_a_missing_shard_is_named(tmp_path):
    reference("mamba").save_pretrained(tmp_path, max_shard_size="5KB")
    lose_a_shard(tmp_path)
    with pytest.raises(CheckpointError, match=r"lacks 1 of \d+ weight files, first model-00002-of"):
        load(tmp_path)


class Malice:
    """What a pickle can do when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("plain", [True, False])
def test_a_malicious_pickle_is_refused_and_does_nothing(plain, tmp_path):
    folder, proof = saved(tmp_path / "model"), tmp_path / "was here"
    tensors = load_file(folder / WEIGHTS) | {"x": Malice(proof)}
    path = to_bin(folder, tensors)
    if plain:
        path.write_bytes(pickle.dumps(tensors, protocol=2))
    with pytest.raises(
        CheckpointError, match=r"was not opened, because .* could run code"
    ) as caught:
        load(folder)
    assert not proof.exists()
    message_of(caught.value)
    torch.load(path, weights_only=False) if not plain else pickle.loads(path.read_bytes())
    assert proof.exists(), "the pickle would have done it"


def test_code_that_comes_with_a_checkpoint_is_never_run(tmp_path):
    folder, proof = saved(tmp_path / "model"), tmp_path / "was here"
    code = f"from pathlib import Path\nPath({str(proof)!r}).touch()\n"
    (folder / "evil.py").write_text(code)
    edit_config(folder, auto_map={"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"})
    load(folder)
    tokenizer().save_pretrained(folder)
    words = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.T", "evil.T"]}}
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | words))
    try:
        load(folder)
    except CheckpointError as error:
        assert "the tokenizer in" in message_of(error)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Path("nowhere"), "there is no file or folder 'nowhere'"),
        ("./nowhere", "there is no file or folder './nowhere'"),
        ("a/b/c", "there is no file or folder 'a/b/c'"),
        ("nowhere.gguf", "there is no file or folder 'nowhere.gguf'"),
        ("", "there is no file or folder ''"),
        ("~nobody-has-this-name/model", "there is no file or folder '~nobody-has-this-name/model'"),
        ("./" + "a" * 300, "there is no file or folder './aaa"),
        ("/dev/null", "/dev/null: it is a file; give the folder that holds it"),
        ("atlas-mamba3", r"'atlas-mamba3' is no bundled model \(atlas-mamba1, .* not in the cache"),
        (
            "someone/something",
            "'someone/something' is not in the cache and the hub cannot be reached",
        ),
        (torch.nn.Linear(2, 2), "a Linear is no transformers model"),
    ],
)
def test_a_source_that_is_no_model_is_named(source, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=expected) as caught:
        load(source)
    message_of(caught.value)


def test_a_source_of_another_type_is_named():
    unchecked = load.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
    with pytest.raises(
        ModelError, match="by its name, a path or a transformers model, not by a int"
    ):
        unchecked(3)


def test_an_empty_folder_is_no_model(tmp_path):
    with pytest.raises(ModelError, match=r"is no model: it has no config\.json \(it is empty\)"):
        load(tmp_path)


def test_a_file_instead_of_its_folder_is_said(tmp_path):
    path = saved(tmp_path) / WEIGHTS
    with pytest.raises(ModelError, match="it is a file; give the folder that holds it"):
        load(path)


def test_a_bundled_model_that_is_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("mambascope.models.bundled.__file__", str(tmp_path / "__init__.py"))
    for name in BUNDLED:
        with pytest.raises(ModelError, match=f"the bundled model '{name}' is not in this install"):
            load(name)


def test_a_model_without_its_weights_in_memory_is_refused():
    with pytest.raises(CheckpointError, match=r"weights are not in memory .* without offloading"):
        load(reference("mamba").to("meta"))


def test_a_classifier_is_no_language_model():
    from transformers import LlamaConfig, LlamaForSequenceClassification

    config = LlamaConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9
    )
    with pytest.raises(CheckpointError, match=r"needs tensors that are missing: lm_head\.weight"):
        load(LlamaForSequenceClassification(config))


@pytest.mark.parametrize("device", ["tpu9", "mps", "meta", "cuda:9999", "", "cpu:x"])
def test_an_impossible_device_is_named(device):
    with pytest.raises(ConfigError, match=f"{device!r}"):
        load("atlas-mamba1", device=device)


@pytest.mark.parametrize("dtype", ["int8", "float", "torch.int64", torch.complex64])
def test_an_impossible_dtype_is_named(dtype):
    with pytest.raises(
        ConfigError, match="dtype must be one of float32, float64, bfloat16, float16"
    ):
        load("atlas-mamba1", dtype=dtype)
