"""Draws what a Channel Interaction Network looks at, and scores whether that is the right thing.

python recipes/explain.py                                  trains on drawn cars, then explains
python recipes/explain.py --model runs/cars/model.keras    a model of the same drawn cars
python recipes/explain.py --data-dir data/CUB_200_2011 --model runs/birds/model.keras
"""

import json
import pathlib

import keras
import numpy as np

import cin_keras
from cin_keras import explain
from cin_keras.data import (
    cub_200_2011,
    differing_parts,
    drawn_cars,
    image_dataset,
    pair_dataset,
)
from cin_keras.data.images import crop, crop_box
from cin_keras.evaluation import softmax
from cin_keras.explain import scores
from cin_keras.files import check_writable, whole_file
from cin_keras.training import (
    make_optimizer,
    mistakes_in_one_sentence,
    network_options,
    open_run,
    recipe_parser,
    set_seed,
    settle,
    single_images,
)
from cin_keras.versions import versions

DRAWINGS = {"backbone": "small", "image_size": 64, "epochs": 15, "pairs_per_batch": 8}
PHOTOGRAPHS = {"backbone": "resnet50", "image_size": 448, "epochs": 20, "pairs_per_batch": 16}
# Maps of 8×8: of the 4×4 that the last block gives, no cell is as small as a lamp.
DRAWINGS_FEATURE_LAYER = "block_4"
DRAWN_SIZE = 1.5  # drawn somewhat larger than the network's size, as photographs are
PART_RADIUS = 0.1  # of the larger side of the bird's box
IMAGES_AT_ONCE = 8
STEPS = 8  # of deletion and insertion
CONTRAST, GRAD_CAM = "class contrast", "Grad-CAM"
DIFFERENCE, PAIR, RANDOM = "Grad-CAM of the difference", "pair contrast (CCI)", "random order"


def parse_arguments():
    parser = recipe_parser(
        "python recipes/explain.py",
        "drawn cars or birds, if there is none yet, and explains it",
        PHOTOGRAPHS,
        "CUB-200-2011, with its parts (drawn cars)",
        "runs/explain",
        DRAWINGS,
    )
    parser.add_argument("--model", metavar="FILE", help="a trained model (one is trained)")
    args = parser.parse_args()
    training = ("backbone", "feature_layer", "weights", "image_size", "epochs", "learning_rate")
    given = [f"--{name.replace('_', '-')}" for name in training if getattr(args, name) is not None]
    if args.model and given:
        raise ValueError(
            f"--model is a model that has been trained; leave {', '.join(given)} out, or leave "
            "--model out to train one."
        )
    settle(args, PHOTOGRAPHS if args.data_dir else DRAWINGS)
    if args.backbone == "small" and args.feature_layer is None:
        args.feature_layer = DRAWINGS_FEATURE_LAYER
    return args


def load_samples(args, image_size):
    """Training, validation and test samples, all with parts."""
    if args.data_dir is None:
        size = round(image_size * DRAWN_SIZE)
        return [drawn_cars(split, image_size=size) for split in ("train", "validation", "test")]
    train, validation = cub_200_2011(args.data_dir, "train").split(0.1, seed=args.seed)
    test = cub_200_2011(args.data_dir, "test")
    if test.parts is None:
        raise ValueError(
            f"The scores need to know where the birds' parts are. Received: {args.data_dir}, "
            "which has no folder parts/ with parts.txt and part_locs.txt"
        )
    return train, validation, test


def train_model(args):
    """A model trained as the recipes do, and the training and test samples."""
    with open_run(args.output, vars(args), args.resume, args.distribute) as run:
        with run.devices.chief_first():
            samples = load_samples(args, args.image_size)
        train, validation, test = run.check_samples(*samples, args.limit, args.on_error)
        size, batch = args.image_size, run.devices.local_batch(args.pairs_per_batch)
        reading = {"on_error": args.on_error, "shard": run.devices.shard}
        if args.plain:  # to compare: a linear classifier, which learns from single images
            pairs = single_images(run.devices, train, size, 2 * batch, seed=args.seed, **reading)
        else:
            pairs = pair_dataset(train, size, batch, seed=args.seed, split_batches=True, **reading)
        validation_data = image_dataset(validation, size, 2 * batch, **reading)
        set_seed(args.seed, args.deterministic)
        model = cin_keras.CIN(
            train.num_classes,
            input_shape=(size, size, 3),
            class_names=list(train.class_names),
            settings=run.settings,
            **network_options(args),
        )
        optimizer = make_optimizer(args.learning_rate, args.epochs, len(pairs), args.backbone)
        loss = cin_keras.losses.SoftmaxCrossentropy()
        model.compile(optimizer, loss, weighted_metrics=["accuracy"])
        model.fit(
            pairs,
            validation_data=run.devices.evaluation_data(validation_data),
            epochs=args.epochs,
            initial_epoch=run.first_epoch(model),
            callbacks=run.callbacks(pairs, validation_data),
            shuffle=False,
        )
        return run.best_model(model), train, test


def load_model(args):
    """The model that is there already, and the training and test samples."""
    check_writable(pathlib.Path(args.output))
    model = cin_keras.load_model(args.model)
    args.image_size = model.input_shape[1] or args.image_size
    train, _, test = load_samples(args, args.image_size)
    if model.num_classes != test.num_classes:
        raise ValueError(
            f"{args.model} tells {model.num_classes} classes apart, but the images have "
            f"{test.num_classes}: {args.data_dir or 'drawn cars'}. Give the data that it was "
            "trained on."
        )
    return model, train, test.limit(args.limit, seed=args.seed) if args.limit else test


def read(samples, indices, model, args):
    """The images as the model gets them in evaluation, `(images, height, width, 3)`."""
    height, width = (side or args.image_size for side in model.input_shape[1:3])
    return np.stack([crop(samples.read(i), height, width) for i in indices])


class Targets:
    """What the peak of a map should hit, in the pixels of the original image.

    For drawn cars, the parts in which the two classes differ; for birds, any visible part.
    """

    def __init__(self, samples, drawn):
        self.samples, self.drawn = samples, drawn

    def hits(self, index, shares, class_a, class_b):
        """Which points of image `index`, in shares of what the model sees, hit."""
        points = self._in_image(index, shares)
        parts = self.samples.parts[index]
        if self.drawn:
            return scores.in_boxes(points, [parts[n] for n in differing_parts(class_a, class_b)])
        middles = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in parts.values()]
        left, top, right, bottom = self.samples.boxes[index]
        return scores.near_points(points, middles, PART_RADIUS * max(right - left, bottom - top))

    def in_box(self, index, shares):
        """Which points lie in the box around the car or bird."""
        return scores.in_boxes(self._in_image(index, shares), self.samples.boxes[index][None])

    def _in_image(self, index, shares):
        left, top, right, bottom = crop_box(*self.samples.read(index).size)
        return (left, top) + np.asarray(shares) * (right - left, bottom - top)


def explanations(model, pictures, references, seed):
    """The maps of every method, and the two classes, predicted and runner-up, of each picture."""
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


def score(model, test, targets, references, args):
    """Dict method → dict of arrays, a value an image; and those of chance."""

    def predict(images):
        outputs = model.predict_on_batch(images)
        return softmax(outputs) if model.classifier_activation is None else outputs

    found, chance = {}, {"image": [], "box": [], "best cell": [], "right": []}
    bar = keras.utils.Progbar(len(test), unit_name="image")
    for start in range(0, len(test), IMAGES_AT_ONCE):
        indices = range(start, min(start + IMAGES_AT_ONCE, len(test)))
        pictures = read(test, indices, model, args)
        maps, classes, others = explanations(model, pictures, references, [args.seed, start])
        pixels = scores.grid(*pictures.shape[1:3])
        cells = scores.grid(*maps[CONTRAST].shape[1:])
        for index, a, b in zip(indices, classes, others):
            hits = targets.hits(index, pixels, a, b)
            chance["image"].append(hits.mean())
            inside = targets.in_box(index, pixels)
            chance["box"].append(hits[inside].mean())
            chance["best cell"].append(targets.hits(index, cells, a, b).any())
            chance["right"].append(a == test.labels[index])
        for name, method_maps in maps.items():
            values = found.setdefault(name, {"peak": [], "deletion": [], "insertion": []})
            peaks = scores.peaks(method_maps, args.seed)
            values["peak"] += [
                targets.hits(index, peak[None], a, b)[0]
                for index, peak, a, b in zip(indices, peaks, classes, others)
            ]
            for kind, curves in (
                ("deletion", scores.deletion_curves),
                ("insertion", scores.insertion_curves),
            ):
                values[kind].extend(
                    curves(predict, pictures, method_maps, classes, STEPS, args.seed)
                )
        bar.update(indices.stop)
    arrays = {name: {k: np.array(v) for k, v in values.items()} for name, values in found.items()}
    return arrays, {name: np.array(values) for name, values in chance.items()}


def summarize(arrays, chance):
    """What `scores.json` says: means, standard errors, and paired differences."""

    def estimate(values):
        mean, error = scores.mean_and_error(values)
        return {"mean": mean, "standard_error": error}

    # Where the crop cuts off all that could be hit, there is nothing to find.
    visible = chance["image"] > 0
    per_image = {
        name: {
            "peak": values["peak"][visible].astype(float),
            "deletion": scores.area_under(values["deletion"]),
            "insertion": scores.area_under(values["insertion"]),
        }
        for name, values in arrays.items()
    }
    del per_image[RANDOM]["peak"]  # chance by area says the same without noise
    return {
        "images": len(visible),
        "images_with_a_visible_part": int(visible.sum()),
        "accuracy": float(chance["right"].mean()),
        "methods": {
            name: {kind: estimate(values) for kind, values in kinds.items()}
            for name, kinds in per_image.items()
        },
        "chance": {
            "image": estimate(chance["image"][visible]),
            "box": estimate(chance["box"][visible]),
        },
        "best_possible_peak": estimate(chance["best cell"][visible]),
        "class_contrast_minus": {
            name: {
                kind: estimate(per_image[CONTRAST][kind] - values) for kind, values in kinds.items()
            }
            for name, kinds in per_image.items()
            if name != CONTRAST
        },
    }


def as_markdown(summary, drawn):
    """The table, with what it means."""

    def percent(estimate):
        return f"{100 * estimate['mean']:.1f} % ± {100 * estimate['standard_error']:.1f}"

    def number(estimate):
        return f"{estimate['mean']:.3f} ± {estimate['standard_error']:.3f}"

    part = "a differing part" if drawn else "an annotated part"
    lines = [
        f"| map | peak on {part} | deletion (less is better) | insertion (more is better) |",
        "| --- | --- | --- | --- |",
    ]
    for name, kinds in summary["methods"].items():
        peak = percent(kinds["peak"]) if "peak" in kinds else ""
        lines.append(
            f"| {name} | {peak} | {number(kinds['deletion'])} | {number(kinds['insertion'])} |"
        )
    thing = "car's" if drawn else "bird's"
    lines += [
        f"| chance, anywhere in the image | {percent(summary['chance']['image'])} | | |",
        f"| chance, anywhere in the {thing} box | {percent(summary['chance']['box'])} | | |",
        f"| the best cell of every map | {percent(summary['best_possible_peak'])} | | |",
    ]
    differences = [
        f"{name} {100 * kinds['peak']['mean']:+.1f} ± {100 * kinds['peak']['standard_error']:.1f}"
        for name, kinds in summary["class_contrast_minus"].items()
        if "peak" in kinds
    ]
    seen = summary["images_with_a_visible_part"]
    lines += [
        "",
        f"Peaks: {seen} of {summary['images']} images, those in which {part} is seen; curves: all. "
        f"{summary['accuracy']:.1%} of the images are classified rightly. ± is one standard error "
        f"over images. Class contrast's peaks, in points, against those of: "
        f"{'; '.join(differences)} (paired).",
    ]
    return "\n".join(lines) + "\n"


def draw_scores(arrays, summary, path):
    """Bars of the peaks with chance, and the mean deletion and insertion curves."""
    from matplotlib.figure import Figure

    from cin_keras.files import save_figure

    styles = dict(
        zip(
            (CONTRAST, GRAD_CAM, DIFFERENCE, PAIR, RANDOM),
            (
                ("#0072B2", "-"),
                ("#D55E00", "--"),
                ("#009E73", "-."),
                ("#CC79A7", (0, (4, 1, 1, 1, 1, 1))),
                ("#7F7F7F", ":"),
            ),
        )
    )
    figure = Figure(figsize=(13, 4.4), dpi=150, layout="constrained")
    bars, *panels = figure.subplots(1, 3, width_ratios=(1.2, 1, 1))
    rows = [(name, kinds["peak"]) for name, kinds in summary["methods"].items() if "peak" in kinds]
    for place, (name, peak) in enumerate(rows):
        bars.barh(
            place,
            100 * peak["mean"],
            xerr=100 * peak["standard_error"],
            color=styles[name][0],
            height=0.6,
            capsize=3,
        )
    for key, style, label in (
        (summary["chance"]["image"], ":", "chance, image"),
        (summary["chance"]["box"], "--", "chance, box"),
        (summary["best_possible_peak"], "-", "best cell"),
    ):
        bars.axvline(100 * key["mean"], color="black", linestyle=style, linewidth=1.2, label=label)
    bars.set_yticks(range(len(rows)), [name for name, _ in rows])
    bars.invert_yaxis()
    bars.set_xlim(0, 100)
    bars.set_xlabel("peaks on a part, % (± standard error)")
    for panel, kind, share in (
        (panels[0], "deletion", "taken away"),
        (panels[1], "insertion", "put back"),
    ):
        for name, values in arrays.items():
            mean = values[kind].mean(axis=0)
            colour, line = styles[name]
            x = np.linspace(0, 100, len(mean))
            panel.plot(x, mean, color=colour, linestyle=line, label=name)
        panel.set_title(kind.capitalize(), fontsize=11)
        panel.set_xlabel(f"cells {share}, %")
        panel.set_ylabel("probability of the predicted class")
        panel.set_ylim(0, 1.02)
        panel.grid(color="0.9")
    # Outside the panels, where nothing can run through it.
    handles = [*panels[0].lines, *bars.lines[-3:]]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    for axes in (bars, *panels):
        axes.spines[["top", "right"]].set_visible(False)
    return save_figure(figure, path)


def draw(model, test, train, references, folder, args):
    """The four figures, as far as the model has what they show."""
    first = [int(np.flatnonzero(test.labels == label)[0]) for label in np.unique(test.labels)]
    chosen = first[:: max(len(first) // 4, 1)][:4]
    pictures = read(test, chosen, model, args)
    written = [
        explain.class_contrast_figure(
            model,
            pictures,
            folder / "class_contrast.png",
            class_names=test.class_names,
            true_labels=test.labels[chosen],
        )
    ]
    if model.interaction_name in ("sci", "pos_sci"):
        written.append(explain.channel_figure(model, pictures[0], folder / "channel.png"))
        written.append(explain.ranking_figure(model, pictures[0], folder / "ranking.png"))
    if model.contrast is not None:
        # The classes that come next, in the model's own opinion.
        logits = explain.class_contrast(model, pictures[0]).logits[0]
        label = int(test.labels[chosen[0]])
        likely = [other for other in np.argsort(-logits) if other != label][:3]
        names = [test.class_names[label], *(test.class_names[other] for other in likely)]
        path = folder / "pair_contrast.png"
        written.append(
            explain.pair_contrast_figure(model, pictures[0], references[likely], path, names)
        )
    return written


def main():
    with mistakes_in_one_sentence():
        args = parse_arguments()
    if args.model is None:
        model, train, test = train_model(args)
    else:
        with mistakes_in_one_sentence():
            model, train, test = load_model(args)
    folder, drawn = pathlib.Path(args.output), args.data_dir is None
    with mistakes_in_one_sentence():
        firsts = [np.flatnonzero(train.labels == label)[0] for label in range(train.num_classes)]
        references = read(train, firsts, model, args)
        written = draw(model, test, train, references, folder, args)
        print(f"Scoring {test}")
        arrays, chance = score(model, test, Targets(test, drawn), references, args)
        summary = summarize(arrays, chance)
        table = as_markdown(summary, drawn)
        settings = {"settings": vars(args), "versions": versions()}
        with whole_file(folder / "scores.json") as partial:
            partial.write_text(json.dumps({**summary, **settings}, indent=2))
        with whole_file(folder / "scores.md") as partial:
            partial.write_text(table)
        written.append(draw_scores(arrays, summary, folder / "scores.png"))
    names = ", ".join(path.name for path in written)
    print(f"\n{table}\n{folder}/\n  scores.json, scores.md\n  {names}")


if __name__ == "__main__":
    main()
