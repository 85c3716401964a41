"""`report.html`: one file that says what a model was trained on and what it can do."""

import math
import pathlib
import time

import jinja2
import numpy as np

from cin_keras.checks import check_size
from cin_keras.data.decoding import MAX_PIXELS
from cin_keras.evaluation.accuracy import (
    accuracy_of_levels,
    checked_probabilities,
    evaluate_predictions,
    wilson_interval,
)
from cin_keras.evaluation.calibration import (
    answered,
    expected_calibration_error,
    reliability,
    uncalibrated,
)
from cin_keras.evaluation.confusions import confusion_counts, most_confused_pairs, worst_classes
from cin_keras.evaluation.report.curves import learning_curves_svg, reliability_svg
from cin_keras.evaluation.report.photographs import colour_gradient, data_uri, photographs_of
from cin_keras.files import whole_file
from cin_keras.models import CIN
from cin_keras.text import plural
from cin_keras.versions import __version__

MOST_PAIRS = 8  # 16 photographs, which the model sees in one batch
MOST_CLASSES = 20
CONTRASTS = {
    "cci": "channel interaction",
    "embedding": "embeddings alone",
    "mamc": "attentions",
    None: "none",
}
TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("cin_keras.evaluation", "report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {
    "percent": "{:.1%}".format,
    "plural": plural,
    "interval": lambda right_of: wilson_interval(*right_of),
    "class_counts": lambda samples: [int(n) for n in np.bincount(samples.labels) if n],
    "data_uri": data_uri,
}


def write_report(
    path,
    *,
    model,
    test,
    probabilities,
    metrics,
    train=None,
    validation=None,
    history=None,
    image_size=None,
    max_pixels=MAX_PIXELS,
):
    """Writes a page that a person can read, with everything it shows in the one file.

    What was trained on what; accuracy with a 95 % confidence interval; how far the model's own
    confidence can be believed; learning curves; the pairs
    of classes that are confused most, in photographs, with maps of where they differ; the worst
    classes; and what it takes to repeat it. All numbers of accuracy come from `test` and
    `probabilities`. The file appears whole or not at all; any browser shows it, on a telephone,
    in the dark and on paper, too; it has no script and fetches nothing.

    Args:
        path: Str or path, the HTML file to write; its folder is created.
        model: The trained `cin_keras.CIN`; with any other Keras model there are no contrast maps.
        test: `Samples`, those that the model was tried on.
        probabilities: Floats in [0, 1] of shape `(images, classes)`, the model's for `test` after
            its `temperature`, as `cin_keras.evaluation.calibrated` makes them.
        metrics: Dict of what else is known, as a recipe's `metrics.json`. Shown are, where they
            are there, `data` (str, name or folder of the data set), `part` (str, which of its
            images these are), `remarks` (list of str), `seconds` (number),
            `duplicates` (dict, `"train"` or `"validation"` → how many test images are in it, too,
            or `None` if not compared), `skipped` and `skipped_in_training` (dicts, path of an
            image that was left out → why), `command` (str), `settings` and `versions` (dicts).
        train: `Samples` that the model was trained on, or `None` if they are not at hand: then the
            test images show what a class looks like. Defaults to `None`.
        validation: `Samples` that chose the best epoch, or `None`. Defaults to `None`.
        history: As for `cin_keras.evaluation.figures.learning_curves`, or `None`. Defaults to `None`.
        image_size: Int or `(height, width)` in pixels, as the model sees images. Defaults to
            `None`, the model's own; one that takes any size needs it.
        max_pixels: Int ≥ 1, the limit under which the photographs were read. Defaults to
            178,956,970.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        OSError: If the file cannot be written.
        ValueError: If shapes or ranges are not as above, or the classes of the sets differ.

    Example:

    ```python
    from cin_keras.evaluation import calibrated, write_report

    samples = cin_keras.data.image_folder("photographs/test")
    model = cin_keras.load_model("model.keras")
    scores = model.predict(cin_keras.data.image_dataset(samples, image_size=448))
    probabilities = calibrated(scores, model.temperature)  # of logits
    write_report("report.html", model=model, test=samples, probabilities=probabilities, metrics={})
    ```
    """
    for name, samples in (("train", train), ("validation", validation)):
        if samples is not None and samples.class_names != test.class_names:
            raise ValueError(
                f"`{name}` must have the classes of `test`, in the same order. "
                f"Received: {name}={samples!r}, test={test!r}"
            )
    scores = evaluate_predictions(test.labels, probabilities, test.class_names)
    probabilities = checked_probabilities(probabilities, test)
    predicted = probabilities.argmax(axis=1)
    counts = confusion_counts(test.labels, predicted, test.num_classes)
    image_size = seen_size(model, image_size)
    pairs = most_confused_pairs(counts, MOST_PAIRS)
    temperature = getattr(model, "temperature", 1.0)
    before = uncalibrated(probabilities, temperature) if temperature != 1 else None
    # Of several attentions no map is left.
    explained = isinstance(model, CIN) and model.interaction_name != "osme"
    photographs = photographs_of(
        pairs,
        model if explained else None,
        image_size,
        test,
        predicted,
        probabilities,
        train,
        max_pixels,
    )
    splits = {"train": train, "validation": validation, "test": test}
    skipped = {
        "train and validation": metrics.get("skipped_in_training"),
        "test": metrics.get("skipped"),
    }
    page = TEMPLATES.get_template("page.html").render(
        name=pathlib.PurePath(str(metrics.get("data", "test images"))).name,
        class_names=test.class_names,
        images=len(test),
        right=int(counts.trace()),
        in_five=scores["top_5_accuracy"] if test.num_classes > 5 else None,
        totals=counts.sum(axis=1),
        facts=describe(model, image_size, metrics),
        splits={name: samples for name, samples in splits.items() if samples is not None},
        remarks=metrics.get("remarks", []),
        duplicates=metrics.get("duplicates", {}),
        skipped={name: reasons for name, reasons in skipped.items() if reasons is not None},
        curves=learning_curves_svg(history) if history else [],
        best=best_epoch((history or {}).get("val_accuracy", [])),
        pairs=[(pair, *shown) for pair, shown in zip(pairs, photographs)],
        probabilities=probabilities,
        explained=explained,
        model_type=type(model).__name__,
        attentions=isinstance(model, CIN),
        colours=colour_gradient(),
        levels=accuracy_of_levels(test.labels, probabilities, test.hierarchy),
        temperature=temperature,
        ece=expected_calibration_error(test.labels, probabilities),
        ece_before=None if before is None else expected_calibration_error(test.labels, before),
        reliability=reliability_svg(
            *(reliability(test.labels, p) for p in (before, probabilities) if p is not None)
        ),
        answered=answered(test.labels, probabilities),
        worst=worst_classes(counts, test.num_classes),
        most_classes=MOST_CLASSES,
        command=metrics.get("command"),
        asked=metrics.get("settings", {}),
        versions=metrics.get("versions", {}),
        version=__version__,
        date=time.strftime("%Y-%m-%d"),
    )
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        # Names of files may hold what UTF-8 has no code for.
        partial.write_text(page, "utf-8", errors="replace")
    return path


def best_epoch(accuracies):
    """The epoch with the highest of the accuracies on validation images, one an epoch.

    Returns:
        Dict with `accuracy`, `epoch`, from 1, and `epochs`; `None` if no accuracy is a number.

    Example:

    >>> best_epoch([0.5, math.nan, 0.75])
    {'accuracy': 0.75, 'epoch': 3, 'epochs': 3}
    """
    known = [(value, -epoch) for epoch, value in enumerate(accuracies, 1) if not math.isnan(value)]
    if not known:
        return None
    accuracy, epoch = max(known)
    return {"accuracy": accuracy, "epoch": -epoch, "epochs": len(accuracies)}


def describe(model, image_size, metrics):
    """Dict of what the model is and what it saw."""
    facts = {}
    for name in ("data", "part"):
        if name in metrics:
            facts[name] = metrics[name]
    facts["image size"] = f"{image_size[1]}×{image_size[0]} pixels"
    if isinstance(model, CIN):
        facts["model"] = "Channel Interaction Network"
        facts["backbone"] = model.backbone_name or model.backbone.name
        if model.second_backbone is not None:
            facts["second backbone"] = model.second_backbone_name or model.second_backbone.name
        layer = model.interaction
        facts["interaction"] = layer.name.replace("_", " ") if layer else "none"
        facts["contrast in training"] = CONTRASTS[model.contrast_name]
    else:
        facts["model"] = model.name
    facts["parameters"] = f"{model.count_params():,}"
    if "seconds" in metrics:
        facts["last command took"] = f"{metrics['seconds']} s"
    return facts


def seen_size(model, image_size):
    """`(height, width)` of the images, from the model where the caller leaves it open."""
    if image_size is None:
        image_size = getattr(model, "image_size", None) or tuple(model.input_shape[1:3])
        if None in image_size:
            raise ValueError(
                "The model takes images of any size: `image_size` must say at which it was tried. "
                "Received: image_size=None"
            )
    return check_size("image_size", image_size)
