"""Searches many made-up embeddings exactly and by an index: speed, memory and what is found.

python recipes/gallery_index.py --vectors 1000000    needs 12 GB and half an hour on two cores
python recipes/gallery_index.py --usearch            beside USearch (pip install usearch), too
"""

import argparse
import importlib.util
import time

import numpy as np

from cin_keras.checks import positive
from cin_keras.gallery.embedder import of_length_1
from cin_keras.gallery.index import CellIndex
from cin_keras.gallery.nearest import nearest
from cin_keras.measuring.tables import markdown_table
from cin_keras.streams import tidy_streams

EXPANSIONS = 64, 256, 1024  # how many neighbours USearch follows
COLUMNS = {
    "looks at": "{}",
    "made in": "{:.0f} s",
    "GB": "{:.2f}",
    "of ten found": "{:.1%}",
    "queries/s at once": "{:.0f}",
    "one by one": "{:.0f}",
}
LEAST = 100  # vectors: fewer have no cells to speak of
GROUPS, DIRECTIONS, AT_A_TIME = 2000, 64, 10_000


def made_up(count, width, seed):
    """Vectors as a network has them: not negative, in groups, of few directions and some noise."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(0)
    centres = common.normal(size=(GROUPS, DIRECTIONS))
    basis = common.normal(size=(DIRECTIONS, width)).astype("float32")
    vectors = np.empty((count, width), "float32")
    for begin in range(0, count, AT_A_TIME):
        rows = vectors[begin : begin + AT_A_TIME]
        spots = centres[rng.integers(0, GROUPS, len(rows))]
        spots = spots + 0.7 * rng.normal(size=spots.shape)
        noise = 2 * rng.standard_normal((len(rows), width), "float32")
        rows[:] = of_length_1(np.maximum(spots.astype("float32") @ basis + noise, 0))
    return vectors


def per_second(search, queries):
    """How many queries are answered in a second: all at once, and one by one."""
    begin = time.perf_counter()
    found = search(queries, 10)
    together = len(queries) / (time.perf_counter() - begin)
    few = queries[:20]
    begin = time.perf_counter()
    for i in range(len(few)):
        search(few[i : i + 1], 10)
    return found[1], together, len(few) / (time.perf_counter() - begin)


class Graph:
    """An index of USearch: a graph of neighbours (HNSW) in half precision, walked from one to next."""

    def __init__(self, vectors, expansion):
        from usearch.index import Index

        self._index = Index(ndim=vectors.shape[1], metric="ip", dtype="f16")
        self._index.expansion_search = expansion
        self._index.add(np.arange(len(vectors)), vectors)

    @property
    def nbytes(self):
        return self._index.memory_usage

    def look_further(self, expansion):
        self._index.expansion_search = expansion

    def nearest(self, queries, k):
        found = self._index.search(queries, k)
        return 1 - found.distances.reshape(-1, k), found.keys.reshape(-1, k).astype("int64")


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", metavar="N", type=positive(int), default=100_000)
    parser.add_argument("--width", metavar="N", type=positive(int), default=512)
    parser.add_argument("--queries", metavar="N", type=positive(int), default=500)
    parser.add_argument("--usearch", action="store_true", help="measure USearch, too")
    args = parser.parse_args(arguments)
    if args.vectors < LEAST:
        parser.error(f"an index is of {LEAST} vectors or more. Received: --vectors {args.vectors}")
    for module, package in {"faiss": "faiss-cpu", **({"usearch": "usearch"} if args.usearch else {})}.items():
        if importlib.util.find_spec(module) is None:
            parser.error(f"a package is missing: pip install {package}")
    return args


@tidy_streams()
def main(arguments=None):
    args = parse_arguments(arguments)
    vectors = made_up(args.vectors, args.width, seed=1)
    queries = made_up(args.queries, args.width, seed=2)
    exact, *speeds = per_second(lambda asked, k: nearest(asked, vectors, k), queries)
    rows = [["all of them", 0, vectors.nbytes / 1e9, 1.0, *speeds]]
    for name, make in {
        "the package's index": lambda: CellIndex(vectors),
        **({"USearch": lambda: Graph(vectors, EXPANSIONS[0])} if args.usearch else {}),
    }.items():
        begin = time.perf_counter()
        index = make()
        seconds = time.perf_counter() - begin
        for expansion in EXPANSIONS if name == "USearch" else [None]:
            if expansion is not None:
                index.look_further(expansion)
            found, *speeds = per_second(index.nearest, queries)
            recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, exact)])
            what = name if expansion is None else f"{name}, expansion {expansion}"
            rows.append([what, seconds, (vectors.nbytes + index.nbytes) / 1e9, recall, *speeds])
    print(f"{args.vectors:,} vectors of {args.width} numbers\n")
    cells = ([form.format(value) for form, value in zip(COLUMNS.values(), row)] for row in rows)
    print(markdown_table(list(COLUMNS), cells))


if __name__ == "__main__":
    main()
