"""An index over very many vectors, by Faiss, where looking at every one takes too long.

Vectors are put into cells around centres, in half precision, and a query looks into the cells
whose centres are nearest (Jégou, Douze, Schmid, "Product quantization for nearest neighbor
search", PAMI 2011, without the quantization). Faiss is an extra: `pip install ".[index]"`.
"""

import importlib.util
import warnings

import numpy as np

LARGE = 100_000  # vectors, up to which every one is looked at
CELLS = 32  # looked into for a query
_TRAINED_ON = 40  # vectors a cell
_ADDED = 50_000  # vectors at a time


def faiss_is_here():
    """Whether Faiss is installed: bool; without it a warning says how to get it."""
    if importlib.util.find_spec("faiss") is not None:
        return True
    warnings.warn(
        f"Galleries of more than {LARGE:,} photographs are searched much faster with Faiss: "
        'pip install faiss-cpu.',
        stacklevel=2,
    )
    return False


class CellIndex:
    """The vectors of a gallery, in cells.

    Args:
        vectors: float32 `(vectors, width)`, of length 1. The index takes half their memory beside
            them (`nbytes`).

    Example:

    ```python
    similarities, indices = CellIndex(vectors).nearest(queries, k=10)
    ```
    """

    def __init__(self, vectors):
        import faiss

        count, width = vectors.shape
        cells = int(4 * count**0.5)
        kind, inner = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        self._centres = faiss.IndexFlatIP(width)
        self._index = faiss.IndexIVFScalarQuantizer(self._centres, width, cells, kind, inner)
        self._index.cp.niter = 10
        rng = np.random.default_rng(0)
        chosen = rng.choice(count, min(_TRAINED_ON * cells, count), replace=False)
        self._index.train(vectors[np.sort(chosen)])
        for begin in range(0, count, _ADDED):
            self._index.add(vectors[begin : begin + _ADDED])
        self._cells = cells
        self.nbytes = vectors.nbytes // 2

    def nearest(self, queries, k):
        """As `cin_keras.gallery.nearest.nearest`, of ten neighbours nearly always all."""
        probes = CELLS
        while True:
            self._index.nprobe = min(probes, self._cells)
            similarities, indices = self._index.search(np.ascontiguousarray(queries), k)
            # Fewer than k lay in those cells.
            if probes >= self._cells or (indices >= 0).all():
                return similarities, indices
            probes *= 4
