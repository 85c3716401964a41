"""`cin-keras predict MODEL PATH...`: what photographs show."""

import contextlib
import csv
import json
import re
import sys

import numpy as np

from cin_keras.cli.classifier import Classifier
from cin_keras.cli.files import list_photographs
from cin_keras.cli.messages import report_unreadable, say
from cin_keras.data import Samples
from cin_keras.files import whole_file
from cin_keras.progress import progress_bar
from cin_keras.training import mistakes_in_one_sentence
from cin_keras.training.streams import one_line


def run(args):
    """Writes what each photograph shows; says which cannot be read, and goes on.

    Args:
        args: What the parser returned.

    Returns:
        Int, the exit status: 1 if a photograph or a folder could not be read.
    """
    with mistakes_in_one_sentence():
        paths, problems = list_photographs(args.paths)
        classifier = Classifier(args.model, args.image_size)
    for path, reason in problems:
        report_unreadable(path, reason)
    bad = len(problems)
    if not classifier.has_class_names:
        say(f"{args.model} does not name its classes: they are numbers, from 0.")
    if args.top > len(classifier.class_names):
        say(f"--top {args.top} is more than the model has: {len(classifier.class_names)} classes.")
    with _output(args.output) as out:
        form = Json(out) if args.json else Csv(out) if args.csv else Text(out)
        # On one terminal with the result, bar and result would write over each other.
        wanted = False if args.progress is None and out.isatty() else args.progress
        with progress_bar(len(paths), "image", wanted) as bar:
            for path, top, reason in _predictions(classifier, paths, args):
                if reason is None:
                    form.write(path, top)
                else:
                    bad += 1
                    report_unreadable(path, reason)
                    form.write_error(path, reason)
                bar.update()
    if bad > 1:
        say(f"{bad} could not be read.")
    return 1 if bad else 0


def _predictions(classifier, paths, args):
    """Yields `(path, top, reason)`: the most probable classes, or why there are none."""
    if not paths:
        return
    samples = Samples(paths, np.zeros(len(paths), int), ["unknown"])
    for index, probabilities, reason in classifier.classify(
        samples, args.batch_size, args.max_pixels
    ):
        top = None
        if reason is None:
            order = np.argsort(-probabilities, kind="stable")[: args.top].tolist()
            top = [
                {
                    "class": classifier.class_names[label],
                    "label": label,
                    "probability": round(float(probabilities[label]), 6),
                }
                for label in order
            ]
        yield paths[index], top, reason


class Text:
    """A line a photograph: `path: class 97.1%, class 2.0%`.

    Args:
        out: Text file.
    """

    def __init__(self, out):
        self.out = out

    def write(self, path, top):
        """Writes the classes of a photograph, a list of dicts, the most probable first."""
        shown = ", ".join(f"{each['class']} {each['probability']:.1%}" for each in top)
        print(one_line(f"{path}: {shown}"), file=self.out, flush=True)

    def write_error(self, path, reason):
        """Writes nothing: what cannot be read is reported on standard error."""


class Json(Text):
    """A JSON object a line, with the most probable class and, in `top`, all that were asked for."""

    def write(self, path, top):
        self._line({"path": path, **top[0], "top": top})

    def write_error(self, path, reason):
        self._line({"path": path, "error": reason})

    def _line(self, entry):
        # JSON escapes the end of a line, but not what Unicode takes for one, too.
        text = json.dumps(entry, ensure_ascii=False)
        text = re.sub("[\x7f-\x9f\u2028\u2029]", lambda end: f"\\u{ord(end[0]):04x}", text)
        print(text, file=self.out, flush=True)


class Csv(Text):
    """A table with a row for each class of a photograph, `rank` from 1."""

    def __init__(self, out):
        super().__init__(out)
        self.rows = csv.writer(out, lineterminator="\n")
        self.rows.writerow(["path", "rank", "class", "label", "probability"])

    def write(self, path, top):
        for rank, each in enumerate(top, start=1):
            self.rows.writerow([path, rank, *each.values()])
        self.out.flush()


@contextlib.contextmanager
def _output(path):
    """Standard output, or a file that is there when it is whole."""
    if path is None:
        yield sys.stdout
        return
    with (
        whole_file(path) as partial,
        open(partial, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file
