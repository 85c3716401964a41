"""Whether the maps of `cin_keras.explain` look at the right thing, on images whose parts are known.

Every method draws a map of every image; `cin_keras.measuring.scores` says whether its peak lies on a
part that tells the two classes apart, and what deletion and insertion make of the prediction.
"""

import numpy as np
from scipy.integrate import trapezoid
from scipy.special import softmax

from cin_keras import explain
from cin_keras.data import cub_200_2011
from cin_keras.data.cropping import crop, crop_box
from cin_keras.measuring import scores
from cin_keras.measuring.panels import name_rows, panels, save_open
from cin_keras.measuring.tables import markdown_table, plus_minus
from cin_keras.progress import progress_bar
from cin_keras.training.data_set import drawn_samples

IMAGES_AT_ONCE = 8
CONTRAST, GRAD_CAM = "class contrast", "Grad-CAM"
DIFFERENCE, PAIR, RANDOM = "Grad-CAM of the difference", "pair contrast (CCI)", "random order"
STYLES = {
    CONTRAST: ("#0072B2", "-"),
    GRAD_CAM: ("#D55E00", "--"),
    DIFFERENCE: ("#009E73", "-."),
    PAIR: ("#CC79A7", (0, (4, 1, 1, 1, 1, 1))),
    RANDOM: ("#7F7F7F", ":"),
}


class Targets:
    """What the peak of a map should hit, in the pixels of the original image.

    Args:
        samples: `Samples` with boxes and parts.
        radius: Float, within what share of the larger side of its box a point hits the middle of
            any visible part. Defaults to 0.1.
        differing: Function from two classes to names of parts, as
            `cin_keras.data.differing_parts`; then a point must lie in the box of such a part.
            Defaults to `None`, any part counts.
    """

    def __init__(self, samples, radius=0.1, differing=None):
        self.samples, self.radius, self.differing = samples, radius, differing

    def hits(self, index, shares, class_a, class_b):
        """Which points of an image hit.

        Args:
            index: Int, of the image.
            shares: Floats of shape `(points, 2)`, x and y in shares of what the model sees.
            class_a: Int, the predicted class.
            class_b: Int, the class it is set against.

        Returns:
            Bools of shape `(points,)`.
        """
        points = self._in_image(index, shares)
        parts = self.samples.parts[index]
        if self.differing is not None:
            return scores.in_boxes(points, [parts[n] for n in self.differing(class_a, class_b)])
        middles = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in parts.values()]
        left, top, right, bottom = self.samples.boxes[index]
        return scores.near_points(points, middles, self.radius * max(right - left, bottom - top))

    def in_box(self, index, shares):
        """Which points, as for `hits`, lie in the box around the object."""
        return scores.in_boxes(self._in_image(index, shares), self.samples.boxes[index][None])

    def _in_image(self, index, shares):
        left, top, right, bottom = crop_box(*self.samples.read(index).size)
        return (left, top) + np.asarray(shares) * (right - left, bottom - top)


def samples_with_parts(data_dir, drawn_size, seed):
    """Training, validation and test samples of which it is known where their parts are.

    Args:
        data_dir: Str or path of CUB-200-2011, or `None` for drawn cars.
        drawn_size: Int, pixels of a side of what a network sees of drawn cars.
        seed: Int, of the division of CUB's training photographs.

    Returns:
        Three `Samples`.

    Raises:
        FileNotFoundError, ValueError: If the data set is not there, or has no parts.

    Example:

    >>> train, validation, test = samples_with_parts(None, 32, seed=0)
    >>> sorted(test.parts[0])[:3]
    ['front wheel', 'grille', 'lamp']
    """
    if data_dir is None:
        return drawn_samples(drawn_size)
    train, validation = cub_200_2011(data_dir, "train").split(0.1, seed=seed)
    test = cub_200_2011(data_dir, "test")
    if test.parts is None:
        raise ValueError(
            f"The scores need to know where the birds' parts are. Received: {data_dir}, "
            "which has no folder parts/ with parts.txt and part_locs.txt"
        )
    return train, validation, test


def check_model(model, train, test, file, data_dir):
    """Raises ValueError unless a model can be explained on these images.

    Args:
        model: `CIN` or `NTS`, or `None` where one is still to be trained.
        train: `Samples`, with an image of each class.
        test: `Samples`.
        file: Str or path, where the model came from.
        data_dir: Str or path, where the images came from, or `None` for drawn cars.
    """
    if model is not None and model.num_classes != test.num_classes:
        raise ValueError(
            f"{file} tells {model.num_classes} classes apart, but the images have "
            f"{test.num_classes}: {data_dir or 'drawn cars'}. Give the data that it was "
            "trained on."
        )
    if model is not None and model.class_names not in (None, list(test.class_names)):
        raise ValueError(
            f"{file} tells other classes apart than the images show, or in another order: it begins "
            f"with {model.class_names[0]!r}, {data_dir or 'drawn cars'} with "
            f"{test.class_names[0]!r}. Give the data that it was trained on."
        )
    if model is not None and model.data_format == "channels_first":
        raise ValueError(
            f"Scored are explanations of models of channels-last images. Received: {file}, of "
            "channels-first ones."
        )
    first_of_each_class(train)


def first_of_each_class(samples):
    """The index of the first image of every class.

    Args:
        samples: `Samples`.

    Returns:
        List of int.

    Raises:
        ValueError: If a class has no image; it names the class.

    Example:

    >>> first_of_each_class(cin_keras.data.drawn_cars(num_classes=3, images_per_class=2))
    [0, 2, 4]
    """
    labels = samples.labels.tolist()
    missing = sorted(set(range(samples.num_classes)) - set(labels))
    if missing:
        raise ValueError(
            f"There is no training image of {samples.class_names[missing[0]]!r}, and the maps show "
            "one of each class. Give the whole data set, or a larger --limit."
        )
    return [labels.index(label) for label in range(samples.num_classes)]


def draw_figures(model, test, references, folder):
    """The four figures of what a model looks at, as far as it has what they show.

    Args:
        model: `CIN`.
        test: `Samples`; an image of each of the four classes that are drawn is taken from it.
        references: Array of images, `(classes, height, width, 3)`, one of each class.
        folder: `pathlib.Path`, where `class_contrast.png`, `channel.png`, `ranking.png` and
            `pair_contrast.png` are written.

    Returns:
        List of `pathlib.Path`, what was written.
    """
    first = [int(np.flatnonzero(test.labels == label)[0]) for label in np.unique(test.labels)]
    chosen = first[:: max(len(first) // 4, 1)][:4]
    pictures = read_images(test, chosen, references.shape[1:3])
    names, labels = test.class_names, test.labels[chosen]
    path = folder / "class_contrast.png"
    written = [explain.class_contrast_figure(model, pictures, path, None, None, names, labels)]
    if model.interaction_name in ("sci", "pos_sci"):
        written.append(explain.channel_figure(model, pictures[0], folder / "channel.png"))
        written.append(explain.ranking_figure(model, pictures[0], folder / "ranking.png"))
    if model.contrast is not None:
        # The classes that come next, in the model's own opinion.
        logits = explain.class_contrast(model, pictures[0]).logits[0]
        likely = [other for other in np.argsort(-logits) if other != labels[0]][:3]
        shown = [names[labels[0]], *(names[other] for other in likely)]
        path = folder / "pair_contrast.png"
        others = references[likely]
        written.append(explain.pair_contrast_figure(model, pictures[0], others, path, shown))
    return written


def read_images(samples, indices, size):
    """Images as a model gets them in evaluation.

    Args:
        samples: `Samples`.
        indices: Iterable of int.
        size: `(height, width)`, in pixels.

    Returns:
        uint8 of shape `(images, height, width, 3)`.
    """
    return np.stack([crop(samples.read(i), *size) for i in indices])


def all_maps(model, pictures, references, seed):
    """The maps of every method, and the classes that they are about.

    Args:
        model: `CIN`.
        pictures: uint8 of shape `(images, height, width, 3)`.
        references: Likewise, an image of each class, for the contrast of a pair.
        seed: What `numpy.random.default_rng` takes, of the random order.

    Returns:
        `(maps, classes, others)`: dict from methods to floats of shape
        `(images, map_height, map_width)`; the predicted class and the runner-up of each image.
    """
    maps, classes, others, _ = explain.class_contrast(model, pictures)
    found = {
        CONTRAST: maps,
        GRAD_CAM: explain.grad_cam(model, pictures, classes),
        DIFFERENCE: explain.grad_cam(model, pictures, classes, others),
    }
    if model.contrast is not None:
        found[PAIR] = np.concatenate(
            [
                explain.pair_contrast(model, picture, references[other]).maps
                for picture, other in zip(pictures, others)
            ]
        )
    found[RANDOM] = np.random.default_rng(seed).random(maps.shape)
    return found, classes, others


def score_maps(model, test, targets, references, steps=8, seed=0):
    """Scores the maps of every method on every image.

    Args:
        model: `CIN`.
        test: `Samples`.
        targets: `Targets` of these.
        references: As for `all_maps`; their size is that of the model's images.
        steps: Int ≥ 1, of deletion and insertion. Defaults to 8.
        seed: Int, of the random order, and of cells of one height. Defaults to 0.

    Returns:
        `(arrays, chance)`: dict from methods to dicts of `peak` (whether it hits, `(images,)`),
        `deletion` and `insertion` (`(images, steps + 1)`); and a dict of `image` and `box` (the share
        of each that hits), `best cell` (whether any cell hits) and `right` (whether the prediction
        is), all `(images,)`.
    """

    def predict(images):
        outputs = model.predict_on_batch(images)
        return softmax(outputs, axis=1) if model.classifier_activation is None else outputs

    size = references.shape[1:3]
    found, chance = {}, {"image": [], "box": [], "best cell": [], "right": []}
    with progress_bar(len(test), "image") as bar:
        for start in range(0, len(test), IMAGES_AT_ONCE):
            indices = range(start, min(start + IMAGES_AT_ONCE, len(test)))
            pictures = read_images(test, indices, size)
            maps, classes, others = all_maps(model, pictures, references, [seed, start])
            pixels, cells = scores.grid(*size), scores.grid(*maps[CONTRAST].shape[1:])
            for index, a, b in zip(indices, classes, others):
                hits = targets.hits(index, pixels, a, b)
                chance["image"].append(hits.mean())
                chance["box"].append(hits[targets.in_box(index, pixels)].mean())
                chance["best cell"].append(targets.hits(index, cells, a, b).any())
                chance["right"].append(a == test.labels[index])
            for name, own in maps.items():
                values = found.setdefault(name, {"peak": [], "deletion": [], "insertion": []})
                values["peak"] += [
                    targets.hits(index, peak[None], a, b)[0]
                    for index, peak, a, b in zip(indices, scores.peaks(own, seed), classes, others)
                ]
                arguments = predict, pictures, own, classes, steps, seed
                values["deletion"].extend(scores.deletion_curves(*arguments))
                values["insertion"].extend(scores.insertion_curves(*arguments))
            bar.update(len(indices))
    arrays = {name: {k: np.array(v) for k, v in values.items()} for name, values in found.items()}
    return arrays, {name: np.array(values) for name, values in chance.items()}


def summarize_scores(arrays, chance):
    """Means with their standard errors over images, and paired differences.

    Args:
        arrays: As `score_maps` returns them.
        chance: Likewise.

    Returns:
        Dict: `images`, `images_with_a_visible_part`, `accuracy`, `methods`, `chance`,
        `best_possible_peak`, and `class_contrast_minus` the other methods, image by image. An
        estimate is a dict of `mean` and `standard_error`.
    """

    def estimate(values):
        return dict(zip(("mean", "standard_error"), scores.mean_and_error(values)))

    def estimates(kinds):
        return {kind: estimate(values) for kind, values in kinds.items()}

    def area(curves):
        return trapezoid(curves, dx=1 / (curves.shape[1] - 1))

    # Where the crop cuts off all that could be hit, there is nothing to find.
    visible = chance["image"] > 0
    per_image = {
        name: {
            "peak": values["peak"][visible].astype(float),
            "deletion": area(values["deletion"]),
            "insertion": area(values["insertion"]),
        }
        for name, values in arrays.items()
    }
    del per_image[RANDOM]["peak"]  # chance by area says the same without noise
    first = per_image[CONTRAST]
    return {
        "images": len(visible),
        "images_with_a_visible_part": int(visible.sum()),
        "accuracy": float(chance["right"].mean()),
        "methods": {name: estimates(kinds) for name, kinds in per_image.items()},
        "chance": {name: estimate(chance[name][visible]) for name in ("image", "box")},
        "best_possible_peak": estimate(chance["best cell"][visible]),
        "class_contrast_minus": {
            name: estimates({kind: first[kind] - values for kind, values in kinds.items()})
            for name, kinds in per_image.items()
            if name != CONTRAST
        },
    }


def score_table(summary, part, thing):
    """What `summarize_scores` returned in Markdown, with what it means.

    Args:
        summary: Dict.
        part: Str, what a peak should hit, such as `"a differing part"`.
        thing: Str, what has parts, such as `"car"`.

    Returns:
        Str, which ends with a newline.
    """

    def percent(estimate):
        return plus_minus(*estimate.values(), ".1f", 100, " %")

    rows = [
        [
            name,
            percent(kinds["peak"]) if "peak" in kinds else "",
            plus_minus(*kinds["deletion"].values()),
            plus_minus(*kinds["insertion"].values()),
        ]
        for name, kinds in summary["methods"].items()
    ]
    for name, estimate in (
        ("chance, anywhere in the image", summary["chance"]["image"]),
        (f"chance, anywhere in the {thing}'s box", summary["chance"]["box"]),
        ("the best cell of every map", summary["best_possible_peak"]),
    ):
        rows.append([name, percent(estimate), "", ""])
    columns = ["map", f"peak on {part}", "deletion (less is better)", "insertion (more is better)"]
    differences = [
        f"{name} {plus_minus(*kinds['peak'].values(), '+.1f', 100)}"
        for name, kinds in summary["class_contrast_minus"].items()
        if "peak" in kinds
    ]
    seen = summary["images_with_a_visible_part"]
    return (
        f"{markdown_table(columns, rows)}\n\nPeaks: {seen} of {summary['images']} images, those in "
        f"which {part} is seen; curves: all. {summary['accuracy']:.1%} of the images are classified "
        "rightly. ± is one standard error over images. Class contrast's peaks, in points, against "
        f"those of: {'; '.join(differences)} (paired).\n"
    )


def score_figure(arrays, summary, path):
    """Bars of the peaks with chance, and the mean deletion and insertion curves.

    Args:
        arrays: As `score_maps` returns them.
        summary: As `summarize_scores` returns it.
        path: Str or path, the PNG file to write.

    Returns:
        The `pathlib.Path` of the file.
    """
    figure, (bars, *curves) = panels(13, 4.4, 3, width_ratios=(1.2, 1, 1))
    rows = {name: kinds["peak"] for name, kinds in summary["methods"].items() if "peak" in kinds}
    for y, (name, peak) in enumerate(rows.items()):
        mean, error = (100 * value for value in peak.values())
        bars.barh(y, mean, xerr=error, color=STYLES[name][0], height=0.6, capsize=3)
    for estimate, style, label in (
        (summary["chance"]["image"], ":", "chance, image"),
        (summary["chance"]["box"], "--", "chance, box"),
        (summary["best_possible_peak"], "-", "best cell"),
    ):
        share = 100 * estimate["mean"]
        bars.axvline(share, color="black", linestyle=style, linewidth=1.2, label=label)
    name_rows(bars, rows)
    bars.set_xlim(0, 100)
    bars.set_xlabel("peaks on a part, % (± standard error)")
    for panel, kind, share in zip(curves, ("deletion", "insertion"), ("taken away", "put back")):
        for name, values in arrays.items():
            mean, (color, line) = values[kind].mean(axis=0), STYLES[name]
            panel.plot(
                np.linspace(0, 100, len(mean)), mean, color=color, linestyle=line, label=name
            )
        panel.set_title(kind.capitalize(), fontsize=11)
        panel.set_xlabel(f"cells {share}, %")
        panel.set_ylabel("probability of the predicted class")
        panel.set_ylim(0, 1.02)
        panel.grid(color="0.9")
    # Outside the panels, where nothing can run through it.
    handles = [*curves[0].lines, *bars.lines[-3:]]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return save_open(figure, path)
