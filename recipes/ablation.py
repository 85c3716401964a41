"""Trains the rows of the paper's comparison under one budget and says what helps.

python recipes/ablation.py                                            drawn cars, every row
python recipes/ablation.py --data-dir data/stanford_cars --seeds 3 --rows plain SCI CIN
"""

import pathlib

import keras
import numpy as np

import cin_keras
from cin_keras import measuring
from cin_keras.checks import positive
from cin_keras.data import SetEpoch, image_dataset, pair_dataset
from cin_keras.data.samples import fingerprint
from cin_keras.files import check_writable, write_text
from cin_keras.measuring import accuracies
from cin_keras.measuring.comparison import freeze_to, run_rows
from cin_keras.measuring.costs import inference_costs
from cin_keras.measuring.frozen_part import FrozenPart
from cin_keras.measuring.machine import accelerator
from cin_keras.measuring.splits import training_and_test
from cin_keras.models import TRAINING_RATES
from cin_keras.models.small_backbone import small_backbone
from cin_keras.training import make_optimizer, mistakes_in_one_sentence
from cin_keras.training.failures import accidents_in_one_sentence
from cin_keras.training.options import LABEL_SMOOTHING, WEIGHT_DECAY, share
from cin_keras.training.streams import stop, tidy_streams

# The arguments of NTS.
NTS_ROWS = {"NTS": {}, "NTS+CIN": {"interaction": "sci", "contrast": "cci"}}
# Every row is one line: the arguments of CIN.
ROWS = {
    "plain": {"interaction": None, "contrast": None},
    "SE": {"interaction": "squeeze_excite", "contrast": None},
    "non-local": {"interaction": "non_local", "contrast": None},
    "CGNL": {"interaction": "cgnl", "contrast": None},
    "MAMC": {"interaction": "osme", "contrast": "mamc", "alpha": 0.5},
    "bilinear": {"interaction": "bilinear", "contrast": None, "projection_dim": 64},
    "covariance": {"interaction": "covariance", "contrast": None, "projection_dim": 64},
    "mean+deviation": {"interaction": "mean_and_deviation", "contrast": None},
    "phi": {"interaction": "phi", "contrast": None},
    "Pos-SCI": {"interaction": "pos_sci", "contrast": None},
    "SCI": {"interaction": "sci", "contrast": None},
    "SCI+Cont": {"interaction": "sci", "contrast": "embedding"},
    "CIN": {"interaction": "sci", "contrast": "cci"},
    **NTS_ROWS,
}
# What else was tried, of SCI and of the contrast.
VARIANTS = {
    "SCI, scale 0.03": {"scale": 0.03},
    "SCI, learned scale": {"learnable_scale": True},
    "SCI, cosine": {"similarity": "cosine", "scale": 10.0},
    "SCI, correlation": {"similarity": "correlation", "scale": 10.0},
    "SCI, φ Glorot": {"phi_initializer": "glorot_uniform"},
    "SCI, φ 1×1": {"phi_kernel_size": 1},
    "CIN, α 8": {"contrast": "cci", "alpha": 8.0},
    "CIN, α 0.5": {"contrast": "cci", "alpha": 0.5},
    "CIN, α 0.1": {"contrast": "cci", "alpha": 0.1},
    "CIN, β 1": {"contrast": "cci", "margin": 1.0},
    "CIN, slow ψ": {"contrast": "cci"},
    "CIN, φ 1×1": {"contrast": "cci", "phi_kernel_size": 1},
    "CIN, rows of sum 1": {"contrast": "cci", "normalize_rows": True},
    "CIN, own φ": {"contrast": "cci", "own_phi": True},
    "CIN, φ spared": {"contrast": "cci", "phi_gradient": False},
    "CIN, hardest": {"contrast": "cci", "partner": "hardest"},
    "CIN, all pairs": {"contrast": "cci", "partner": "all"},
}
ROWS |= {row: {"interaction": "sci", "contrast": None, **own} for row, own in VARIANTS.items()}
# What each setting of the recipe gives.
SHARES = {
    "plain, neither": {"weight_decay": 0.0, "label_smoothing": 0.0},
    "plain, decay": {"label_smoothing": 0.0},
    "plain, smoothing": {"weight_decay": 0.0},
}
ROWS |= {row: ROWS["plain"] for row in SHARES}
# For descent: bilinear features have length 1, far less than a spatial mean has, so their classifier
# needs a much higher rate, and long weights.
# ψ at a tenth of its usual rate stays nearer to zero, where CCI is SCI+Cont.
RATES = {"bilinear": {"classifier": 20.0}, "CIN, slow ψ": {"psi": 0.001}}
RECIPES = SHARES | {"bilinear": {"weight_decay": 1e-4}}


def parse_arguments(arguments=None):
    parser, add = measuring.measuring_parser(
        "python recipes/ablation.py",
        "Trains the rows of the paper's comparison under one budget.",
        "runs/ablation",
        epilog=f"Rows: {'; '.join(ROWS)}.",
    )
    number = positive(int)
    add("--rows", "ROW", "(those of the paper)", nargs="+", choices=ROWS)
    add("--seeds", "N", "runs of each row (%(default)s)", type=number, default=2)
    add("--learning-rates", "R", "to choose from", type=positive(float), nargs="+")
    add("--trial-epochs", "N", "of the choice (as --epochs)", type=number)
    add("--trial-seeds", "N", "of the choice (%(default)s)", type=number, default=1)
    add("--trials-only", action="store_true", help="choose the learning rates, and no runs")
    add("--epochs", "N", "(%(default)s)", type=number, default=5)
    add("--data-dir", "DIR", "a data set of any known layout (drawn cars)")
    add("--backbone", "NAME", "in keras.applications, or 'small' (%(default)s)", default="small")
    add("--feature-layer", "NAME", "layer of the backbone that interacts (the last)")
    add("--weights", "FILE", "'imagenet', 'none' or a file (none)", default="none")
    add("--freeze-to", "NAME", "the last layer of the backbone that is not trained")
    add("--image-size", "N", "pixels (%(default)s)", type=number, default=64)
    add("--pairs-per-batch", "N", "(%(default)s)", type=number, default=16)
    add("--weight-decay", "W", "of kernels (%(default)s)", type=share, default=WEIGHT_DECAY)
    add("--label-smoothing", "S", "(%(default)s)", type=share, default=LABEL_SMOOTHING)
    add("--unseen", action="store_true", help="train on every second class, Recall@1 of the others")
    add("--crops", "N", "of each image, computed once up to --freeze-to (anew)", type=number)
    add("--maps", "DIR", "where what --crops computes is kept (%(default)s)", default="runs/maps")
    add("--limit", "N", "images of each split, for a quick try", type=number)
    args = parser.parse_args(arguments)
    others = {*VARIANTS, *SHARES, *(NTS_ROWS if args.crops else ())}
    args.rows = args.rows or [row for row in ROWS if row not in others]
    if args.crops and (parts := [row for row in args.rows if row in NTS_ROWS]):
        parser.error(
            "--crops keeps maps of photographs, and NTS looks again at the photographs: leave "
            f"--crops or these rows out. Received: --rows {' '.join(parts)}"
        )
    args.trial_epochs = args.trial_epochs or args.epochs
    args.learning_rates = args.learning_rates or ([2e-3] if is_small(args) else [0.02])
    return args


def is_small(args):
    """Whether the network is the small one, which AdamW trains from nothing."""
    return args.backbone == "small"


def build_model(row, args, num_classes):
    size = args.image_size
    build = cin_keras.NTS if row in NTS_ROWS else cin_keras.CIN
    model = build(
        num_classes,
        backbone=small_backbone(size) if is_small(args) else args.backbone,
        weights=None if args.weights == "none" else args.weights,
        input_shape=(size, size, 3),
        feature_layer=args.feature_layer,
        **ROWS[row],
    )
    freeze_to(model.backbone, args.freeze_to)
    return model


def rates_of(row, args):
    """The factors of its layers on the learning rate."""
    return TRAINING_RATES | ({} if is_small(args) else RATES.get(row, {}))


def what_it_is(row, args):
    """What a run of the row depends on beside the settings of all."""
    own = RECIPES.get(row, {}) if row in SHARES or not is_small(args) else {}
    return {
        "arguments": ROWS[row],
        "rates": rates_of(row, args),
        **({"recipe": own} if own else {}),
    }


class Photographs:
    """Trains and judges whole networks on photographs."""

    def __init__(self, args):
        self.args = args

    def model(self, row, num_classes):
        return build_model(row, self.args, num_classes)

    def pairs(self, samples, seed):
        return pair_dataset(samples, self.args.image_size, self.args.pairs_per_batch, seed=seed)

    def images(self, samples):
        return image_dataset(samples, self.args.image_size, 2 * self.args.pairs_per_batch)


class Maps:
    """The same behind the frozen part of the network, which is computed once."""

    def __init__(self, args, samples):
        folder = pathlib.Path(args.maps, f"{args.backbone}-{args.freeze_to}-{args.image_size}")
        folder.mkdir(parents=True, exist_ok=True)
        network = build_model("plain", args, samples.num_classes).backbone
        size, crops = args.image_size, args.crops
        self.part = FrozenPart(network, args.freeze_to, samples, size, crops, folder)
        self.pairs_per_batch = args.pairs_per_batch

    def model(self, row, num_classes):
        rest = self.part.rest()
        return cin_keras.CIN(num_classes, rest, None, rest.input_shape[1:], **ROWS[row])

    def pairs(self, samples, seed):
        return self.part.pairs(samples, self.pairs_per_batch, seed)

    def images(self, samples):
        return self.part.images(samples)


def train(row, samples, args, learning_rate, epochs, seed, reader):
    """A model trained on pairs: all rows see the same images in the same order."""
    keras.utils.set_random_seed(seed)
    model = reader.model(row, samples.num_classes)
    pairs = reader.pairs(samples, seed)
    recipe = {"weight_decay": args.weight_decay, "label_smoothing": args.label_smoothing}
    recipe |= what_it_is(row, args).get("recipe", {})
    optimizer = make_optimizer(
        learning_rate,
        epochs,
        len(pairs),
        args.backbone,
        rates_of(row, args),
        weight_decay=recipe["weight_decay"],
    )
    loss = cin_keras.losses.SoftmaxCrossentropy(label_smoothing=recipe["label_smoothing"])
    # On CPUs, XLA takes two to six times as long.
    jit = "auto" if keras.backend.backend() != "tensorflow" or accelerator() else False
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=jit)
    callbacks = [SetEpoch(pairs)] if hasattr(pairs, "epochs") else []
    model.fit(pairs, epochs=epochs, shuffle=False, callbacks=callbacks, verbose=2)
    return model


def score(model, samples, known, unseen, reader):
    """What a model is worth on the classes it knows, and its embeddings on those it does not."""
    scores = model.predict(reader.images(samples), verbose=0)
    found = accuracies.accuracy_of(scores, samples)
    if unseen is not None:
        found |= accuracies.recall_on(
            model, reader.images(unseen), unseen.labels, reader.images(known)
        )
    return found


def parts_of(args):
    """Samples to train on, to test on, and of classes that are not trained (or `None`)."""
    train, test = training_and_test(args.data_dir, args.image_size * 3 // 2, args.limit)
    unseen = None
    if args.unseen:
        names = train.class_names
        unseen = train.filter(names[1::2]).join(test.filter(names[1::2]))
        train, test = train.filter(names[::2]), test.filter(names[::2])
    return train, test, unseen


def settings_of(args, samples):
    """What must be equal for runs to stand in one table: all that is not off."""
    own = ("rows", "seeds", "learning_rates", "output", "data_dir", "weights", "maps")
    own += ("trials_only", "trial_seeds")
    news = ("weight_decay", "label_smoothing", "unseen", "crops")  # since results exist
    return {
        **{
            name: value
            for name, value in vars(args).items()
            if name not in own and (name not in news or value)
        },
        "weights": pathlib.Path(args.weights).name,
        "data": [f"{part} {fingerprint(part)}" for part in samples],
        "backend": keras.backend.backend(),
    }


@tidy_streams()
def main(arguments=None):
    args = parse_arguments(arguments)
    folder, size = pathlib.Path(args.output), args.image_size
    try:
        with mistakes_in_one_sentence():
            check_writable(folder)
            *samples, unseen = parts_of(args)
            print("train: {}\n test: {}".format(*samples))
            build_model(args.rows[0], args, samples[0].num_classes)
            results = measuring.Results(folder / "results.jsonl", settings_of(args, samples))
        with accidents_in_one_sentence():
            reader = Maps(args, samples[0]) if args.crops else Photographs(args)
            runs = run_rows(
                results,
                0 if args.trials_only else args.seeds,
                samples,
                {row: args.learning_rates for row in args.rows},
                {row: what_it_is(row, args) for row in args.rows},
                train=lambda row, part, *budget: train(row, part, args, *budget, reader),
                score=lambda model, part: score(model, part, samples[0], unseen, reader),
                epochs=args.epochs,
                trial_epochs=args.trial_epochs,
                trial_seeds=args.trial_seeds,
            )
    except KeyboardInterrupt:
        stop(f"\nInterrupted. Finished runs are in {folder}; the same command goes on there.")
    if args.trials_only:
        table = accuracies.trial_table(results.find(kind="trial"))
        write_text(folder / "trials.md", f"{table}\n")
        print(f"\n{table}\n\n{folder}/\n  results.jsonl, trials.md")
        return
    models = {row: build_model(row, args, samples[0].num_classes) for row in args.rows}
    images = np.random.default_rng(0).uniform(0, 255, (8, size, size, 3))
    table = accuracies.comparison(runs, inference_costs(models, images, rounds=6))
    with mistakes_in_one_sentence():
        print(f"\n{accuracies.write_comparison(table, folder)}\n")
    print(f"{folder}/\n  results.jsonl   every run and trial")
    print("  ablation.md, ablation.csv, ablation.png")


if __name__ == "__main__":
    main()
