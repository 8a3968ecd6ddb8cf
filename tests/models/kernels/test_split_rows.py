"""How rows are split for the matrix unit: in three bfloat16 parts, tile by tile; needs no such unit."""

import numpy as np
import pytest
import torch

from mambascope.models.kernels.amx import DEPTH, PARTS, TILE
from mambascope.models.kernels.split_product import _split

PADDING = 5  # between two rows of x


@pytest.mark.parametrize("count", [1, 20, 32])
@pytest.mark.parametrize(
    ("depth", "chunk"), [(1, 0), (31, 0), (32, 0), (33, 0), (33, 1), (96, 0), (96, 2)]
)
def test_the_parts_add_up_to_the_row_and_zeros_fill_the_tiles(count, depth, chunk):
    torch.manual_seed(0)
    rows, deep = 2 * TILE, -(-depth // DEPTH)
    size = deep - chunk
    x = torch.randn(count, depth + PADDING) * 10 ** torch.randn(count, 1)
    left = np.full(rows // TILE * size * PARTS * TILE * DEPTH, -1, dtype=np.int16)
    tail = np.full(DEPTH, np.nan, dtype=np.float32)
    flat = x.view(-1)[: (count - 1) * x.shape[1] + depth].numpy()
    _split(flat, x.shape[1], count, depth, 0, rows, chunk, size, tail, left)
    parts = torch.from_numpy(left).view(torch.bfloat16)
    parts = parts.view(rows // TILE, size, PARTS, TILE, DEPTH).double()
    assert (parts[:, :, 1].abs() <= parts[:, :, 0].abs() * 2**-8).all()
    found = parts.sum(2).transpose(1, 2).reshape(rows, size * DEPTH)
    wanted = torch.zeros(rows, deep * DEPTH).double()
    wanted[:count, :depth] = x[:, :depth]
    assert torch.equal(found, wanted[:, chunk * DEPTH :])
