"""Trains the rows of the paper's comparison under one budget and says what helps.

python recipes/ablation.py                                            drawn cars, every row
python recipes/ablation.py --data-dir data/stanford_cars --seeds 3 --rows plain SCI CIN
"""

import argparse
import contextlib
import csv
import hashlib
import json
import pathlib
import sys
import time

import keras
import numpy as np

import cin_keras
from cin_keras.data import SetEpoch, drawn_cars, find_data_set, image_dataset, pair_dataset
from cin_keras.evaluation import evaluate_predictions
from cin_keras.files import check_writable
from cin_keras.models import TRAINING_RATES
from cin_keras.models.small_backbone import small_backbone
from cin_keras.optimizers import LayerwiseAdamW, LayerwiseSGD
from cin_keras.training.failures import accidents_in_one_sentence, stop
from cin_keras.training.network import learning_rate_schedule
from cin_keras.training.options import positive

# Every row is one line: the arguments of CIN.
ROWS = {
    "plain": {"interaction": None, "contrast": None},
    "SE": {"interaction": "squeeze_excite", "contrast": None},
    "non-local": {"interaction": "non_local", "contrast": None},
    "bilinear": {"interaction": "bilinear", "contrast": None, "projection_dim": 64},
    "phi": {"interaction": "phi", "contrast": None},
    "Pos-SCI": {"interaction": "pos_sci", "contrast": None},
    "SCI": {"interaction": "sci", "contrast": None},
    "SCI+Cont": {"interaction": "sci", "contrast": "embedding"},
    "CIN": {"interaction": "sci", "contrast": "cci"},
}
# What else was tried, of SCI and of the contrast.
VARIANTS = {
    "SCI, scale 0.03": {"scale": 0.03},
    "SCI, learned scale": {"learnable_scale": True},
    "SCI, cosine": {"similarity": "cosine", "scale": 10.0},
    "SCI, correlation": {"similarity": "correlation", "scale": 10.0},
    "SCI, φ Glorot": {"phi_initializer": "glorot_uniform"},
    "CIN, α 8": {"contrast": "cci", "alpha": 8.0},
    "CIN, α 0.5": {"contrast": "cci", "alpha": 0.5},
    "CIN, α 0.1": {"contrast": "cci", "alpha": 0.1},
    "CIN, β 1": {"contrast": "cci", "margin": 1.0},
    "CIN, slow ψ": {"contrast": "cci"},
}
ROWS |= {row: {"interaction": "sci", "contrast": None, **own} for row, own in VARIANTS.items()}
SPLITS = ("train", "test")
# For descent: bilinear features have length 1, far less than a spatial mean has, so their classifier
# needs a much higher rate, and the network, which their square root moves strongly, a much lower one.
# ψ at a tenth of its usual rate stays nearer to zero, where CCI is SCI+Cont.
RATES = {"bilinear": {"classifier": 500.0}, "CIN, slow ψ": {"psi": 0.001}}
RATE_FACTORS = {"bilinear": 0.05}


def parse_arguments():
    parser = argparse.ArgumentParser(
        usage="python recipes/ablation.py [options]",
        description="Trains the rows of the paper's comparison under one budget.",
        epilog=f"Rows: {'; '.join(ROWS)}.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=26, width=80),
    )

    def add(name, metavar=None, help=None, **kwargs):
        parser.add_argument(name, metavar=metavar, help=help, **kwargs)

    rows = [row for row in ROWS if row not in VARIANTS]
    add("--rows", "ROW", "(those of the paper)", nargs="+", choices=ROWS, default=rows)
    add("--seeds", "N", "runs of each row (%(default)s)", type=positive(int), default=2)
    add("--learning-rates", "R", "to choose from", type=positive(float), nargs="+")
    add("--trial-epochs", "N", "of the choice (as --epochs)", type=positive(int))
    add("--epochs", "N", "(%(default)s)", type=positive(int), default=5)
    add("--data-dir", "DIR", "a data set of any known layout (drawn cars)")
    add("--backbone", "NAME", "in keras.applications, or 'small' (%(default)s)", default="small")
    add("--feature-layer", "NAME", "layer of the backbone that interacts (the last)")
    add("--weights", "FILE", "'imagenet', 'none' or a file (none)", default="none")
    add("--freeze-to", "NAME", "the last layer of the backbone that is not trained")
    add("--image-size", "N", "pixels (%(default)s)", type=positive(int), default=64)
    add("--pairs-per-batch", "N", "(%(default)s)", type=positive(int), default=16)
    add("--limit", "N", "images of each split, for a quick try", type=positive(int))
    add("--output", "DIR", "folder to write (%(default)s)", default="runs/ablation")
    args = parser.parse_args()
    args.trial_epochs = args.trial_epochs or args.epochs
    args.learning_rates = args.learning_rates or ([2e-3] if is_small(args) else [0.02])
    return args


def load_samples(args):
    """Training and test samples."""
    if args.data_dir is None:
        splits = [drawn_cars(split, image_size=args.image_size * 3 // 2) for split in SPLITS]
    else:
        splits = [find_data_set(args.data_dir, split) for split in SPLITS]
    return [samples.limit(args.limit) if args.limit else samples for samples in splits]


def build_model(row, args, num_classes):
    size = args.image_size
    model = cin_keras.CIN(
        num_classes,
        backbone=small_backbone(size) if is_small(args) else args.backbone,
        weights=None if args.weights == "none" else args.weights,
        input_shape=(size, size, 3),
        feature_layer=args.feature_layer,
        **ROWS[row],
    )
    if args.freeze_to:
        names = [layer.name for layer in model.backbone.layers]
        if args.freeze_to not in names:
            sys.exit(f"error: no layer {args.freeze_to!r} in the backbone: {', '.join(names)}")
        for layer in model.backbone.layers[: names.index(args.freeze_to) + 1]:
            layer.trainable = False
    return model


def train(row, samples, args, learning_rate, epochs, seed):
    """A model trained on pairs: all rows see the same images in the same order."""
    keras.utils.set_random_seed(seed)
    model = build_model(row, args, samples.num_classes)
    data = pair_dataset(samples, args.image_size, args.pairs_per_batch, seed=seed)
    schedule = learning_rate_schedule(learning_rate, epochs, len(data))
    rates = identity(row, args)["rates"]
    if is_small(args):
        optimizer = LayerwiseAdamW(schedule, rates=rates)
    else:
        optimizer = LayerwiseSGD(schedule, rates=rates, momentum=0.9)
    model.compile(optimizer, loss=cin_keras.losses.SoftmaxCrossentropy(), metrics=["accuracy"])
    model.fit(data, epochs=epochs, shuffle=False, callbacks=[SetEpoch(data)])
    return model


def evaluate(model, samples, args):
    data = image_dataset(samples, args.image_size, batch_size=2 * args.pairs_per_batch)
    scores = model.predict(data, verbose=0)
    if not np.isfinite(scores).all():
        return {"accuracy": 0.0, "top_5_accuracy": 0.0, "diverged": True}
    metrics = evaluate_predictions(samples.labels, scores, samples.class_names)
    return {name: metrics[name] for name in ("accuracy", "top_5_accuracy")}


class Results:
    """What is finished: a file to which every run adds a line, also from several processes."""

    def __init__(self, path, settings):
        self.path = path
        settings = json.loads(json.dumps(settings))
        if not self.records():
            self.add(settings=settings)
        found = self.records()[0]["settings"]
        if found != settings:
            differing = [name for name, value in settings.items() if found.get(name) != value]
            sys.exit(
                f"error: {path} holds runs with other settings ({', '.join(differing)}). "
                "Give the same, or another --output."
            )

    def records(self):
        """Every whole line; of a process that was killed while writing, half a line may stand."""
        records = []
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            with contextlib.suppress(json.JSONDecodeError):
                records.append(json.loads(line))
        return records

    def find(self, **key):
        """The records that agree with `key`."""
        return [r for r in self.records() if all(r.get(k) == v for k, v in key.items())]

    def add(self, **record):
        broken = self.path.exists() and self.path.read_text()[-1:] not in ("", "\n")
        with open(self.path, "a") as file:
            file.write("\n" * broken + json.dumps(record) + "\n")


def choose_learning_rate(row, train_samples, args, results):
    """The best on one half of the training images, trained on the other."""
    factor = 1 if is_small(args) else RATE_FACTORS.get(row, 1)
    rates = [round(factor * rate, 6) for rate in args.learning_rates]
    if len(rates) == 1:
        return rates[0]
    for rate in rates:
        if not results.find(kind="trial", row=row, learning_rate=rate, **identity(row, args)):
            print(f"\n{row}, trial of learning rate {rate:g}")
            part, held_out = train_samples.split(0.5)
            model = train(row, part, args, rate, args.trial_epochs, seed=0)
            scores = evaluate(model, held_out, args)
            results.add(kind="trial", row=row, learning_rate=rate, **identity(row, args), **scores)
            print(f"{row}, learning rate {rate:g}: {scores['accuracy']:.1%} of held-out images")
    trials = results.find(kind="trial", row=row, **identity(row, args))
    trials = [trial for trial in trials if trial["learning_rate"] in rates]
    return max(trials, key=lambda trial: trial["accuracy"])["learning_rate"]


def identity(row, args):
    """What a row is: who changes it does not get the results of what it was."""
    own = {} if is_small(args) else RATES.get(row, {})
    return {"arguments": ROWS[row], "rates": TRAINING_RATES | own}


def is_small(args):
    """Whether the network is the small one, which AdamW trains from nothing."""
    return args.backbone == "small"


def digest(samples):
    """Tells one list of files and labels from another, wherever they lie."""
    names = "\n".join(pathlib.Path(path).name for path in samples.paths)
    return hashlib.sha256(names.encode() + samples.labels.tobytes()).hexdigest()[:16]


def settings_of(args, splits):
    """What must be equal for runs to stand in one table."""
    own = ("rows", "seeds", "learning_rates", "output", "data_dir", "weights")
    return {
        **{name: value for name, value in vars(args).items() if name not in own},
        "weights": pathlib.Path(args.weights).name,
        "data": [f"{samples} {digest(samples)}" for samples in splits],
        "backend": keras.backend.backend(),
    }


def run(args, train_samples, test_samples, results):
    """Every row with every seed, those that are finished excepted."""
    for seed in range(args.seeds):
        for row in args.rows:
            rate = choose_learning_rate(row, train_samples, args, results)
            key = dict(kind="run", row=row, seed=seed, learning_rate=rate, **identity(row, args))
            if results.find(**key):
                continue
            print(f"\n{row}, seed {seed}, learning rate {rate:g}")
            started = time.time()
            model = train(row, train_samples, args, rate, args.epochs, seed)
            seconds = round(time.time() - started)
            scores = evaluate(model, test_samples, args)
            results.add(**key, seconds=seconds, **scores)
            print(
                f"{row}, seed {seed}: {scores['accuracy']:.1%} of {len(test_samples)} test images"
            )


def measure_speed(args, num_classes, batch=8, rounds=7):
    """Parameters, and milliseconds per image of inference, the rows by turns in every round."""
    models = {row: build_model(row, args, num_classes) for row in args.rows}
    images = np.random.default_rng(0).uniform(0, 255, (batch, args.image_size, args.image_size, 3))
    times = {row: [] for row in models}
    for _ in range(rounds):
        for row, model in models.items():
            started = time.perf_counter()
            model.predict_on_batch(images)
            times[row].append(1000 * (time.perf_counter() - started) / batch)
    return {
        row: {
            # The first round compiles.
            "milliseconds": float(np.median(times[row][1:])),
            "parameters": keras.Model(model.input, model.output).count_params(),
        }
        for row, model in models.items()
    }


def summarize(args, results, speeds):
    """One dict a row."""
    table = []
    for row in args.rows:
        rate = choose_learning_rate(row, None, args, results)
        runs = results.find(kind="run", row=row, learning_rate=rate, **identity(row, args))
        # Two processes may have made the same run.
        runs = list({r["seed"]: r for r in runs}.values())
        accuracies = np.array([r["accuracy"] for r in runs])
        table.append(
            {
                "row": row,
                "seeds": len(runs),
                "accuracy": float(accuracies.mean()),
                "spread": float(accuracies.std(ddof=1)) if len(runs) > 1 else float("nan"),
                "top_5_accuracy": float(np.mean([r["top_5_accuracy"] for r in runs])),
                "learning_rate": rate,
                **speeds[row],
                "accuracies": accuracies.tolist(),
            }
        )
    return table


def as_markdown(table):
    lines = [
        "| row | right (± between seeds) | within five | seeds | rate | ms/image | parameters |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in table:
        spread = f" ± {100 * r['spread']:.1f}" if r["seeds"] > 1 else ""
        lines.append(
            f"| {r['row']} | {r['accuracy']:.1%}{spread} "
            f"| {r['top_5_accuracy']:.1%} | {r['seeds']} | {r['learning_rate']:g} "
            f"| {r['milliseconds']:.1f} | {r['parameters'] / 1e6:.1f} M |"
        )
    return "\n".join(lines)


def write_csv(table, path):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=table[0])
        writer.writeheader()
        writer.writerows({**r, "accuracies": " ".join(map(str, r["accuracies"]))} for r in table)


def draw(table, path):
    """Accuracy of every run, mean and spread of every row; milliseconds; parameters."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.9 + 0.42 * len(table)), layout="constrained")
    accuracy, speed, size = figure.subplots(1, 3, sharey=True, width_ratios=(2.4, 1, 1))
    for y, r in enumerate(table):
        spread = 100 * np.nan_to_num(r["spread"])
        accuracy.errorbar(100 * r["accuracy"], y, xerr=spread, fmt="o", color="#2f6f9f", capsize=4)
        accuracy.plot([100 * a for a in r["accuracies"]], [y] * r["seeds"], "|", color="#d0925a")
        speed.barh(y, r["milliseconds"], color="#8a8f98", height=0.6)
        size.barh(y, r["parameters"] / 1e6, color="#8a8f98", height=0.6)
    accuracy.set_yticks(range(len(table)), [r["row"] for r in table])
    accuracy.invert_yaxis()
    accuracy.grid(axis="x", color="#dddddd")
    accuracy.set_axisbelow(True)
    accuracy.set_xlabel("test images right, %: each run, mean ± standard deviation")
    speed.set_xlabel("milliseconds per image")
    size.set_xlabel("million parameters")
    for axis in (accuracy, speed, size):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main():
    args = parse_arguments()
    folder = pathlib.Path(args.output)
    try:
        check_writable(folder)
        splits = load_samples(args)
        for name, samples in zip(SPLITS, splits):
            print(f"{name:>5}: {samples}")
        results = Results(folder / "results.jsonl", settings_of(args, splits))
        with accidents_in_one_sentence():
            run(args, *splits, results)
    except KeyboardInterrupt:
        stop(f"\nInterrupted. Finished runs are in {folder}; the same command goes on there.")
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    table = summarize(args, results, measure_speed(args, splits[0].num_classes))
    (folder / "ablation.md").write_text(as_markdown(table) + "\n")
    write_csv(table, folder / "ablation.csv")
    draw(table, folder / "ablation.png")
    print(f"\n{as_markdown(table)}\n\n{folder}/\n  results.jsonl   every run and trial")
    print("  ablation.md, ablation.csv, ablation.png")


if __name__ == "__main__":
    main()
