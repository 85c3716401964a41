"""Trains the rows of the paper's comparison under one budget and says what helps.

python recipes/ablation.py                                            drawn cars, every row but the variants
python recipes/ablation.py --data-dir data/stanford_cars --seeds 3 --rows plain SCI CIN
python recipes/ablation.py --data-dir data/stanford_cars --table      what is finished, and its cost
"""

import pathlib

from cin_keras.checks import positive
from cin_keras.files import check_writable, write_text
from cin_keras.measuring import accuracies, comparison, costs, results, splits
from cin_keras.measuring.networks import build_network
from cin_keras.measuring.readers import make_reader
from cin_keras.measuring.rows import NTS_ROWS, OF_THE_PAPER, ROWS, own_rates, own_settings
from cin_keras.streams import stop, tidy_streams
from cin_keras.training import mistakes_in_one_sentence
from cin_keras.training.failures import accidents_in_one_sentence
from cin_keras.training.options import LABEL_SMOOTHING, WEIGHT_DECAY, measuring_parser, share

# Options in which the runs of one table may differ.
FREE = "rows seeds learning_rates output data_dir weights maps trials_only trial_seeds table".split()


def parse_arguments(arguments=None):
    parser = measuring_parser(
        "python recipes/ablation.py",
        "Trains the rows of the paper's comparison under one budget.",
        "runs/ablation",
        epilog=f"Rows: {'; '.join(ROWS)}.",
    )
    add, switch = parser.add, parser.switch
    number = positive(int)
    add("--rows", "ROW", "(those of the paper; with --table, all)", nargs="+", choices=ROWS)
    add("--seeds", "N", "runs of each row (%(default)s)", type=number, default=2)
    add("--learning-rates", "R", "to choose from", type=positive(float), nargs="+")
    add("--trial-epochs", "N", "of the choice (as --epochs)", type=number)
    add("--trial-seeds", "N", "of the choice (%(default)s)", type=number, default=1)
    switch("--trials-only", "choose the learning rates, and no runs")
    switch("--table", "of the runs that there are, and no more of them")
    add("--epochs", "N", "(%(default)s)", type=number, default=5)
    add("--data-dir", "DIR", "a data set of any known layout (drawn cars)")
    add("--backbone", "NAME", "in keras.applications, or 'small' (%(default)s)", default="small")
    add("--feature-layer", "NAME", "layer of the backbone that interacts (the last)")
    add("--weights", "FILE", "'imagenet', 'none' or a file (none)", default="none")
    add("--freeze-to", "NAME", "the last layer of the backbone that is not trained")
    add("--image-size", "N", "pixels (%(default)s)", type=number, default=64)
    add("--pairs-per-batch", "N", "(%(default)s)", type=number, default=16)
    add("--weight-decay", "W", "of kernels (%(default)s)", type=share(), default=WEIGHT_DECAY)
    add("--label-smoothing", "S", "(%(default)s)", type=share(), default=LABEL_SMOOTHING)
    switch("--unseen", "train on every second class, Recall@1 of the others")
    add("--crops", "N", "of each image, computed once up to --freeze-to (anew)", type=number)
    add("--maps", "DIR", "where what --crops computes is kept (%(default)s)", default="runs/maps")
    add("--limit", "N", "images of each split, for a quick try", type=number)
    args = parser.parse_args(arguments)
    possible = [row for row in OF_THE_PAPER if not (args.crops and row in NTS_ROWS)]
    args.rows = args.rows or (list(ROWS) if args.table else possible)
    if args.crops and not args.table and (parts := [row for row in args.rows if row in NTS_ROWS]):
        parser.error(
            "--crops keeps maps of photographs, and NTS looks again at the photographs: leave "
            f"--crops or these rows out. Received: --rows {' '.join(parts)}"
        )
    if args.crops and not args.freeze_to:
        parser.error("--crops keeps what the frozen part makes of photographs: give --freeze-to, too")
    args.trial_epochs = args.trial_epochs or args.epochs
    if not args.table:
        args.learning_rates = args.learning_rates or [2e-3 if args.backbone == "small" else 0.02]
    return args


def train_rows(args, found, samples, unseen, build, identity, rates):
    """The runs of every row, at its best rate; those among the results are not made again."""
    maps = pathlib.Path(args.maps, f"{args.backbone}-{args.freeze_to}-{args.image_size}")
    reading = args.image_size, args.pairs_per_batch, args.crops, args.freeze_to, maps
    with mistakes_in_one_sentence():
        reader = make_reader(build, samples[0], *reading)
    with accidents_in_one_sentence():
        budget = args.backbone, args.weight_decay, args.label_smoothing
        return comparison.run_rows(
            found,
            0 if args.trials_only else args.seeds,
            samples,
            rates,
            identity,
            train=lambda *run: comparison.train_row(*run, reader, *budget),
            score=lambda *run: accuracies.score_model(*run, reader, samples[0], unseen),
            epochs=args.epochs,
            trial_epochs=args.trial_epochs,
            trial_seeds=args.trial_seeds,
        )


@tidy_streams()
def main(arguments=None):
    args = parse_arguments(arguments)
    folder, size = pathlib.Path(args.output), args.image_size
    network = args.backbone, args.weights, size, args.feature_layer, args.freeze_to

    def build(row, num_classes):
        return build_network(row, num_classes, *network)

    try:
        with mistakes_in_one_sentence():
            if args.table and not (folder / "results.jsonl").is_file():
                raise FileNotFoundError(f"--table is of the runs in {folder}, which has no results.jsonl")
            check_writable(folder)
            samples = splits.training_and_test(args.data_dir, size * 3 // 2, args.limit)
            *samples, unseen = splits.every_second_class(*samples) if args.unseen else (*samples, None)
            print("train: {}\n test: {}".format(*samples))
            build(args.rows[0], samples[0].num_classes)
            settings = results.settings_of(vars(args), FREE, samples)
            found = results.Results(folder / "results.jsonl", settings)
        rows = ROWS if args.trials_only else args.rows  # the table of trials is of all
        identity = {row: own_settings(row, args.backbone) for row in rows}
        rates = args.learning_rates
        rates = rates and {row: own_rates(row, rates, args.backbone) for row in args.rows}
        if not args.table:
            runs = train_rows(args, found, samples, unseen, build, identity, rates)
    except KeyboardInterrupt:
        stop(f"\nInterrupted. Finished runs are in {folder}; the same command goes on there.")
    with mistakes_in_one_sentence():
        if args.trials_only:
            table = accuracies.trial_table(comparison.finished(found, "trial", identity))
            write_text(folder / "trials.md", f"{table}\n")
            return print(f"\n{table}\n\n{folder}/\n  results.jsonl, trials.md")
        if args.table:
            runs = comparison.best_runs(comparison.finished(found, "run", identity, rates))
    models = {row: build(row, samples[0].num_classes) for row in runs}
    table = runs, costs.inference_costs(models, size), folder
    with mistakes_in_one_sentence():
        print(f"\n{accuracies.write_comparison(*table)}\n")
    print(f"{folder}/\n  results.jsonl   every run and trial")
    print("  ablation.md, ablation.csv, ablation.png")


if __name__ == "__main__":
    main()
