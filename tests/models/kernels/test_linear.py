"""The matrix product's choice of backend, and that a packed weight is never stale."""

import gc

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mambascope.errors import ConfigError
from mambascope.models.kernels import linear, release_packed_weights, without_new_copies
from mambascope.models.kernels.onednn import ONEDNN
from mambascope.models.kernels.packed import packed_bytes

needs_onednn = pytest.mark.skipif(not ONEDNN.available(), reason="this PyTorch has no oneDNN")


@pytest.fixture
def packed(monkeypatch):
    monkeypatch.setenv("MAMBASCOPE_LINEAR", "onednn")
    release_packed_weights()
    yield
    release_packed_weights()


@pytest.mark.parametrize("backend", ["", "mkl", "onednn", "amx", "numba"])
@pytest.mark.parametrize("rows", [0, 1, 10, 200])
def test_every_backend_computes_the_product(backend, rows, monkeypatch):
    monkeypatch.setenv("MAMBASCOPE_LINEAR", backend)
    layer = nn.Linear(48, 96)
    x = torch.randn(rows, 80)[:, 20:68]
    with torch.no_grad():
        got = linear(x, layer.weight, layer.bias)
        true = F.linear(x.double(), layer.weight.double(), layer.bias.double())
    assert torch.allclose(got.double(), true, atol=1e-5)


def test_an_unknown_backend_is_an_error(monkeypatch):
    monkeypatch.setenv("MAMBASCOPE_LINEAR", "blas")
    with pytest.raises(ConfigError, match="mkl, onednn, amx or numba"):
        linear(torch.randn(2, 3), torch.randn(4, 3))


def sgd(layer):
    return torch.optim.SGD(layer.parameters(), lr=0.1)


def adamw(layer):
    return torch.optim.AdamW(layer.parameters(), lr=0.1, foreach=True)


def fused_adamw(layer):
    return torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)


@needs_onednn
@pytest.mark.parametrize("optimizer", [sgd, adamw, fused_adamw])
def test_a_training_step_in_between_is_noticed(packed, optimizer):
    layer, x = nn.Linear(32, 16), torch.randn(4, 32)
    steps = optimizer(layer)
    for _ in range(3):
        with torch.no_grad():
            got = linear(x, layer.weight, layer.bias)
            assert torch.allclose(got, F.linear(x, layer.weight, layer.bias), atol=1e-5)
        assert packed_bytes() > 0
        linear(x, layer.weight, layer.bias).square().sum().backward()
        steps.step()


def in_place(weight):
    weight[3] = 7.0


def through_data(weight):
    weight.data.mul_(2.0)


def new_data(weight):
    weight.data = torch.randn_like(weight)


@needs_onednn
@pytest.mark.parametrize("change", [in_place, through_data, new_data])
def test_a_changed_weight_is_packed_anew(packed, change):
    weight, x = nn.Parameter(torch.randn(16, 32)), torch.randn(4, 32)
    with torch.no_grad():
        before = linear(x, weight)
        change(weight)
        after = linear(x, weight)
        assert torch.allclose(after, F.linear(x, weight), atol=1e-4)
        assert not torch.allclose(after, before)


@needs_onednn
def test_a_loaded_state_is_noticed(packed):
    layer, x = nn.Linear(32, 16), torch.randn(4, 32)
    other = nn.Linear(32, 16)
    with torch.no_grad():
        linear(x, layer.weight)
        layer.load_state_dict(other.state_dict())
        assert torch.allclose(linear(x, layer.weight), F.linear(x, other.weight), atol=1e-5)


@needs_onednn
def test_the_copy_goes_with_its_weight_or_on_request(packed):
    layers = [nn.Linear(32, 16) for _ in range(3)]
    with torch.no_grad():
        for number in range(3):
            linear(torch.randn(4, 32), layers[number].weight)
    assert packed_bytes() == 3 * 4 * 32 * 16
    del layers[0]
    gc.collect()
    assert packed_bytes() == 2 * 4 * 32 * 16
    release_packed_weights()
    assert packed_bytes() == 0


@needs_onednn
def test_nothing_is_packed_where_gradients_are_needed_or_dtypes_differ(packed):
    weight = nn.Parameter(torch.randn(16, 32))
    assert linear(torch.randn(4, 32), weight).requires_grad
    assert linear(torch.randn(4, 32, requires_grad=True), weight.detach()).requires_grad
    with torch.no_grad():
        assert linear(torch.randn(4, 32).double(), weight.double()).dtype == torch.float64
        assert linear(torch.randn(4, 32).bfloat16(), weight.bfloat16()).dtype == torch.bfloat16
    with torch.inference_mode():
        made_here = torch.randn(16, 32)
        assert linear(torch.randn(4, 32), made_here).shape == (4, 16)
    assert packed_bytes() == 0


@needs_onednn
def test_without_new_copies_the_product_is_right_and_only_copies_that_are_there_are_used(packed):
    old, new, x = nn.Linear(32, 16), nn.Linear(32, 16), torch.randn(4, 32)
    with torch.no_grad():
        linear(x, old.weight, old.bias)
        before = packed_bytes()
        with without_new_copies():
            for layer in (old, new):
                torch.testing.assert_close(linear(x, layer.weight, layer.bias), layer(x))
        assert packed_bytes() == before == 4 * 32 * 16
        linear(x, new.weight, new.bias)
    assert packed_bytes() == 2 * before
