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
from cin_keras.data import SetEpoch, pair_dataset
from cin_keras.data.samples import fingerprint
from cin_keras.files import check_writable
from cin_keras.measuring import accuracies
from cin_keras.measuring.comparison import freeze_to, run_rows
from cin_keras.measuring.costs import inference_costs
from cin_keras.measuring.splits import training_and_test
from cin_keras.models import TRAINING_RATES
from cin_keras.models.small_backbone import small_backbone
from cin_keras.training import make_optimizer, mistakes_in_one_sentence
from cin_keras.training.failures import accidents_in_one_sentence
from cin_keras.training.streams import stop, tidy_streams

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
# For descent: bilinear features have length 1, far less than a spatial mean has, so their classifier
# needs a much higher rate, and the network, which their square root moves strongly, a much lower one.
# ψ at a tenth of its usual rate stays nearer to zero, where CCI is SCI+Cont.
RATES = {"bilinear": {"classifier": 500.0}, "CIN, slow ψ": {"psi": 0.001}}
RATE_FACTORS = {"bilinear": 0.05}


def parse_arguments(arguments=None):
    parser, add = measuring.measuring_parser(
        "python recipes/ablation.py",
        "Trains the rows of the paper's comparison under one budget.",
        "runs/ablation",
        epilog=f"Rows: {'; '.join(ROWS)}.",
    )
    number, rows = positive(int), [row for row in ROWS if row not in VARIANTS]
    add("--rows", "ROW", "(those of the paper)", nargs="+", choices=ROWS, default=rows)
    add("--seeds", "N", "runs of each row (%(default)s)", type=number, default=2)
    add("--learning-rates", "R", "to choose from", type=positive(float), nargs="+")
    add("--trial-epochs", "N", "of the choice (as --epochs)", type=number)
    add("--epochs", "N", "(%(default)s)", type=number, default=5)
    add("--data-dir", "DIR", "a data set of any known layout (drawn cars)")
    add("--backbone", "NAME", "in keras.applications, or 'small' (%(default)s)", default="small")
    add("--feature-layer", "NAME", "layer of the backbone that interacts (the last)")
    add("--weights", "FILE", "'imagenet', 'none' or a file (none)", default="none")
    add("--freeze-to", "NAME", "the last layer of the backbone that is not trained")
    add("--image-size", "N", "pixels (%(default)s)", type=number, default=64)
    add("--pairs-per-batch", "N", "(%(default)s)", type=number, default=16)
    add("--limit", "N", "images of each split, for a quick try", type=number)
    args = parser.parse_args(arguments)
    args.trial_epochs = args.trial_epochs or args.epochs
    args.learning_rates = args.learning_rates or ([2e-3] if is_small(args) else [0.02])
    return args


def is_small(args):
    """Whether the network is the small one, which AdamW trains from nothing."""
    return args.backbone == "small"


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
    freeze_to(model.backbone, args.freeze_to)
    return model


def rates_of(row, args):
    """The factors of its layers, and the learning rates to choose from."""
    own, factor = ({}, 1) if is_small(args) else (RATES.get(row, {}), RATE_FACTORS.get(row, 1))
    return TRAINING_RATES | own, [round(factor * rate, 6) for rate in args.learning_rates]


def train(row, samples, args, learning_rate, epochs, seed):
    """A model trained on pairs: all rows see the same images in the same order."""
    keras.utils.set_random_seed(seed)
    model = build_model(row, args, samples.num_classes)
    pairs = pair_dataset(samples, args.image_size, args.pairs_per_batch, seed=seed)
    rates, _ = rates_of(row, args)
    optimizer = make_optimizer(learning_rate, epochs, len(pairs), args.backbone, rates)
    model.compile(optimizer, loss=cin_keras.losses.SoftmaxCrossentropy(), metrics=["accuracy"])
    model.fit(pairs, epochs=epochs, shuffle=False, callbacks=[SetEpoch(pairs)])
    return model


def settings_of(args, samples):
    """What must be equal for runs to stand in one table."""
    own = ("rows", "seeds", "learning_rates", "output", "data_dir", "weights")
    return {
        **{name: value for name, value in vars(args).items() if name not in own},
        "weights": pathlib.Path(args.weights).name,
        "data": [f"{part} {fingerprint(part)}" for part in samples],
        "backend": keras.backend.backend(),
    }


@tidy_streams()
def main(arguments=None):
    args = parse_arguments(arguments)
    folder, size, batch = pathlib.Path(args.output), args.image_size, 2 * args.pairs_per_batch
    try:
        with mistakes_in_one_sentence():
            check_writable(folder)
            samples = training_and_test(args.data_dir, size * 3 // 2, args.limit)
            print("train: {}\n test: {}".format(*samples))
            build_model(args.rows[0], args, samples[0].num_classes)
            results = measuring.Results(folder / "results.jsonl", settings_of(args, samples))
        with accidents_in_one_sentence():
            rates = {row: rates_of(row, args) for row in args.rows}
            runs = run_rows(
                results,
                args.seeds,
                samples,
                {row: learning_rates for row, (_, learning_rates) in rates.items()},
                {row: {"arguments": ROWS[row], "rates": own} for row, (own, _) in rates.items()},
                train=lambda row, part, *budget: train(row, part, args, *budget),
                score=lambda model, part: accuracies.accuracy_on(model, part, size, batch),
                epochs=args.epochs,
                trial_epochs=args.trial_epochs,
            )
    except KeyboardInterrupt:
        stop(f"\nInterrupted. Finished runs are in {folder}; the same command goes on there.")
    models = {row: build_model(row, args, samples[0].num_classes) for row in args.rows}
    images = np.random.default_rng(0).uniform(0, 255, (8, size, size, 3))
    table = accuracies.comparison(runs, inference_costs(models, images, rounds=6))
    with mistakes_in_one_sentence():
        print(f"\n{accuracies.write_comparison(table, folder)}\n")
    print(f"{folder}/\n  results.jsonl   every run and trial")
    print("  ablation.md, ablation.csv, ablation.png")


if __name__ == "__main__":
    main()
