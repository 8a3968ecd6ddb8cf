"""Mamba-1's scan: fused kernel and definition against a float64 recurrence, gradients against autograd."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mambascope.models.kernels import definition, selective_scan
from mambascope.sites.segments import Segments
from tests.models.kernels import recurrences as expected
from tests.models.kernels.recurrences import distance, halves, leaves, segments_, weighed

pytestmark = pytest.mark.filterwarnings(
    "ignore:Do not use the `random` module"
)  # the type checker does


def inputs(segments, E, N, *, seed=0, largest_dt=2.0, skip=True, slots=2):
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=random)

    dt = largest_dt * torch.rand(segments.tokens, E, generator=random) ** 4
    u, B, C = normal(segments.tokens, E), normal(segments.tokens, N), normal(segments.tokens, N)
    state = normal(slots, E, N) if slots else None
    return [u, dt, -F.softplus(4 * normal(E, N)), B, C, normal(E) if skip else None, state]


SIZES = st.tuples(st.sampled_from([1, 16, 40, 80]), st.sampled_from([1, 3, 8, 16, 64]))


@settings(max_examples=40, deadline=None)
@given(segments_(), SIZES, st.sampled_from([0.01, 2.0, 300.0]), st.booleans(), st.booleans())
def test_any_segments_and_sizes_follow_the_recurrence(segments, sizes, largest_dt, skip, every):
    tensors = inputs(segments, *sizes, largest_dt=largest_dt, skip=skip)
    result = selective_scan(*tensors, segments, all_states=every)
    true = expected.selective_scan(*tensors, segments)
    assert distance(result.out, true.out) < 2e-6
    assert distance(result.kept, true.kept, true.states) < 2e-6
    assert (result.states is not None) == every
    if every:
        assert distance(result.states, true.states) < 2e-6


@settings(max_examples=15, deadline=None)
@given(segments_(longest=20), st.sampled_from([(5, 3), (16, 16)]))
def test_the_definition_follows_the_recurrence(segments, sizes):
    tensors = [x.double() for x in inputs(segments, *sizes)]
    result = selective_scan(*tensors, segments, all_states=True)
    true = expected.selective_scan(*tensors, segments)
    assert distance(result.out, true.out) < 1e-13
    assert distance(result.kept, true.kept, true.states) < 1e-13
    assert distance(result.states, true.states) < 1e-13


def test_of_many_short_segments_each_starts_from_its_own_slot():
    slots = np.tile([0, 0, 1, -1, 1, 1, 0, -1], 12)
    segments = Segments.of(np.tile([2, 3, 1], 32), slots=slots, keep="last")
    tensors = inputs(segments, 80, 16, largest_dt=0.1)
    result = selective_scan(*tensors, segments)
    true = expected.selective_scan(*tensors, segments)
    assert distance(result.out, true.out) < 2e-6
    assert distance(result.kept, true.kept) < 2e-6


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(2, 80), min_size=1, max_size=4), st.data())
def test_a_split_with_carry_equals_the_whole(lengths, data):
    segments = Segments.of(lengths, slots=[-1] * len(lengths), keep="last")
    at = np.array([data.draw(st.integers(1, n - 1)) for n in lengths])
    head, tail, first = halves(segments, at)
    u, dt, A, B, C, D, _ = inputs(segments, 32, 16)
    whole = selective_scan(u, dt, A, B, C, D, None, segments)
    one = selective_scan(u[first], dt[first], A, B[first], C[first], D, None, head)
    two = selective_scan(u[~first], dt[~first], A, B[~first], C[~first], D, one.kept, tail)
    out = torch.empty_like(u)
    out[first], out[~first] = one.out, two.out
    assert distance(out, whole.out) < 1e-6
    assert distance(two.kept, whole.kept) < 1e-6


@settings(max_examples=25, deadline=None)
@given(
    segments_(longest=70),
    st.sampled_from([(16, 16), (40, 3), (80, 8)]),
    st.booleans(),
    st.booleans(),
)
def test_gradients_are_those_of_autograd_through_the_definition(segments, sizes, every, skip):
    tensors = inputs(segments, *sizes, skip=skip)
    fused, plain = leaves(tensors, torch.float32), leaves(tensors, torch.float64)
    gradients = []
    for given_, scan in ((fused, selective_scan), (plain, definition.selective_scan)):
        result = scan(*given_, segments, all_states=every)
        gradients.append(torch.autograd.grad(weighed(result), [x for x in given_ if x is not None]))
    for got, true in zip(*gradients, strict=True):
        assert distance(got, true) < 5e-6


def test_gradcheck_of_the_definition():
    segments = Segments.of([3, 1, 4], slots=[0, -1, 0], keep=[0, 5, 7])
    tensors = leaves(inputs(segments, 2, 3), torch.float64)

    def scan(*given_):
        return tuple(definition.selective_scan(*given_, segments, all_states=True))

    assert torch.autograd.gradcheck(scan, tensors)


def test_only_asked_gradients_are_returned():
    segments = Segments.of([5, 6], slots=[-1, 0], keep="last")
    tensors = inputs(segments, 16, 4)
    state = tensors[-1].requires_grad_()
    result = selective_scan(*tensors, segments)
    result.kept.sum().backward()
    assert state.grad is not None and tensors[0].grad is None
    assert not state.grad[1].any()  # nothing starts there
    assert state.grad[0].any()


@pytest.mark.parametrize("where", range(6))
def test_a_nan_goes_on_to_what_depends_on_it_and_nowhere_else(where):
    segments = Segments.of([4, 40, 3], slots=[-1, 0, -1], keep="last")
    tensors = inputs(segments, 32, 16)
    tensors[where][(10,) if where in (0, 1, 3, 4) else (3,)] = float("nan")
    result = selective_scan(*tensors, segments)
    true = expected.selective_scan(*tensors, segments)
    assert torch.equal(result.out.isnan(), true.out.isnan())
    assert torch.equal(result.kept.isnan(), true.kept.isnan())
    assert result.out.isnan().any()


def test_huge_steps_forget_everything_and_none_forgets_nothing():
    segments = Segments.of([3], slots=[0], keep="all")
    u, _, A, B, C, D, state = inputs(segments, 16, 16)
    dt = torch.tensor([0.0, 1e30, 0.0])[:, None].expand(3, 16).contiguous()
    u[1] = 0.0
    kept = selective_scan(u, dt, A, B, C, D, state, segments).kept
    assert torch.equal(kept[0], state[0])
    assert not kept[1:].any()


def test_an_edited_negative_step_grows_as_the_definition_says():
    segments = Segments.of([4])
    tensors = inputs(segments, 16, 4)
    tensors[1][2] = -3.0
    true = expected.selective_scan(*tensors, segments)
    assert distance(selective_scan(*tensors, segments).out, true.out) < 2e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    segments = Segments.of([70, 5], keep="last")
    tensors = [x.to(dtype) for x in inputs(segments, 16, 8)]
    result = selective_scan(*tensors, segments)
    true = expected.selective_scan(*tensors, segments)
    assert result.out.dtype == dtype and result.kept.dtype == torch.float32
    assert distance(result.kept, true.kept, true.states) < 1e-6
    assert distance(result.out, true.out) < 2 * torch.finfo(dtype).eps


def test_results_do_not_depend_on_the_number_of_threads():
    segments = Segments.of([30, 7, 120, 1, 64])
    before = torch.get_num_threads()
    bits = []
    for threads in (before, 1, before):
        torch.set_num_threads(threads)
        tensors = leaves(inputs(segments, 128, 16, slots=0), torch.float32)
        out = selective_scan(*tensors, segments).out
        out.square().sum().backward()
        bits.append([out, *(x.grad for x in tensors if x is not None)])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b, _ in zip(*bits, strict=True))
    assert all(torch.equal(a, c) for a, _, c in zip(*bits, strict=True))
