"""`cin-keras predict MODEL PATH...`: what photographs show."""

import numpy as np

from cin_keras.cli.classifier import Classifier
from cin_keras.cli.files import check_output, list_photographs
from cin_keras.cli.galleries import check_image_size, open_gallery
from cin_keras.cli.output import say, write_each
from cin_keras.data.hierarchy import levels_of
from cin_keras.data.predicting import predict_each
from cin_keras.gallery import Classified
from cin_keras.training import mistakes_in_one_sentence


def run(args):
    """Writes what each photograph shows; says which cannot be read, and goes on.

    Args:
        args: What the parser returned.

    Returns:
        Int, the exit status: 1 if a photograph or a folder could not be read.
    """
    with mistakes_in_one_sentence():
        paths, problems = list_photographs(args.paths)
        check_output(args.output, [args.model, args.gallery or "", *paths])
        if args.gallery is None:
            source = Classifier(args.model, args.image_size)
        else:
            source = GalleryClassifier(args.gallery, args.model, args.image_size, args.batch_size)
    if not source.has_class_names:
        say(f"{args.model} does not name its classes: they are numbers, from 0.")
    if args.top > len(source.class_names):
        what = "model" if args.gallery is None else "gallery"
        say(f"--top {args.top} is more than the {what} has: {len(source.class_names)} classes.")
    answers = args.min_confidence is not None or args.gallery is not None

    def look(row):
        shown = what_is_shown(source, row, args.top, args.min_confidence)
        return *shown, levels_of(row, source.hierarchy)

    return write_each(
        args,
        paths,
        problems,
        lambda samples: source.classify(samples, args.batch_size, args.max_pixels),
        look=look,
        as_text=as_text,
        as_entry=as_entry,
        as_rows=lambda *what: as_rows(*what, answers),
        columns=["rank", "class", "label", "probability"] + ["answer", "level"] * answers,
    )


class GalleryClassifier:
    """A gallery in the place of a `Classifier`: its classes, by similarity.

    Args:
        path: Str, the gallery's file.
        model: Str, the model's.
        image_size: Int, which must be the gallery's, or `None`.
        batch_size: Int ≥ 1, photographs at a time. Defaults to 32.

    Raises:
        FileNotFoundError, ValueError: As `open_gallery`; if it is empty or has another image size.
    """

    has_class_names, hierarchy = True, None

    def __init__(self, path, model, image_size, batch_size=32):
        self.gallery = open_gallery(path, model, batch_size)
        check_image_size(self.gallery, image_size)
        self.class_names = self.gallery.class_names

    def classify(self, samples, batch_size, max_pixels):
        """As `Classifier.classify`."""
        gallery = self.gallery
        for index, embedding, reason in predict_each(
            gallery.embed, samples, gallery.image_size, batch_size, max_pixels
        ):
            row = None if embedding is None else gallery.classify(embedding[None])
            yield index, row, reason


def what_is_shown(source, row, count, min_confidence=None):
    """What is said of a photograph.

    Args:
        source: `Classifier` or `GalleryClassifier`.
        row: What its `classify` yields: an array of probabilities, or a `Classified` of one image.
        count: Int ≥ 1, how many classes.
        min_confidence: As for `answer_of`. Defaults to `None`.

    Returns:
        `(top, answer)`: the most probable classes, a list of dicts `class`, `label` and
        `probability`, the first of which is the most probable, and as `answer_of`; `None` also for
        what is below the threshold of the gallery.
    """
    is_known, probabilities = True, row
    if isinstance(row, Classified):
        is_known, probabilities = row.classes[0] is not None, row.probabilities[0]
    order = np.argsort(-probabilities, kind="stable")[:count].tolist()
    top = [
        {
            "class": source.class_names[label],
            "label": label,
            "probability": round(float(probabilities[label]), 6),
        }
        for label in order
    ]
    answer = answer_of(probabilities, top[0], source.hierarchy, min_confidence)
    return top, answer if is_known else None


def answer_of(probabilities, best, hierarchy, min_confidence=None):
    """What is said of a photograph: its class, the group that it is in, or nothing.

    Args:
        probabilities: Array `(classes,)`.
        best: Dict, the most probable class: `class`, `label` and `probability`.
        hierarchy: As for `CIN`, or `None`.
        min_confidence: Float, which the answer has to reach, or `None`. Defaults to `None`.

    Returns:
        Dict like `best`, with the finest level that reaches it: that of the classes or, with a
        `level` and without a label, one of the hierarchy; with `levels`, where there is one, the
        most probable group on each. `None` if no level reaches it.
    """
    levels = levels_of(probabilities, hierarchy)
    more = {"levels": levels} if levels else {}
    if min_confidence is None or best["probability"] >= min_confidence:
        return {**best, **({"level": "class"} if levels else {}), **more}
    for level, group in reversed(levels.items()):
        if group["probability"] >= min_confidence:
            return {**group, "label": None, "level": level, **more}
    return None


def as_text(path, top, answer, levels):
    """A line a photograph: `path: class 97.1%, class 2.0%`.

    Args:
        path: Str.
        top: List of dicts, the most probable classes, the most probable first.
        answer: Dict, as `answer_of` returns it.
        levels: Dict from each level of the hierarchy to its most probable group, a dict.
    """
    shown = ", ".join(f"{each['class']} {each['probability']:.1%}" for each in top)
    if answer is None:
        shown = f"none of these ({shown})"
    elif answer.get("level", "class") != "class":
        of_level = f"{answer['level']} {answer['class']} {answer['probability']:.1%}"
        shown = f"{of_level} ({shown})"
    return [f"{path}: {shown}"]


def as_entry(top, answer, levels):
    """A JSON object, with the answer and, in `top`, all classes that were asked for."""
    none = {"class": None, "label": None, "probability": top[0]["probability"]}
    answer = answer or none | ({"levels": levels} if levels else {})
    return {**answer, "top": top}


def as_rows(top, answer, levels, answers):
    """A row for each class of a photograph, `rank` from 1.

    Where there are `answers`, which may be others than the most probable class, two columns have
    that of the photograph, empty for none of these, and the level that it is on: `class`, or one of
    the hierarchy.
    """
    more = []
    if answers:
        more = [answer["class"], answer.get("level", "class")] if answer else ["", ""]
    return [[rank, *each.values(), *more] for rank, each in enumerate(top, start=1)]
