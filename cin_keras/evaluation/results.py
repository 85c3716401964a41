"""What is written of a model's predictions on photographs whose classes are known."""

import os

from cin_keras.data.decoding import MAX_PIXELS
from cin_keras.evaluation import figures
from cin_keras.evaluation.accuracy import accuracy_of_levels, evaluate_predictions
from cin_keras.evaluation.calibration import expected_calibration_error, uncalibrated
from cin_keras.evaluation.report import write_report
from cin_keras.files import write_json


def write_results(
    folder, model, test, probabilities, about, train=None, *, max_pixels=MAX_PIXELS, **known
):
    """Writes `metrics.json`, a confusion matrix, a sheet of the worst mistakes and `report.html`.

    Args:
        folder: `pathlib.Path`, which exists.
        model: The trained `CIN`.
        test: `Samples`, the photographs that were classified.
        probabilities: Floats in [0, 1] of shape `(images, classes)`.
        about: Dict of what else `metrics.json` says, of what JSON can hold.
        train: `Samples` that show what the classes look like, or `None` for `test`. Defaults to
            `None`.
        max_pixels: Int ≥ 1, the limit under which the photographs were read. Defaults to
            178,956,970.
        **known: Other arguments of `cin_keras.evaluation.write_report`, such as `history`.

    Returns:
        Dict, what `metrics.json` holds.

    Raises:
        ValueError: If the predictions are not finite.
        OSError: If a file cannot be written.
    """
    names, predicted = test.class_names, probabilities.argmax(axis=1)
    temperature = getattr(model, "temperature", 1.0)  # which other Keras models do not have
    metrics = {
        **evaluate_predictions(test.labels, probabilities, names),
        "calibration": {
            "temperature": temperature,
            "ece": expected_calibration_error(test.labels, probabilities),
            "ece_before": expected_calibration_error(
                test.labels, uncalibrated(probabilities, temperature)
            ),
        },
        "levels": accuracy_of_levels(test.labels, probabilities, test.hierarchy),
        **about,
    }
    if "data" in metrics and not os.path.basename(os.path.normpath(metrics["data"])).strip("."):
        metrics["data"] = os.path.abspath(metrics["data"])  # "." is no name for a report
    write_json(folder / "metrics.json", metrics)
    figures.confusion_matrix(test.labels, predicted, names, folder / "confusion_matrix.png")
    figures.worst_mistakes(
        test,
        predicted,
        probabilities,
        train or test,
        folder / "worst_mistakes.png",
        max_pixels=max_pixels,
    )
    write_report(
        folder / "report.html",
        model=model,
        test=test,
        probabilities=probabilities,
        metrics=metrics,
        train=train,
        max_pixels=max_pixels,
        **known,
    )
    return metrics
