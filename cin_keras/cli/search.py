"""`cin-keras search GALLERY PATH...`: the known photographs that are most like these."""

import csv

import numpy as np

from cin_keras.cli.files import check_output, list_photographs
from cin_keras.cli.galleries import embed_each, open_gallery
from cin_keras.cli.output import Form, say, write_each
from cin_keras.data import Samples
from cin_keras.streams import one_line
from cin_keras.training import mistakes_in_one_sentence


def run(args):
    """Writes what is most like each photograph; says which cannot be read, and goes on.

    Args:
        args: What the parser returned.

    Returns:
        Int, the exit status: 1 if a photograph or a folder could not be read.
    """
    with mistakes_in_one_sentence():
        paths, problems = list_photographs(args.paths)
        check_output(args.output, [args.model or "", args.gallery, *paths])
        gallery = open_gallery(args.gallery, args.model)
    if args.top > len(gallery):
        say(f"--top {args.top} is more than the gallery has: {len(gallery)} photographs.")
    k = min(args.top, len(gallery))
    kind = Json if args.json else Csv if args.csv else Text
    return write_each(args, paths, problems, kind, _neighbours_of_each(gallery, paths, k, args))


def _neighbours_of_each(gallery, paths, k, args):
    """Yields `(path, (neighbours,), reason)`, or a reason why there are none."""
    if not paths:
        return
    samples = Samples(paths, np.zeros(len(paths), int), ["unknown"])
    for index, embedding, reason in embed_each(gallery, samples, args.batch_size, args.max_pixels):
        found = (neighbours(gallery, embedding, k),) if reason is None else None
        yield paths[index], found, reason


def neighbours(gallery, embedding, k):
    """The nearest photographs, the nearest first: a list of dicts.

    Args:
        gallery: `Gallery`.
        embedding: Array `(width,)`.
        k: Int, how many.
    """
    found = gallery.search(embedding[None], k)
    return [
        {"path": path, "class": name, "similarity": round(float(similarity), 6)}
        for path, name, similarity in zip(
            found.paths[0].tolist(), found.classes[0].tolist(), found.similarities[0]
        )
    ]


class Text(Form):
    """The path of a photograph, and beneath a line a neighbour: `0.953  class  path`."""

    def write(self, path, found):
        """Writes the neighbours of a photograph, as `neighbours` returns them."""
        print(one_line(path), file=self.out)
        for each in found:
            line = f"{each['similarity']:7.3f}  {each['class']}  {each['path']}"
            print(one_line(line), file=self.out)
        self.out.flush()


class Json(Text):
    """A JSON object a line: `{path, neighbours}`, or `{path, error}`."""

    def write(self, path, found):
        self.write_json({"path": path, "neighbours": found})


class Csv(Text):
    """A table with a row for each neighbour of a photograph, `rank` from 1."""

    def __init__(self, out):
        super().__init__(out)
        self.rows = csv.writer(out, lineterminator="\n")
        self.rows.writerow(["path", "rank", "neighbour", "class", "similarity"])

    def write(self, path, found):
        for rank, each in enumerate(found, start=1):
            self.rows.writerow([path, rank, *each.values()])
        self.out.flush()
