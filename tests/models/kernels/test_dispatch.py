"""When which backend runs, and what the kernels leave alone."""

import subprocess
import sys
import types

import pytest
import torch
from transformers.models.mamba.modeling_mamba import mamba_selective_scan
from transformers.models.mamba2.modeling_mamba2 import mamba2_chunk_scan

from mambascope.models.kernels import cuda, definition, fused, jit, selective_scan, ssd_scan
from mambascope.sites.segments import Segments
from tests.models.kernels import test_selective_scan, test_ssd_scan


def test_numba_is_imported_with_the_first_call():
    code = (
        "import sys, torch, mambascope.models.kernels as k; from mambascope.sites import Segments;"
        "torch.set_num_threads(1); a = 'numba' in sys.modules;"
        "k.causal_conv(torch.ones(3, 16), torch.ones(16, 4), None, None, Segments.of([3]));"
        "print(a, 'numba' in sys.modules, torch.get_num_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "1"]


@pytest.mark.parametrize(
    ("scan", "inputs"),
    [
        (selective_scan, lambda s: test_selective_scan.inputs(s, 16, 4)),
        (ssd_scan, lambda s: test_ssd_scan.inputs(s, 4, 16, 1, 16)),
    ],
)
def test_the_definition_can_be_asked_for(scan, inputs, monkeypatch):
    segments = Segments.of([5, 9], slots=[0, -1], keep="last")
    tensors = inputs(segments)
    fused = scan(*tensors, segments)
    monkeypatch.setenv("MAMBASCOPE_KERNELS", "definition")
    plain = scan(*tensors, segments)
    wanted = getattr(definition, scan.__name__)(*tensors, segments)
    assert torch.equal(plain.out, wanted.out) and torch.equal(plain.kept, wanted.kept)
    assert torch.allclose(plain.out, fused.out, atol=1e-5)


def test_kernels_compile_where_no_cache_can_be_written(monkeypatch):
    asked = []

    def njit(*, cache=False, **options):
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(jit.numba, "njit", njit)
    assert jit.kernel(len) is len
    assert asked == [True, False]


def test_kernels_compiled_from_other_sources_are_dropped(tmp_path):
    source, compiled = tmp_path / "scan.py", tmp_path / "__pycache__" / "scan.nbi"
    source.write_text("a")
    jit.drop_stale_cache(tmp_path)
    compiled.write_text("made from a")
    jit.drop_stale_cache(tmp_path)
    assert compiled.exists()
    source.write_text("b")
    jit.drop_stale_cache(tmp_path)
    assert not compiled.exists()


def test_second_derivatives_are_refused_and_not_silently_wrong():
    segments = Segments.of([4])
    u, dt, A, B, C, D, _ = test_selective_scan.inputs(segments, 16, 4)
    u.requires_grad_()
    out = selective_scan(u, dt, A, B, C, D, None, segments).out
    (first,) = torch.autograd.grad(out.square().sum(), u, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_mamba_ssm_is_left_out_where_it_cannot_do_what_is_asked(monkeypatch):
    monkeypatch.setattr(cuda, "_installed", lambda: True)
    segments = Segments.of([4, 4])
    assert not cuda.can_scan(torch.ones(8, 16), None, segments, False)  # not on CUDA


@pytest.mark.parametrize("length", [1, 12, 300])
def test_mamba_ssms_kernels_are_called_as_they_want_to_be(length, monkeypatch):
    """With functions of transformers that have the kernels' signatures in their places."""
    chunks = []

    def chunk_scan(*arguments, chunk_size, **options):
        chunks.append(chunk_size)
        return mamba2_chunk_scan(*arguments, chunk_size=chunk_size, **options)

    for name, function, stand_in in (
        ("selective_scan_interface", "selective_scan_fn", mamba_selective_scan),
        ("triton.ssd_combined", "mamba_chunk_scan_combined", chunk_scan),
    ):
        module = types.ModuleType(name)
        setattr(module, function, stand_in)
        monkeypatch.setitem(sys.modules, f"mamba_ssm.ops.{name}", module)
    for name in ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.triton"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    segments = Segments.of([length] * 3)
    for scan, of_cuda, tensors in (
        (selective_scan, cuda.selective_scan, test_selective_scan.inputs(segments, 16, 4)),
        (ssd_scan, cuda.ssd_scan, test_ssd_scan.inputs(segments, 4, 8, 2, 16)),
    ):
        *tensors, _ = tensors
        found = of_cuda(*tensors, segments)
        wanted = scan(*tensors, None, segments)
        assert found.out.shape == wanted.out.shape and found.kept.shape == wanted.kept.shape
        assert torch.allclose(found.out, wanted.out, atol=1e-4 * float(wanted.out.abs().max()))
    assert chunks == [{1: 16, 12: 16, 300: 256}[length]]


def test_gradients_are_needed_only_where_autograd_would_record_them():
    x = torch.ones(2, requires_grad=True)
    assert fused.needs_gradients((None, x))
    assert not fused.needs_gradients((x.detach(), None))
    with torch.no_grad():
        assert not fused.needs_gradients((x,))
