"""`cin-keras index MODEL DATA`: a gallery of known photographs, to search and to classify by."""

import contextlib
import dataclasses
import os
import pathlib
import re
import sys
import warnings

import numpy as np

from cin_keras.cli.files import list_photographs
from cin_keras.cli.galleries import check_image_size, path_of_model
from cin_keras.cli.output import report_unreadable, say
from cin_keras.data import Samples, find_data_set, find_layout
from cin_keras.data.loaders.find import TABLE_OPTIONS, official_splits
from cin_keras.gallery import Gallery
from cin_keras.gallery.calibration import check_photographs
from cin_keras.models import load_model
from cin_keras.streams import one_line
from cin_keras.training import mistakes_in_one_sentence
from cin_keras.training.folder import table_options


def run(args):
    """Makes a gallery, or adds to one, and writes it.

    Args:
        args: What the parser returned.

    Returns:
        Int, the exit status: 1 if a photograph could not be read.
    """
    part = f"{args.output}.part"
    with mistakes_in_one_sentence():
        check_output(args.output, args.add)
        check_all_used(args)
        samples = find_photographs(args, args.data_dir, args.split, args.class_name)
        print(one_line(f"{args.data_dir}: {samples}"))
        if samples.hierarchy:
            say(
                "A gallery has no levels, so that nothing is rolled up: its classes are those of the "
                f"finest, such as {samples.class_names[0]!r}."
            )
        validation = None
        if args.calibrate is not None:
            with about_calibrate():
                validation = find_photographs(args, args.calibrate, args.calibrate_split)
        model = load_model(args.model, compile=False)
        if args.add:
            gallery = Gallery.load(args.output, model, args.batch_size)
            if args.by is not None and args.by != gallery.by:
                if gallery.threshold is not None and validation is None:
                    say(
                        f"The threshold of none of these was for --by {gallery.by} and is given up: "
                        "--calibrate finds another."
                    )
                gallery.by = args.by
        else:
            by = args.by or "means"
            gallery = Gallery(model, by=by, image_size=args.image_size, batch_size=args.batch_size)
        check_image_size(gallery, args.image_size)
        if validation is not None:
            names = dict.fromkeys([*gallery.class_names, *samples.class_names])
            with about_calibrate():  # now, not after hours of embedding
                check_photographs(validation, [*gallery.paths, *samples.paths], list(names))
        gallery.model_path = path_of_model(args.model, args.output)
    with warnings.catch_warnings():
        # Each is reported by a line of its own.
        warnings.filterwarnings("ignore", "Left out .* cannot be decoded")
        try:
            gallery.add(samples, on_error="skip", resume_file=part, progress=args.progress)
        except KeyboardInterrupt:
            say(f"\nWhat is done so far is in {part!r}: the same command goes on.")
            raise
        except (ValueError, MemoryError) as error:
            sys.exit(f"error: {error}")
        bad = report_skipped(gallery)
        if not len(gallery):
            say("None of the photographs could be read: there is nothing to write.")
            pathlib.Path(part).unlink(missing_ok=True)
            return 1
        found, seen = None, len(samples)
        if validation is not None:
            rate = 0.05 if args.false_alarm_rate is None else args.false_alarm_rate
            with mistakes_in_one_sentence(), about_calibrate():
                found = gallery.calibrate(validation, rate, on_error="skip")
            bad, seen = bad + report_skipped(gallery), seen + len(validation)
    gallery.save(args.output)
    pathlib.Path(part).unlink(missing_ok=True)
    print(one_line(f"{args.output}: {gallery!r}"))
    if found is not None:
        print(found)
    if bad:
        say(f"{bad} of {seen} photographs could not be read.")
    return 1 if bad else 0


def report_skipped(gallery):
    """A line for each photograph that could not be read; returns how many."""
    for path, reason in gallery.skipped.items():
        report_unreadable(path, reason)
    return len(gallery.skipped)


def check_output(output, add):
    """Raises ValueError or FileNotFoundError unless a gallery can be written, or added to, there.

    Args:
        output: Str, its file.
        add: Bool, whether it is to be added to.
    """
    if not output.endswith(".npz"):
        raise ValueError(f"--output must end in .npz. Received: --output {output}")
    if add and not os.path.exists(output):
        raise FileNotFoundError(
            f"There is no gallery {output!r} to add to: leave --add out to make it."
        )
    if not add and os.path.exists(output):
        raise ValueError(
            f"{output!r} is there already: --add adds to it; or give another --output, or delete it."
        )
    folder = os.path.dirname(output) or "."
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder!r} for --output {output}.")


def check_all_used(args):
    """Raises ValueError for an option that nothing would use."""

    def given(names):
        return [f"--{name.replace('_', '-')}" for name in names if getattr(args, name) is not None]

    if args.calibrate is None:
        for option in given(["calibrate_split", "false_alarm_rate"]):
            raise ValueError(f"{option} is for --calibrate: give that, too, or leave {option} out.")
    if args.class_name is not None:
        of_table = (*TABLE_OPTIONS, "levels") if args.calibrate is None else ()
        for option in given(["split", *of_table]):
            raise ValueError(
                f"With --class, DATA is any photographs, of which {option} says nothing: leave one "
                "of the two out."
            )


@contextlib.contextmanager
def about_calibrate():
    """Has errors name the options that photographs to calibrate by are given with."""
    options = {"data_dir": "calibrate", "samples": "calibrate", "split": "calibrate_split"}
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        names = rf"(?<=[ `])({'|'.join(options)})(?=[`=])"
        raise ValueError(re.sub(names, lambda name: options[name[0]], str(error))) from error


def find_photographs(args, data_dir, split=None, class_name=None):
    """The photographs of a data set, all of its parts unless one is asked for.

    Args:
        args: What the parser returned.
        data_dir: Str, a folder or a table; with `class_name` also a photograph.
        split: Str, or `None` for all. Defaults to `None`.
        class_name: Str, the class of all of them, whatever their folders are called, or `None`.
            Defaults to `None`.

    Returns:
        `Samples`.

    Raises:
        FileNotFoundError, ValueError: As the loaders.
    """
    if class_name is not None:
        paths, problems = list_photographs([data_dir])
        if problems:
            raise ValueError("; ".join(f"{path!r}: {reason}" for path, reason in problems))
        samples = Samples(paths, np.zeros(len(paths), int), [class_name])
    else:
        layout, options = find_layout(data_dir), table_options(args)
        data = [args.calibrate, args.data_dir if args.class_name is None else None]
        if layout != "table" and any(path and os.path.isfile(path) for path in data):
            for name in TABLE_OPTIONS:  # they are of the other one
                options.pop(name, None)
        names = official_splits(layout, data_dir, options)
        splits = [split] if split is not None else list(names.values())
        first, *others = (find_data_set(data_dir, name, **options) for name in splits)
        samples = first.join(*others)
        if split is not None and names == {"train": None}:
            say(
                f"{one_line(data_dir)} is not divided: its {split} part is a random one, the same as "
                "long as the photographs are."
            )
    return dataclasses.replace(samples, max_pixels=args.max_pixels)
