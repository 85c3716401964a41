"""Asks whether the interaction of channels knows more of the classes than their spatial mean.

python recipes/probe.py --data-dir data/stanford_cars                      a pretrained ResNet-50
python recipes/probe.py --data-dir data/stanford_cars --model model.keras  one that was fine-tuned

A linear classifier (ridge regression on the training images) sees the spatial means of `X`, then
beside them those of `Y = W X` for several `W`. What it gains is what SCI could add; controls gain
as many numbers without any interaction. No network is trained: it takes minutes.
"""

import pathlib

import numpy as np

import cin_keras
from cin_keras.checks import positive
from cin_keras.files import check_writable, write_json, write_text
from cin_keras.layers import SelfChannelInteraction
from cin_keras.measuring import channel_features as features
from cin_keras.measuring import ridge
from cin_keras.measuring.networks import build_network
from cin_keras.measuring.splits import training_and_test
from cin_keras.streams import tidy_streams
from cin_keras.training import mistakes_in_one_sentence
from cin_keras.training.options import choose_weights, measuring_parser, refuse_beside_model

# Every form of W is one line: the arguments of SelfChannelInteraction.
INTERACTIONS = {
    "SCI": {},
    "SCI, scale 0.1": {"scale": 0.1},
    "SCI, scale 0.03": {"scale": 0.03},
    "SCI, cosine": {"similarity": "cosine", "scale": 10.0},
    "SCI, correlation": {"similarity": "correlation", "scale": 10.0},
    "Pos-SCI": {"positive": True},
}


def parse_arguments(arguments=None):
    parser = measuring_parser(
        "python recipes/probe.py",
        "Asks whether interactions know more of the classes than spatial means.",
        "runs/probe",
    )
    add = parser.add
    add("--data-dir", "DIR", "a data set of any known layout (drawn cars)")
    add("--model", "FILE", "a trained CIN, in place of the next four")
    add("--backbone", "NAME", "in keras.applications, or 'small' (resnet50)")
    add("--feature-layer", "NAME", "layer of the backbone that interacts (the last)")
    add("--weights", "FILE", "'imagenet' (default), 'none' (small) or a file")
    add("--image-size", "N", "pixels (448)", type=positive(int))
    add("--batch-size", "N", "(%(default)s)", type=positive(int), default=32)
    add("--limit", "N", "images of each split, for a quick try", type=positive(int))
    add("--seed", "N", "of the random features and halves (%(default)s)", type=int, default=0)
    args = parser.parse_args(arguments)
    own = ("backbone", "feature_layer", "weights", "image_size")
    refuse_beside_model(args, own)
    if args.model is None:
        args.backbone = args.backbone or "resnet50"
        args.weights = choose_weights(args.backbone, args.weights)
    return args


def probe(train, test, labels, classes, seed):
    """One dict a row: what a classifier knows with more than the mean, and by controls."""
    pairs = {name: (train[name], test[name]) for name in (features.MEAN, features.DEVIATION)}
    means = ridge.standardize(*pairs[features.MEAN])
    pairs["random features"] = tuple(ridge.random_features(part, seed) for part in means)
    pairs |= {name: (train[name], test[name]) for name in INTERACTIONS}
    return ridge.added_knowledge(pairs, labels, classes, seed)


@tidy_streams()
def main(arguments=None):
    with mistakes_in_one_sentence():
        args = parse_arguments(arguments)
        folder = pathlib.Path(args.output)
        check_writable(folder)
        model = cin_keras.load_model(args.model) if args.model else None
        size = args.image_size = args.image_size or (model and model.image_size) or 448
        splits = training_and_test(args.data_dir, round(1.5 * np.max(size)), args.limit)
        if model is None:
            network = args.backbone, args.weights, size, args.feature_layer
            model = build_network("plain", splits[0].num_classes, *network)
        layers = {name: SelfChannelInteraction(**own) for name, own in INTERACTIONS.items()}
        described = []
        for samples in splits:
            print(samples)
            described.append(
                features.channel_features(model, samples, layers, args.image_size, args.batch_size)
            )
        train, test = described
        labels = [samples.labels for samples in splits]
        table = probe(train, test, labels, splits[0].num_classes, args.seed)
        phi = features.share_of_phi(test) if features.PHI in test else None
        mixed, eta = test.get(features.MIXED), None
        if mixed is not None:
            eta = features.eta_of_pairs(model, mixed, labels[1], args.seed)
        text = ridge.knowledge_table(table, phi, eta, len(splits[1]))
        found = {"table": table, "phi": phi, "eta": eta, "settings": vars(args)}
        write_json(folder / "probe.json", found)
        write_text(folder / "probe.md", text)
    print(f"\n{text}\n{folder}/\n  probe.json, probe.md")


if __name__ == "__main__":
    main()
