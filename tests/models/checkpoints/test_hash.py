"""The weights' hash changes with anything that a weight is, and with nothing else."""

import hashlib

import torch
from torch import nn

from mambascope.models.checkpoints import hash as hash_module
from mambascope.models.checkpoints.hash import weights_hash
from mambascope.models.load import load
from tests.models.checkpoints.small import reference


def test_the_hash_is_the_sha256_of_names_dtypes_shapes_and_bytes():
    layer = nn.Linear(2, 1)
    layer.weight.data = torch.tensor([[1.0, 2.0]])
    layer.bias.data = torch.tensor([3.0])
    text = (
        b"bias torch.float32 (1,)\n\x00\x00\x40\x40"
        b"weight torch.float32 (1, 2)\n\x00\x00\x80\x3f\x00\x00\x00\x40"
    )
    assert weights_hash(layer) == hashlib.sha256(text).hexdigest()[:16]


def test_the_hash_is_the_same_from_every_source_and_differs_by_dtype(tmp_path):
    theirs = reference("mamba")
    theirs.save_pretrained(tmp_path)
    assert weights_hash(load(theirs)) == weights_hash(load(tmp_path))
    assert weights_hash(load(theirs)) != weights_hash(load(theirs, dtype="bfloat16"))


def test_one_changed_number_changes_the_hash():
    model = load(reference("mamba"))
    before = weights_hash(model)
    model.blocks[1].mixer.D.data[7] += 1e-6
    assert weights_hash(model) != before


def test_a_changed_weight_is_seen_and_an_unchanged_one_is_not_read_again(monkeypatch):
    layer = torch.nn.Linear(300, 400)
    first, read = weights_hash(layer), []
    whole = hash_module._bytes
    monkeypatch.setattr(
        hash_module, "_bytes", lambda flat, sampled: read.append(sampled) or whole(flat, sampled)
    )
    assert weights_hash(layer) == first and all(read)
    with torch.no_grad():
        layer.weight[7, 7] += 1
    changed = weights_hash(layer)
    layer.bias.data.mul_(2)
    assert len({first, changed, weights_hash(layer)}) == 3
    assert weights_hash(torch.nn.Linear(300, 400)) != first
