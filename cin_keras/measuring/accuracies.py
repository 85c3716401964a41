"""Accuracy of several rows, each trained from several seeds: table, CSV file and picture."""

import csv

import numpy as np

from cin_keras.data import image_dataset
from cin_keras.evaluation import evaluate_predictions
from cin_keras.files import whole_file, write_text
from cin_keras.measuring.panels import BLUE, GREY, ORANGE, name_rows, panels, save_open
from cin_keras.measuring.tables import markdown_table


def accuracy_on(model, samples, image_size, batch_size):
    """Accuracy on images that were not trained on.

    Args:
        model: `CIN`.
        samples: `Samples`.
        image_size: Int, in pixels.
        batch_size: Int ≥ 1.

    Returns:
        Dict: `accuracy` and `top_5_accuracy`, floats; both are 0, and `diverged` is `True`, where
        the model gives no finite numbers any more.
    """
    scores = model.predict(image_dataset(samples, image_size, batch_size), verbose=0)
    if not np.isfinite(scores).all():
        return {"accuracy": 0.0, "top_5_accuracy": 0.0, "diverged": True}
    metrics = evaluate_predictions(samples.labels, scores, samples.class_names)
    return {name: metrics[name] for name in ("accuracy", "top_5_accuracy")}


def summarize_runs(runs):
    """Means over seeds, and how far the seeds spread.

    Args:
        runs: List of dicts with `seed`, `accuracy` and `top_5_accuracy`, at least one. Of several
            with one seed, the last counts.

    Returns:
        Dict: `seeds`, their number; `accuracy` and `top_5_accuracy`, the means; `spread`, the
        standard deviation of the accuracy (NaN of a single run); `accuracies`, of every run.

    Example:

    >>> runs = [{"seed": s, "accuracy": 0.5 + s / 10, "top_5_accuracy": 1.0} for s in range(3)]
    >>> row = summarize_runs(runs)
    >>> round(row["accuracy"], 3), round(row["spread"], 3)
    (0.6, 0.1)
    """
    runs = list({run["seed"]: run for run in runs}.values())
    accuracies = np.array([run["accuracy"] for run in runs])
    return {
        "seeds": len(runs),
        "accuracy": float(accuracies.mean()),
        "spread": float(accuracies.std(ddof=1)) if len(runs) > 1 else float("nan"),
        "top_5_accuracy": float(np.mean([run["top_5_accuracy"] for run in runs])),
        "accuracies": accuracies.tolist(),
    }


def accuracy_table(table):
    """The rows in Markdown.

    Args:
        table: List of dicts, one a row: `row` (its name), what `summarize_runs` returned,
            `learning_rate`, `milliseconds` (an image) and `parameters`.

    Returns:
        Str.
    """
    columns = ["row", "right (± between seeds)", "within five", "seeds", "rate", "ms/image"]
    rows = []
    for row in table:
        spread = f" ± {100 * row['spread']:.1f}" if row["seeds"] > 1 else ""
        rows.append(
            [
                row["row"],
                f"{row['accuracy']:.1%}{spread}",
                f"{row['top_5_accuracy']:.1%}",
                str(row["seeds"]),
                f"{row['learning_rate']:g}",
                f"{row['milliseconds']:.1f}",
                f"{row['parameters'] / 1e6:.1f} M",
            ]
        )
    return markdown_table([*columns, "parameters"], rows)


def comparison(runs, costs):
    """The rows of a comparison, as the table and the figure take them.

    Args:
        runs: Dict from rows to lists of records, as from `run_rows`.
        costs: Dict from rows to dicts with `milliseconds` and `parameters`.

    Returns:
        List of dicts, one a row.
    """
    return [
        {
            "row": row,
            **summarize_runs(own),
            "learning_rate": own[0]["learning_rate"],
            **costs[row],
        }
        for row, own in runs.items()
    ]


def write_comparison(table, folder):
    """Writes `ablation.md`, `ablation.csv` and `ablation.png`.

    Args:
        table: List of dicts, as for `accuracy_table` and `accuracy_figure`.
        folder: `pathlib.Path`, which exists.

    Returns:
        Str, the table in Markdown.
    """
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
        names = [name for name in table[0] if name != "accuracies"]
        writer = csv.DictWriter(file, fieldnames=[*names, "accuracies"])
        writer.writeheader()
        writer.writerows({**r, "accuracies": " ".join(map(str, r["accuracies"]))} for r in table)
    return path


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
