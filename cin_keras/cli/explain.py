"""`cin-keras explain MODEL IMAGE...`: where in photographs a model looks."""

import glob
import os
import pathlib

import numpy as np

from cin_keras.cli.classifier import Classifier
from cin_keras.cli.files import check_apart, list_photographs, mark_as_results
from cin_keras.cli.output import report_unreadable, say
from cin_keras.data import UnreadableImage, decode
from cin_keras.data.cropping import crop
from cin_keras.explain import (
    channel_figure,
    class_contrast_figure,
    pair_contrast_figure,
    parts_figure,
    ranking_figure,
)
from cin_keras.files import check_writable, move_aside
from cin_keras.models import NTS
from cin_keras.streams import one_line
from cin_keras.training import mistakes_in_one_sentence

MOST_OTHERS = 5  # beside the first photograph in the contrast figure
LONGEST_STEM = 200  # bytes, of the 255 that a name may have


def run(args):
    """Draws the figures of every photograph, and says what the model takes it for.

    Args:
        args: What the parser returned.

    Returns:
        Int, the exit status: 1 if a photograph could not be read.
    """
    with mistakes_in_one_sentence():
        paths, problems = list_photographs(args.paths)
        folder = pathlib.Path(args.output)
        check_apart(folder, [path for path in args.paths if path != "-"])
        if args.figures == ["contrast"] and len(paths) == 1:
            raise ValueError(too_few(1))
        classifier = Classifier(args.model, args.image_size, keras_only=True)
        kinds = possible_figures(classifier.model, args.figures)
        check_channel(classifier.model, kinds, args.channel)
        check_writable(folder)
        taken = set()
        begins = [new_stem(path, taken) for path in paths]
        figures = [f"{glob.escape(stem)}-{kind}.png" for stem in begins for kind in kinds]
        move_aside(folder, figures)  # of an earlier run, perhaps of other photographs
        mark_as_results(folder)
    for path, reason in problems:
        report_unreadable(path, reason)
    bad = len(problems)
    drawn, stems = [], set()
    for path in paths:
        try:
            image = crop(decode(path, max_pixels=args.max_pixels), *classifier.image_size)
        except (UnreadableImage, MemoryError) as error:
            reason = getattr(error, "reason", "there is not enough memory to decode it")
            report_unreadable(path, reason)
            bad += 1
            continue
        stem = new_stem(path, stems)
        written = draw(classifier, image, kinds, args.channel, folder / stem)
        lines = [f"{path}: {verdict(classifier, image)}", *written]
        print(*map(one_line, lines), sep="\n  ", flush=True)
        if len(drawn) <= MOST_OTHERS:
            drawn.append((path, image, stem))
    if "contrast" in kinds and len(drawn) > 1:
        names, images, stems = zip(*drawn)
        file = pair_contrast_figure(
            classifier.model,
            classifier.model.in_own_format(images[0][None])[0],
            classifier.model.in_own_format(np.stack(images[1:])),
            folder / f"{stems[0]}-contrast.png",
            [one_line(os.path.basename(name)) for name in names],
        )
        print(f"{one_line(names[0])} against the next {len(names) - 1}:\n  {one_line(file)}")
    elif "contrast" in (args.figures or ()):
        say(too_few(len(drawn)))
        bad += 1
    return 1 if bad else 0


def too_few(photographs):
    """Str, why there is no contrast figure of so many photographs (int)."""
    return (
        "--figure contrast shows where the first photograph differs from the next ones: give at "
        f"least two that can be read. Received: {photographs}"
    )


def possible_figures(model, wanted):
    """Those of the figures that a model has something to show in.

    Args:
        model: `CIN` or `NTS`.
        wanted: List of str, or `None` for all.

    Returns:
        List of str.

    Raises:
        ValueError: If one was asked for that the model has nothing for.
    """
    if isinstance(model, NTS):
        possible = ["parts"]
    elif model.interaction_name == "osme":  # of which no map is left
        possible = []
    else:
        possible = ["decision"]
        if model.interaction_name in ("sci", "pos_sci"):
            possible += ["channels", "ranking"]
        if model.contrast_name == "cci":
            possible.append("contrast")
    missing = [kind for kind in wanted or () if kind not in possible]
    if missing or not possible:
        asked = f"--figure {missing[0]}" if missing else "no --figure"
        raise ValueError(
            f"A model with interaction {model.interaction_name} and contrast "
            f"{model.contrast_name} has {', '.join(possible) or 'nothing'} to show. "
            f"Received: {asked}"
        )
    return wanted or possible


def check_channel(model, kinds, channel):
    """Raises ValueError unless a channel is one of the model's and of use.

    Args:
        model: `CIN`.
        kinds: List of str, the figures to draw.
        channel: Int, or `None`.
    """
    if channel is None:
        return
    if not {"channels", "ranking"} & set(kinds):
        raise ValueError(
            "--channel is for the figures channels and ranking. "
            f"Received: --channel {channel} for {', '.join(kinds)}"
        )
    channels = model.interaction.channels
    if channel >= channels:
        raise ValueError(f"--channel must lie in 0..{channels - 1}. Received: {channel}")


def draw(classifier, image, kinds, channel, stem):
    """Writes the figures of one photograph.

    Args:
        classifier: `Classifier`.
        image: uint8 array of shape `(height, width, 3)`.
        kinds: List of str, which figures.
        channel: Int, or `None` for the strongest channel.
        stem: `pathlib.Path`, how the names of the files begin.

    Returns:
        List of `pathlib.Path`, the files.
    """
    model, written = classifier.model, []
    (image,) = model.in_own_format(image[None])
    if "decision" in kinds:
        file = f"{stem}-decision.png"
        names = classifier.class_names
        written.append(class_contrast_figure(model, image, file, class_names=names))
    if "channels" in kinds:
        written.append(channel_figure(model, image, f"{stem}-channels.png", channel))
    if "ranking" in kinds:
        written.append(ranking_figure(model, image, f"{stem}-ranking.png", channel))
    if "parts" in kinds:
        written.append(parts_figure(model, image, f"{stem}-parts.png"))
    return written


def verdict(classifier, image):
    """Str, the two most probable classes of an image."""
    probabilities = classifier.probabilities(image[None])[0]
    best, second = np.argsort(-probabilities, kind="stable")[:2]
    names = classifier.class_names
    return (
        f"{names[best]} {probabilities[best]:.1%}, then {names[second]} {probabilities[second]:.1%}"
    )


def new_stem(path, taken):
    """How the names of a photograph's figures begin: its own name, with a number if it is taken.

    Of a name that leaves no room for "-decision.png", only the beginning.

    Args:
        path: Str.
        taken: Set of str, to which the result is added, in small letters.

    Returns:
        Str.

    Example:

    >>> taken = set()
    >>> [new_stem(path, taken) for path in ("a/owl.jpg", "b/Owl.jpg", "b/2.jpg")]
    ['owl', 'Owl-2', '2']
    """
    own = pathlib.Path(path).stem
    while len(os.fsencode(own)) > LONGEST_STEM:
        own = own[:-1]
    stem, number = own, 1
    while stem.casefold() in taken:  # to some disks "a" is "A"
        number += 1
        stem = f"{own}-{number}"
    taken.add(stem.casefold())
    return stem
