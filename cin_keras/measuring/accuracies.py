"""Accuracy of several rows, each trained from several seeds: table, CSV file and picture."""

import contextlib
import csv

import keras
import numpy as np
from scipy.special import softmax

from cin_keras.evaluation import (
    evaluate_predictions,
    expected_calibration_error,
    recall_at_1,
)
from cin_keras.files import whole_file, write_text
from cin_keras.measuring.panels import BLUE, GREY, ORANGE, name_rows, panels, save_open
from cin_keras.measuring.tables import markdown_table
from cin_keras.models.whitening import Whitening

# What is measured beside accuracy and top-5 accuracy, as a table calls it.
MORE = {
    "recall_at_1": "recall@1, unseen classes",
    "recall_at_1_whitened": "whitened",
    "ece": "ECE",
}
# The columns whose spread between seeds is shown.
SPREADS = {
    "accuracy": "spread",
    "recall_at_1": "recall_spread",
    "recall_at_1_whitened": "whitened_spread",
}


def accuracy_of(logits, samples):
    """What logits are worth.

    Args:
        logits: Floats of shape `(images, classes)`.
        samples: `Samples`, the images they are of.

    Returns:
        Dict: `accuracy`, `top_5_accuracy` and `ece`, the expected calibration error of the
        probabilities, floats; the first two are 0, and `diverged` is `True` in place of the third,
        where the model gives no finite numbers any more.

    Example:

    >>> cars = cin_keras.data.drawn_cars(num_classes=2, images_per_class=1, image_size=32)
    >>> accuracy_of(np.array([[9.0, 0.0], [9.0, 0.0]]), cars)["accuracy"]
    0.5
    """
    if not np.isfinite(logits).all():
        return {"accuracy": 0.0, "top_5_accuracy": 0.0, "diverged": True}
    metrics = evaluate_predictions(samples.labels, logits, samples.class_names)
    ece = expected_calibration_error(samples.labels, softmax(logits.astype("float64"), axis=1))
    return {
        "accuracy": metrics["accuracy"],
        "top_5_accuracy": metrics["top_5_accuracy"],
        "ece": ece,
    }


def score_model(model, test, reader, known, unseen=None):
    """What a model is worth on the classes it knows, and its embeddings on those it does not.

    Args:
        model: `CIN` or `NTS`.
        test: `Samples` of the classes it was trained on.
        reader: What gives it images, of `cin_keras.measuring.readers`.
        known: `Samples` it was trained on, whose embeddings whiten the others.
        unseen: `Samples` of other classes, or `None`. Defaults to `None`.

    Returns:
        Dict, as `accuracy_of`, and with `unseen` as `recall_on`, too.
    """
    found = accuracy_of(model.predict(reader.images(test), verbose=0), test)
    if unseen is not None:
        found |= recall_on(model, reader.images(unseen), unseen.labels, reader.images(known))
    return found


def summarize_runs(runs):
    """Means over seeds, and how far the seeds spread.

    Args:
        runs: List of dicts with `seed`, `accuracy` and `top_5_accuracy`, and perhaps `ece`,
            `recall_at_1` and `recall_at_1_whitened`, at least one. Of several with one seed, the
            last counts.

    Returns:
        Dict: `seeds`, their number; `accuracy`, `top_5_accuracy` and of what all runs have of the
        others, the means; `spread`, the standard deviation of the accuracy, `recall_spread` and
        `whitened_spread`, those of the recalls (NaN of a single run); `accuracies`, of every run.

    Example:

    >>> runs = [{"seed": s, "accuracy": 0.5 + s / 10, "top_5_accuracy": 1.0} for s in range(3)]
    >>> row = summarize_runs(runs)
    >>> round(row["accuracy"], 3), round(row["spread"], 3)
    (0.6, 0.1)
    """
    runs = list({run["seed"]: run for run in runs}.values())

    def spread(name):
        values = [run[name] for run in runs]
        return float(np.std(values, ddof=1)) if len(runs) > 1 else float("nan")

    names = ("accuracy", "top_5_accuracy", *MORE)
    known = [name for name in names if all(name in run for run in runs)]
    return {
        "seeds": len(runs),
        **{name: float(np.mean([run[name] for run in runs])) for name in known},
        **{key: spread(name) for name, key in SPREADS.items() if name in known},
        "accuracies": [run["accuracy"] for run in runs],
    }


def accuracy_table(table):
    """The rows in Markdown.

    Args:
        table: List of dicts, one a row: `row` (its name), what `summarize_runs` returned,
            `learning_rate`, `milliseconds` (an image) and `parameters`.

    Returns:
        Str, with columns for recall and calibration where a row has them.
    """
    more = [name for name in MORE if any(name in row for row in table)]
    columns = ["row", "right (± between seeds)", "within five", *(MORE[name] for name in more)]
    columns += ["seeds", "rate", "ms/image"]
    rows = []
    for row in table:
        rows.append(
            [
                row["row"],
                _cell(row, "accuracy"),
                f"{row['top_5_accuracy']:.1%}",
                *(_cell(row, name) for name in more),
                str(row["seeds"]),
                f"{row['learning_rate']:g}",
                f"{row['milliseconds']:.1f}",
                f"{row['parameters'] / 1e6:.1f} M",
            ]
        )
    return markdown_table([*columns, "parameters"], rows)


def trial_table(trials):
    """The trials in Markdown: what every row reaches at every learning rate.

    Args:
        trials: List of dicts as for `summarize_runs`, with `row` and `learning_rate`; those of the
            first seed may have none.

    Returns:
        Str.

    Example:

    >>> trial = {"row": "plain", "learning_rate": 0.1, "accuracy": 0.5, "top_5_accuracy": 1.0}
    >>> print(trial_table([trial]))
    | row | rate | right (± between seeds) | within five | seeds |
    | --- | --- | --- | --- | --- |
    | plain | 0.1 | 50.0% | 100.0% | 1 |
    """
    groups = {}
    for trial in trials:
        own = groups.setdefault((trial["row"], trial["learning_rate"]), [])
        own.append({**trial, "seed": trial.get("seed") or 0})
    table = {key: summarize_runs(own) for key, own in groups.items()}
    more = [name for name in MORE if any(name in row for row in table.values())]
    columns = ["row", "rate", "right (± between seeds)", "within five"]
    rows = []
    for (name, rate), row in table.items():
        cells = [name, f"{rate:g}", _cell(row, "accuracy"), f"{row['top_5_accuracy']:.1%}"]
        rows.append([*cells, *(_cell(row, each) for each in more), str(row["seeds"])])
    return markdown_table([*columns, *(MORE[name] for name in more), "seeds"], rows)


def _cell(row, name):
    if name not in row:
        return "–"
    if name not in SPREADS:
        return f"{row[name]:.3f}"
    spread = f" ± {100 * row[SPREADS[name]]:.1f}" if row["seeds"] > 1 else ""
    return f"{row[name]:.1%}{spread}"


def write_comparison(runs, costs, folder):
    """Writes `ablation.md`, `ablation.csv` and `ablation.png`.

    Args:
        runs: Dict from rows to lists of records, as from `run_rows`.
        costs: Dict from rows to dicts with `milliseconds` and `parameters`.
        folder: `pathlib.Path`, which exists.

    Returns:
        Str, the table in Markdown.
    """
    table = []
    for row, own in runs.items():
        rate = own[0]["learning_rate"]
        table.append({"row": row, **summarize_runs(own), "learning_rate": rate, **costs[row]})
    text = accuracy_table(table)
    write_text(folder / "ablation.md", text + "\n")
    write_accuracies(table, folder / "ablation.csv")
    accuracy_figure(table, folder / "ablation.png")
    return text


def write_accuracies(table, path):
    """Writes the rows as a CSV file; the accuracies of all runs stand in one cell.

    Args:
        table: As for `accuracy_table`.
        path: Str or path of the file.

    Returns:
        `path`.
    """
    with whole_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        names = [name for name in dict.fromkeys(sum(map(list, table), [])) if name != "accuracies"]
        writer = csv.DictWriter(file, fieldnames=[*names, "accuracies"])
        writer.writeheader()
        writer.writerows({**r, "accuracies": " ".join(map(str, r["accuracies"]))} for r in table)
    return path


def recall_on(model, images, labels, known=None):
    """Recall@1 of what the classifier sees of images, which may be of classes unknown to it.

    Args:
        model: `CIN` or `NTS`.
        images: What `predict` takes: a data set or an array.
        labels: Integers of shape `(images,)`.
        known: The same of images from which a whitening is learned, or `None`, for none. Defaults
            to `None`.

    Returns:
        Dict: `recall_at_1`, a float; `recall_at_1_whitened`, of the same whitened, if `known` is
        given. Both are 0 where the model gives no finite numbers any more.
    """
    embed = keras.Model(model.inputs, model.classifier.input)
    embeddings = embed.predict(images, verbose=0)
    kinds = {"recall_at_1": embeddings}
    if known is not None:
        whitened = embeddings
        with contextlib.suppress(ValueError):  # of a model that is broken, or says the same of all
            whitened = Whitening.fit(embed.predict(known, verbose=0))(embeddings)
        kinds["recall_at_1_whitened"] = whitened
    return {
        kind: recall_at_1(values, labels) if np.isfinite(values).all() else 0.0
        for kind, values in kinds.items()
    }


def accuracy_figure(table, path):
    """Accuracy of every run, mean and spread of every row; milliseconds; parameters.

    Args:
        table: List of dicts, one a row: `row` (its name), `accuracies` (of its runs), `accuracy`
            (their mean), `spread` (NaN for one run), `milliseconds` and `parameters`.
        path: Str or path, the PNG file to write.

    Returns:
        The `pathlib.Path` of the file.
    """
    figure, (accuracy, speed, size) = panels(
        10, 0.9 + 0.42 * len(table), 3, sharey=True, width_ratios=(2.4, 1, 1)
    )
    for y, row in enumerate(table):
        spread = 100 * np.nan_to_num(row["spread"])
        accuracy.errorbar(100 * row["accuracy"], y, xerr=spread, fmt="o", color=BLUE, capsize=4)
        runs = 100 * np.array(row["accuracies"])
        accuracy.plot(runs, np.full(len(runs), y), "|", color=ORANGE)
        speed.barh(y, row["milliseconds"], color=GREY, height=0.6)
        size.barh(y, row["parameters"] / 1e6, color=GREY, height=0.6)
    accuracy.grid(axis="x", color="#dddddd")
    accuracy.set_axisbelow(True)
    accuracy.set_xlabel("test images right, %: each run, mean ± standard deviation")
    speed.set_xlabel("milliseconds per image")
    size.set_xlabel("million parameters")
    name_rows(accuracy, [row["row"] for row in table])
    return save_open(figure, path)
