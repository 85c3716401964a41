"""`cin-keras evaluate MODEL DATA`: how good a model is on photographs whose classes are known."""

import contextlib
import dataclasses
import os
import pathlib

import numpy as np

from cin_keras.cli.classifier import Classifier
from cin_keras.cli.files import check_apart
from cin_keras.cli.output import report_unreadable, say
from cin_keras.data import find_data_set, find_layout, find_splits
from cin_keras.data.loaders.find import official_splits
from cin_keras.data.splits import SPLIT_NAMES, check_parts, path_within, read_split
from cin_keras.evaluation import accuracy_in_words, write_results
from cin_keras.files import check_writable, move_aside
from cin_keras.progress import progress_bar
from cin_keras.streams import one_line
from cin_keras.text import first_few
from cin_keras.training import mistakes_in_one_sentence
from cin_keras.training.folder import data_name, table_options
from cin_keras.versions import versions

RESULTS = ("metrics.json", "confusion_matrix.png", "worst_mistakes.png", "report.html")


def run(args):
    """Classifies the photographs, prints how many were right, and writes the details.

    Args:
        args: What the parser returned.

    Returns:
        Int, the exit status: 1 if a photograph could not be read.
    """
    with mistakes_in_one_sentence():
        classifier = Classifier(args.model, args.image_size, keras_only=True)
        folder = pathlib.Path(args.output or f"evaluation/{data_name(args.data_dir)}")
        check_apart(folder, [args.data_dir])
        samples, part, remarks = find_samples(args, classifier.settings)
        print(one_line(f"{part} of {args.data_dir}: {samples}"))
        samples, differences = match_classes(samples, classifier)
        remarks += differences
        if (args.split or "").lower().startswith("train"):
            remarks.append(
                "These are photographs to train on: a model that was trained on them has to be "
                "better on them."
            )
        for remark in remarks:
            print(one_line(remark))
        if not args.output:
            check_writable(folder.parent)  # and marks it, or it would be a class of DATA "."
        check_writable(folder)
        move_aside(folder, RESULTS)
    read, probabilities, skipped = _classify(classifier, samples, args)
    if not read:
        say("None of the photographs could be read.")
        return 1
    read = samples.subset(read)
    about = {
        "skipped": skipped,
        "model": args.model,
        "data": args.data_dir,
        "part": part,
        "remarks": remarks,
        "command": args.command,
        "settings": classifier.settings,
        "versions": versions(),
    }
    metrics = write_results(
        folder,
        classifier.model,
        read,
        probabilities,
        about,
        image_size=classifier.image_size,
        max_pixels=args.max_pixels,
    )
    print(
        f"{accuracy_in_words(metrics, 'photographs')}\n"
        f"{one_line(folder)}/\n"
        f"  report.html            all of it on a page, for any browser\n"
        f"  metrics.json           accuracy in all and per class, settings, versions\n"
        f"  confusion_matrix.png, worst_mistakes.png"
    )
    if skipped:
        say(f"{len(skipped)} of {len(samples)} photographs could not be read.")
    return 1 if skipped else 0


def find_samples(args, settings):
    """The photographs to evaluate on.

    Args:
        args: What the parser returned.
        settings: Dict, those of the model.

    Returns:
        `(samples, part, remarks)`: `Samples`, a str that says which part of the data set they are,
        and a list of str, what else there is to know.

    Raises:
        FileNotFoundError, ValueError: As the loaders.
    """
    data_dir, split = args.data_dir, args.split
    layout, options = find_layout(data_dir), table_options(args)
    if layout == "fgvc_aircraft" and "level" in settings:  # what a class was in training
        options["level"] = settings["level"]
    own = official_splits(layout, data_dir, options)
    divided, wanted = own != {"train": None}, SPLIT_NAMES.get((split or "test").lower())
    split_file, remarks = args.split_file, []
    if split_file is None and (not divided or wanted not in (None, *own)):
        split_file, remarks = split_of_the_run(args.model, data_dir, settings, options)
    if split_file is not None:
        if not pathlib.Path(split_file).is_file():
            raise FileNotFoundError(f"There is no file {str(split_file)!r}.")
        needed = [name for name in [wanted] if name]
        parts = find_splits(data_dir, split_file=split_file, needed=needed, **options)
        if wanted is None:
            raise ValueError(f"--split must be one of {', '.join(parts)}. Received: {split}")
        check_parts(parts, [wanted], split_file)
        return parts[wanted], f"the {wanted} part by {split_file}", remarks
    if divided:
        name = split or "test"
        return find_data_set(data_dir, name, **options), f"the {name} part", remarks
    if split is None:
        return find_data_set(data_dir, None, **options), "all photographs", remarks
    samples = find_data_set(data_dir, split, **options)
    return samples, f"the {split} part, a random one,", remarks


def split_of_the_run(model, data_dir, settings, options):
    """The split of a model's own photographs, where it is to be evaluated on these.

    Args:
        model: Str, the model's file.
        data_dir: Str, the photographs to evaluate on.
        settings: Dict, those of the model.
        options: Dict, how a table is to be read, as from `table_options`.

    Returns:
        `(split_file, remarks)`: the path of the file beside the model, or beside what it is a link
        to, that says on which photographs it was not trained, or `None`, and a list of str.
    """
    trained_on = settings.get("data_dir")
    if not trained_on:
        return None, []
    beside = [path.parent / "split.json" for path in followed(model)]
    split_file = next(filter(pathlib.Path.is_file, beside), beside[0])
    there, here = (pathlib.Path(path).resolve() for path in (data_dir, trained_on))
    # As it was typed where the training began: in a folder that the run's is in, or else here.
    around = pathlib.Path(model).resolve().parents
    own = {(place / trained_on).resolve() for place in around}
    elsewhere = any(path not in around and holds_most_of(split_file, path, options) for path in own)
    if there in own and split_file.is_file():
        return split_file, []
    if not split_file.is_file():
        if there not in own and (elsewhere or there != here):
            return None, []
        return None, [
            "The model was trained on some of these photographs, and has to be better on them: no "
            "split.json lies beside it that says which. Give it with --split-file."
        ]
    if not elsewhere and here.name == there.name:
        remark = (
            f"The model was trained on {here.name}, for which these photographs are taken: "
            f"{split_file} says which of them it was not trained on."
        )
        if there == here or lists_most_of(split_file, data_dir, options):
            return split_file, [remark]
        with contextlib.suppress(FileNotFoundError, ValueError):  # not the same photographs
            find_splits(data_dir, split_file=split_file, **options)
            return split_file, [remark]
    with contextlib.suppress(ValueError):  # a file of something else
        if lists_most_of(split_file, data_dir, options):
            return None, [
                "Most photographs that the model was trained on have namesakes here: if these are "
                f"the same, it has to be better on them, and --split-file {split_file} leaves them "
                "out."
            ]
    return None, []


def followed(path):
    """A path (str) and, of a link, those that it leads to, one after the other, as `pathlib.Path`."""
    path = pathlib.Path(path)
    yield path
    while path.is_symlink():
        path = path.parent / path.readlink()
        yield path


def holds_most_of(split_file, path, options):
    """Whether the photographs that a run was trained on are in a place, as far as one can look.

    Args:
        split_file: `pathlib.Path`, the run's, or one that is not there: then any place will do.
        path: `pathlib.Path` of a folder or table.
        options: As for `lists_most_of`.

    Returns:
        Bool.
    """
    if not os.path.exists(path):
        return False
    with contextlib.suppress(OSError, ValueError):
        return not split_file.is_file() or lists_most_of(split_file, path, options)
    return False


def lists_most_of(split_file, data_dir, options):
    """Whether most photographs of a split are there: then it is meant, though some are gone.

    Args:
        split_file: `pathlib.Path`, as `save_split` writes it.
        data_dir: Str, the folder in which they have to lie, or a table that has to list them.
        options: Dict, how a table is to be read, as from `table_options`.

    Returns:
        Bool.

    Raises:
        ValueError: If the file is no such file.
        FileNotFoundError, ValueError: As `find_data_set`, of a table.
    """
    parts = read_split(split_file)
    del parts["class_names"]
    listed = [path for part in parts.values() for path in part]
    if os.path.isfile(data_dir):
        rows = find_data_set(data_dir, None, **options).paths
        there = {path_within(os.path.dirname(data_dir), path) for path in rows}
    else:
        there = {path for path in listed if os.path.exists(os.path.join(data_dir, path))}
    return 2 * sum(path in there for path in listed) > len(listed)


def match_classes(samples, classifier):
    """The samples with the classes of a model, matched by name.

    Args:
        samples: `Samples`.
        classifier: `Classifier`.

    Returns:
        `(samples, remarks)`: `Samples` whose class names and labels are the model's, and a list
        of str that say where the classes of the two differ. Samples of classes that the model
        does not have are left out.

    Raises:
        ValueError: If they have no class in common, or the model names none and has another
            number of them.
    """
    known, given = classifier.class_names, samples.class_names
    if not classifier.has_class_names:
        if len(known) != len(given):
            raise ValueError(
                f"The model has {len(known)} classes without names, the data {len(given)}: nobody "
                "knows which is which."
            )
        return samples, ["The model does not name its classes: they are taken in the data's order."]
    common = set(known) & set(given)
    if not common:
        raise ValueError(
            f"No class of the data is one of the model's. The data's: {quoted(given)}; the "
            f"model's: {quoted(known)}"
        )
    remarks = []
    unknown = [name for name in given if name not in common]
    if unknown:
        kept = np.isin(samples.labels, [given.index(name) for name in common])
        remarks.append(
            f"The model does not know {quoted(unknown)}: {np.sum(~kept)} photographs are left out."
        )
        if not kept.any():
            raise ValueError(f"No photograph is of a class that the model knows. {remarks[0]}")
        samples = samples.subset(kept)
    absent = [name for name in known if name not in common]
    if absent:
        remarks.append(f"The data lack classes that the model knows: {quoted(absent)}.")
    if not remarks and known != given:
        remarks.append("The data have the model's classes in another order: matched by name.")
    number = {name: label for label, name in enumerate(known)}
    numbers = np.array([number.get(name, -1) for name in given])
    samples = dataclasses.replace(
        samples,
        labels=numbers[samples.labels],
        class_names=known,
        hierarchy=classifier.hierarchy,
    )
    return samples, remarks


def quoted(names):
    """The first of some names, as a str, each in quotes."""
    return first_few([repr(name) for name in names])


def _classify(classifier, samples, args):
    """What could be read: `(indices, probabilities, skipped)`; `skipped` is path → what is wrong."""
    read, rows, skipped = [], [], {}
    classified = classifier.classify(samples, args.batch_size, args.max_pixels)
    with progress_bar(len(samples), "image", wanted=None) as bar:
        for index, probabilities, reason in classified:
            if reason is None:
                read.append(index)
                rows.append(probabilities)
            else:
                path = samples.paths[index]
                skipped[path] = report_unreadable(path, reason)
            bar.update()
    return read, np.array(rows), skipped
