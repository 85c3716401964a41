"""Asks whether the interaction of channels knows more of the classes than their spatial mean.

python recipes/probe.py --data-dir data/stanford_cars                      a pretrained ResNet-50
python recipes/probe.py --data-dir data/stanford_cars --model model.keras  one that was fine-tuned

A linear classifier (ridge regression on the training images) sees the spatial means of `X`, then
beside them those of `Y = W X` for several `W`. What it gains is what SCI could add; controls gain
as many numbers without any interaction. No network is trained: it takes minutes.
"""

import argparse
import json
import pathlib

import keras
import numpy as np

import cin_keras
from cin_keras.data import drawn_cars, find_data_set, image_dataset
from cin_keras.files import check_writable, whole_file
from cin_keras.layers import SelfChannelInteraction
from cin_keras.models.small_backbone import small_backbone
from cin_keras.training import mistakes_in_one_sentence
from cin_keras.training.options import positive

# Every form of W is one line: the arguments of SelfChannelInteraction.
INTERACTIONS = {
    "SCI": {},
    "SCI, scale 0.1": {"scale": 0.1},
    "SCI, scale 0.03": {"scale": 0.03},
    "SCI, cosine": {"similarity": "cosine", "scale": 10.0},
    "SCI, correlation": {"similarity": "correlation", "scale": 10.0},
    "Pos-SCI": {"positive": True},
}
MEAN, DEVIATION, RANDOM = "spatial mean", "standard deviation", "random features"
SPLITS = ("train", "test")
RIDGES = 10.0 ** np.arange(-3, 3)  # in shares of the features' mean variance


def parse_arguments():
    parser = argparse.ArgumentParser(
        usage="python recipes/probe.py [options]",
        description="Asks whether interactions know more of the classes than spatial means.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=26, width=80),
    )

    def add(name, metavar=None, help=None, **kwargs):
        parser.add_argument(name, metavar=metavar, help=help, **kwargs)

    add("--data-dir", "DIR", "a data set of any known layout (drawn cars)")
    add("--model", "FILE", "a trained CIN, in place of the next four")
    add("--backbone", "NAME", "in keras.applications, or 'small' (resnet50)")
    add("--feature-layer", "NAME", "layer of the backbone that interacts (the last)")
    add("--weights", "FILE", "'imagenet' (default), 'none' (small) or a file")
    add("--image-size", "N", "pixels (448)", type=positive(int))
    add("--batch-size", "N", "(%(default)s)", type=positive(int), default=32)
    add("--limit", "N", "images of each split, for a quick try", type=positive(int))
    add("--seed", "N", "of the random features and halves (%(default)s)", type=int, default=0)
    add("--output", "DIR", "folder to write (%(default)s)", default="runs/probe")
    args = parser.parse_args()
    own = ("backbone", "feature_layer", "weights", "image_size")
    given = [f"--{name.replace('_', '-')}" for name in own if getattr(args, name) is not None]
    if args.model and given:
        raise ValueError(f"--model brings its own {', '.join(given)}: leave that out.")
    return args


def load(args):
    """A model, trained or with a pretrained backbone and the rest new; both splits' samples."""
    if args.model:
        model = cin_keras.load_model(args.model)
        args.image_size = model.image_size or 448
        return model, load_samples(args)
    args.backbone = args.backbone or "resnet50"
    args.image_size = size = args.image_size or 448
    small = args.backbone == "small"
    args.weights = args.weights or ("none" if small else "imagenet")
    if small and args.weights == "imagenet":
        raise ValueError("There are no ImageNet weights for --backbone small. Leave --weights out.")
    splits = load_samples(args)
    model = cin_keras.CIN(
        splits[0].num_classes,
        small_backbone(size) if small else args.backbone,
        None if args.weights == "none" else args.weights,
        (size, size, 3),
        args.feature_layer,
        interaction=None,
        contrast=None,
    )
    return model, splits


def load_samples(args):
    """Training and test samples."""
    if args.data_dir:
        splits = [find_data_set(args.data_dir, split) for split in SPLITS]
    else:
        size = round(1.5 * np.max(args.image_size))
        splits = [drawn_cars(split, image_size=size) for split in SPLITS]
    return [samples.limit(args.limit) if args.limit else samples for samples in splits]


def describe(model, samples, args):
    """Dict from what the classifier may see to `(images, channels)`.

    Of a trained model also the means of `φ(Y)`, as `"φ"`, and of `Y`, as `"Y"`, if it has them.
    """
    layers = {name: SelfChannelInteraction(**own) for name, own in INTERACTIONS.items()}
    if sees_pairs(model):
        layers["Y"] = model.interaction
    has_phi = model.interaction_name in ("sci", "pos_sci", "phi")
    rows = {}
    data = image_dataset(samples, args.image_size, args.batch_size)
    bar = keras.utils.Progbar(len(data), unit_name="batch")
    for images, _ in data:
        maps = model.backbone(keras.ops.convert_to_tensor(images), training=False)
        maps = keras.ops.cast(maps, "float32")
        x = layers["SCI"].positions_by_channels(maps)
        mean = keras.ops.mean(x, axis=1)
        batch = {MEAN: mean, DEVIATION: keras.ops.std(x, axis=1)}
        for name, layer in layers.items():
            weights = layer.interaction_weights(maps)
            batch[name] = keras.ops.matmul(weights, mean[:, :, None])[:, :, 0]
        if has_phi:
            z = model.interaction(maps)
            z = keras.ops.cast(z if len(z.shape) == 2 else model.pooling(z), "float32")
            batch["φ"] = z - mean
        for name, values in batch.items():
            rows.setdefault(name, []).append(keras.ops.convert_to_numpy(values))
        bar.add(1)
    return {name: np.concatenate(values) for name, values in rows.items()}


def random_features(standardized, seed):
    """As many numbers as there are channels, made of the means alone: `max(0, X̄ R)`."""
    channels = standardized.shape[1]
    matrix = np.random.default_rng(seed).standard_normal((channels, channels))
    return np.maximum(standardized @ matrix / np.sqrt(channels), 0)


def standardize(train, test):
    """Both, less the training images' mean, over their standard deviation."""
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation = np.where(deviation > 1e-6, deviation, np.inf)  # what never varies says nothing
    return (train - mean) / deviation, (test - mean) / deviation


def ridge_scores(train, labels, test, classes):
    """Scores of the test images, `(ridges, images, classes)`, of a regression onto the classes."""
    targets = np.eye(classes, dtype="float32")[labels] - 1 / classes
    variances, directions = np.linalg.eigh(train.T @ train / len(train))
    slopes = directions.T @ (train.T @ targets) / len(train)
    seen = test @ directions
    ridges = RIDGES * variances.mean()
    return np.stack([seen @ (slopes / (variances + ridge)[:, None]) for ridge in ridges])


def is_right(train, labels, test, test_labels, classes, seed):
    """Which test images are right: each half with the ridge that is best on the other half."""
    right = ridge_scores(train, labels, test, classes).argmax(axis=2) == test_labels
    first = np.random.default_rng(seed).permutation(len(test_labels)) % 2 == 0
    best_of_first = right[right[:, first].mean(axis=1).argmax()]
    best_of_second = right[right[:, ~first].mean(axis=1).argmax()]
    return np.where(first, best_of_second, best_of_first)


def varying_share(features):
    """How much of the squared length of the features differs from image to image, from 0 to 1."""
    length = np.square(features).sum()
    return float(np.square(features - features.mean(axis=0)).sum() / length) if length else 0.0


def probe(train, labels, test, test_labels, classes, seed):
    """One dict a row: right with the mean, alone, difference from the mean alone (paired)."""
    means = standardize(train[MEAN], test[MEAN])
    table = []
    for name in (MEAN, DEVIATION, RANDOM, *INTERACTIONS):
        if name == RANDOM:
            raw = [random_features(part, seed) for part in means]
        else:
            raw = train[name], test[name]
        own = standardize(*raw)
        both = own if name == MEAN else [np.hstack(parts) for parts in zip(means, own)]
        alone = is_right(own[0], labels, own[1], test_labels, classes, seed)
        together = is_right(both[0], labels, both[1], test_labels, classes, seed)
        if name == MEAN:
            baseline = together
        gain = together.astype(float) - baseline
        table.append(
            {
                "features": name,
                "accuracy": float(together.mean()),
                "gain": float(gain.mean()),
                "standard_error": float(gain.std() / np.sqrt(len(gain))),
                "alone": float(alone.mean()),
                "varies": varying_share(raw[1]),
            }
        )
    return table


def learned(test):
    """What a trained φ adds to the spatial mean."""
    lengths = [np.linalg.norm(test[name], axis=1) for name in ("φ", MEAN)]
    return {
        "relative_length": float(np.median(lengths[0] / lengths[1])),
        "varies": varying_share(test["φ"]),
        "mean_varies": varying_share(test[MEAN]),
    }


def sees_pairs(model):
    """Whether the model has a ψ that compares the means of `Y`."""
    return model.contrast is not None and model.descriptor == "average"


def contrasts(model, y, labels, seed):
    """Quartiles of `η = ψ([Y_A, Y_B])`, every image once with one of its class, once of another."""
    rng = np.random.default_rng(seed)
    quartiles = {}
    for name, is_partner in (("one class", np.equal), ("two classes", np.not_equal)):
        a, b = [], []
        for image, label in enumerate(labels):
            partners = np.flatnonzero(is_partner(labels, label))
            partners = partners[partners != image]
            if len(partners):
                a.append(image)
                b.append(rng.choice(partners))
        eta = model.contrast.psi(np.concatenate([y[a], y[b]], axis=1))
        quartiles[name] = np.percentile(keras.ops.convert_to_numpy(eta), (25, 50, 75)).tolist()
    return quartiles


def as_markdown(table, phi, eta, images):
    lines = [
        "| the classifier sees | right | gain | alone | varies |",
        "| --- | --- | --- | --- | --- |",
    ]
    for r in table:
        first = r["features"] == MEAN
        gain = "" if first else f"{100 * r['gain']:+.1f} ± {100 * r['standard_error']:.1f}"
        lines.append(
            f"| {'the ' if first else 'that and '}{r['features']} | {r['accuracy']:.1%} | {gain} "
            f"| {r['alone']:.1%} | {r['varies']:.1%} |"
        )
    lines += [
        "",
        f"*right*: of {images} test images. *gain*: in points over the mean, ± one standard error, "
        "image by image. *alone*: without the mean. *varies*: the share of the features' squared "
        "length that differs between images.",
    ]
    if phi:
        lines += [
            "",
            f"The trained φ adds {phi['relative_length']:.2f} times the length of the mean, of "
            f"which {phi['varies']:.1%} differs between images (of the mean: "
            f"{phi['mean_varies']:.1%}); the rest is the same for every image, as a bias is.",
        ]
    if eta:
        of_pairs = (f"{' '.join(f'{q:.2f}' for q in eta[name])} of {name}" for name in eta)
        lines += ["", f"η in |W_A − η W_B|, quartiles over pairs: {', '.join(of_pairs)}."]
    return "\n".join(lines) + "\n"


def main():
    with mistakes_in_one_sentence():
        args = parse_arguments()
        folder = pathlib.Path(args.output)
        check_writable(folder)
        model, splits = load(args)
        described = []
        for samples in splits:
            print(samples)
            described.append(describe(model, samples, args))
        (train, test), labels = described, [samples.labels for samples in splits]
        table = probe(train, labels[0], test, labels[1], splits[0].num_classes, args.seed)
        phi = learned(test) if "φ" in test else None
        eta = contrasts(model, test["Y"], labels[1], args.seed) if "Y" in test else None
        text = as_markdown(table, phi, eta, len(splits[1]))
        with whole_file(folder / "probe.json") as partial:
            found = {"table": table, "phi": phi, "eta": eta, "settings": vars(args)}
            partial.write_text(json.dumps(found, indent=2))
        with whole_file(folder / "probe.md") as partial:
            partial.write_text(text)
    print(f"\n{text}\n{folder}/\n  probe.json, probe.md")


if __name__ == "__main__":
    main()
