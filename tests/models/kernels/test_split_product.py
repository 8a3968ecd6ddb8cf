"""The product on the matrix unit against float64, at every edge of its tiles, and beside PyTorch's own float32."""

import pytest
import torch
import torch.nn.functional as F

from mambascope.models.kernels import linear, release_packed_weights
from mambascope.models.kernels.linear import _chosen
from mambascope.models.kernels.matrix_unit import has_matrix_unit
from mambascope.models.kernels.packed import packed_bytes

pytestmark = pytest.mark.skipif(not has_matrix_unit(), reason="this processor has no matrix unit")


def product(x, weight, bias=None):
    from mambascope.models.kernels.split_product import SPLIT

    return SPLIT.multiply(x, SPLIT.pack(weight)[0], bias)


def relative_error(got, x, weight, bias=None):
    """The largest error, in units of the sum of the magnitudes that were added."""
    x, weight = x.double(), weight.double()
    bias = torch.zeros(len(weight)).double() if bias is None else bias.double()
    true, size = F.linear(x, weight, bias), F.linear(x.abs(), weight.abs(), bias.abs())
    return ((got.double() - true).abs() / size).max().item()


@pytest.mark.parametrize("rows", [1, 16, 33, 70])
@pytest.mark.parametrize("depth", [1, 31, 32, 100])
@pytest.mark.parametrize("width", [1, 16, 33, 96])
@pytest.mark.parametrize("has_bias", [False, True])
def test_it_is_the_product(rows, depth, width, has_bias):
    torch.manual_seed(0)
    x = torch.randn(rows, depth + 7)[:, 3 : 3 + depth]
    weight, bias = torch.randn(width, depth), torch.randn(width) if has_bias else None
    got = product(x, weight, bias)
    assert got.shape == (rows, width)
    assert relative_error(got, x, weight, bias) < (depth + 2) * torch.finfo(torch.float32).eps


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("spread", [0, 6])
def test_its_error_is_no_larger_than_that_of_pytorch(threads, spread):
    """More rows and a greater depth than are split at once; numbers of one size, and of twelve orders of magnitude."""
    torch.manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    x, weight = (
        torch.randn(n, 1600) * 10 ** (spread * (2 * torch.rand(n, 1600) - 1)) for n in (500, 80)
    )
    got, theirs = product(x, weight), F.linear(x, weight)
    torch.set_num_threads(before)
    assert relative_error(got, x, weight) < 1.5 * relative_error(theirs, x, weight) + 1e-7


def test_a_row_depends_neither_on_those_beside_it_nor_on_the_threads():
    x, weight = torch.randn(500, 900), torch.randn(80, 900)
    before = torch.get_num_threads()
    together = product(x, weight)
    torch.set_num_threads(1)
    apart = [product(some, weight) for some in x.split(7)]
    torch.set_num_threads(before)
    assert torch.equal(together, torch.cat(apart))


def test_small_numbers_are_not_lost_beside_large_ones():
    """Each product of parts is of its own: what is summed apart is exact where float32 is."""
    x, weight = torch.tensor([[1 + 2**-23, 1.0]]), torch.tensor([[1 + 2**-23, -1.0]])
    assert product(x, weight).item() == pytest.approx(2**-22, rel=1e-6)


def test_what_is_no_number_stays_in_its_row():
    x, weight = torch.randn(4, 32), torch.randn(48, 32)
    x[1, 5], x[2, 9] = torch.nan, torch.inf
    got = product(x, weight)
    assert got[1].isnan().all()
    assert not got[2].isfinite().any()
    assert got[[0, 3]].isfinite().all()


def test_the_linear_product_goes_this_way_where_it_is_asked_to(monkeypatch):
    monkeypatch.setenv("MAMBASCOPE_LINEAR", "amx")
    release_packed_weights()
    x, weight = torch.randn(40, 64), torch.randn(96, 64)
    with torch.no_grad():
        assert torch.equal(linear(x, weight), product(x, weight))
        assert packed_bytes() == 6 * weight.numel()
        weight.mul_(2)
        assert torch.equal(linear(x, weight), product(x, weight))
    del weight
    assert packed_bytes() == 0


def test_few_rows_are_left_to_the_kernel_that_reads_less(monkeypatch):
    x, weight = torch.randn(17, 64), torch.randn(96, 64)
    for wanted in ("amx", ""):
        monkeypatch.setenv("MAMBASCOPE_LINEAR", wanted)
        release_packed_weights()
        with torch.no_grad():
            linear(x[:16], weight)
        assert packed_bytes() == 0
    monkeypatch.setenv("MAMBASCOPE_LINEAR", "amx")
    with torch.no_grad():
        linear(x, weight)
    assert packed_bytes() > 0


@pytest.fixture
def undecided():
    """No backend is chosen yet, nor will what is chosen here last."""
    _chosen.cache_clear()
    yield
    _chosen.cache_clear()


def test_without_the_unit_pytorch_multiplies(monkeypatch, undecided):
    import mambascope.models.kernels.split_product as module

    monkeypatch.setenv("MAMBASCOPE_LINEAR", "amx")
    absent = type(module.SPLIT)("amx", module.SPLIT.pack, module.SPLIT.multiply, lambda: False)
    monkeypatch.setattr(module, "SPLIT", absent)
    x, weight = torch.randn(40, 64), torch.randn(96, 64)
    with torch.no_grad():
        assert torch.equal(linear(x, weight), F.linear(x, weight))


def test_pytorch_can_use_the_unit_before_and_after():
    """PyTorch's bfloat16 products run on the same unit with another configuration of its tiles."""
    half, wide = torch.randn(64, 96).bfloat16(), torch.randn(96, 64)
    alone = [F.linear(half[:n], half) for n in (64, 7, 33)]
    for n, wanted in zip((64, 7, 33), alone, strict=True):
        x = torch.randn(50, 64)
        assert relative_error(product(x, wide), x, wide) < 1e-5
        assert torch.equal(F.linear(half[:n], half), wanted)
