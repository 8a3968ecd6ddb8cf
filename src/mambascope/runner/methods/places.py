"""Where the rows of a table of cells lie in a dataset."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def places(cells: pa.Table, labels: Mapping[str, Sequence]) -> tuple[np.ndarray, ...]:
    """For each column named in `labels`, in their order: the index of every row's label among those given, (rows,)."""
    return tuple(
        pc.index_in(cells[name], value_set=pa.array(known, cells[name].type)).to_numpy()  # pyright: ignore[reportAttributeAccessIssue]
        for name, known in labels.items()
    )
