"""Draws what a Channel Interaction Network looks at, and scores whether that is the right thing.

python recipes/explain.py                                  trains on drawn cars, then explains
python recipes/explain.py --model runs/cars/model.keras    a model of the same drawn cars
python recipes/explain.py --model nts.keras                an NTS of drawn cars: its parts
python recipes/explain.py --data-dir data/CUB_200_2011 --model runs/birds/model.keras
"""

import pathlib

import cars

import cin_keras
from cin_keras.data import differing_parts
from cin_keras.files import check_writable, move_aside, write_json, write_text
from cin_keras.measuring import explanations, scored_parts
from cin_keras.streams import tidy_streams
from cin_keras.training import mistakes_in_one_sentence, recipe_parser, settle
from cin_keras.training.data_set import is_first_process
from cin_keras.training.options import refuse_beside_model
from cin_keras.training.photographs import only_readable
from cin_keras.training.run_folder import EXPLANATIONS
from cin_keras.versions import versions

DRAWINGS = {"backbone": "small", "image_size": 64, "epochs": 15, "pairs_per_batch": 8}
PHOTOGRAPHS = {"backbone": "resnet50", "image_size": 448, "epochs": 20, "pairs_per_batch": 16}
# Maps of 8×8: of the 4×4 that the last block gives, no cell is as small as a lamp.
DRAWINGS_FEATURE_LAYER = "block_4"
PART_RADIUS = 0.1  # of the larger side of the bird's box
STEPS = 8  # of deletion and insertion


def parse_arguments(arguments=None):
    parser = recipe_parser(
        "python recipes/explain.py",
        "drawn cars or birds, if there is none yet, and explains it",
        PHOTOGRAPHS,
        "CUB-200-2011, with its parts (drawn cars)",
        "runs/explain",
        DRAWINGS,
    )
    parser.add_argument("--model", metavar="FILE", help="a trained model (one is trained)")
    args = parser.parse_args(arguments)
    training = ("backbone", "feature_layer", "weights", "image_size", "epochs", "learning_rate", "head")
    refuse_beside_model(args, training)
    args.head = args.head or (None if args.plain else "cin")  # whose channels and pairs are drawn
    settle(args, PHOTOGRAPHS if args.data_dir else DRAWINGS)
    if args.backbone == "small" and args.feature_layer is None:
        args.feature_layer = DRAWINGS_FEATURE_LAYER
    return args


def explain_parts(model, test, targets, what, folder):
    """Where an NTS looked: its parts of one image, and whether those of all images hit."""
    picture = explanations.read_images(test, [0], model.image_size)[0]
    cin_keras.explain.parts_figure(model, picture, folder / "parts.png")
    print(f"Scoring {test}")
    table = scored_parts.parts_table(scored_parts.score_parts(model, test, targets), *what)
    write_text(folder / "scores.md", table)
    print(f"\n{table}\n{folder}/\n  scores.md, parts.png")


@tidy_streams()
def main(arguments=None):
    with mistakes_in_one_sentence():
        args = parse_arguments(arguments)
        folder, drawn = pathlib.Path(args.output), args.data_dir is None
        check_writable(folder)
        model = cin_keras.load_model(args.model) if args.model else None
        if model is not None:
            args.image_size = max(model.image_size or [args.image_size])
        samples = explanations.samples_with_parts(args.data_dir, args.image_size, args.seed)
        train, _, test = samples
        if args.limit:
            test = test.limit(args.limit, seed=args.seed)
            # Which images a model has seen that is there already, nobody knows.
            train = train if args.model else train.limit(args.limit, seed=args.seed)
        if args.on_error == "skip":
            train, test = (only_readable("given", part, "skip") for part in (train, test))
        explanations.check_model(model, train, test, args.model, args.data_dir)
        if model is not None:
            move_aside(folder, EXPLANATIONS)
    if model is None:
        cars.main(args, lambda args: samples)
        if args.distribute and not is_first_process():
            return
        model = cin_keras.load_model(folder / "model.keras")
    with mistakes_in_one_sentence():
        size = model.image_size or [args.image_size] * 2
        references = explanations.read_images(train, explanations.first_of_each_class(train), size)
        what = ("a differing part", "car") if drawn else ("an annotated part", "bird")
        targets = explanations.Targets(test, PART_RADIUS, differing_parts if drawn else None)
        if isinstance(model, cin_keras.NTS):
            return explain_parts(model, test, targets, what, folder)
        written = explanations.draw_figures(model, test, references, folder)
        print(f"Scoring {test}")
        arrays, chance = explanations.score_maps(model, test, targets, references, STEPS, args.seed)
        summary = explanations.summarize_scores(arrays, chance)
        table = explanations.score_table(summary, *what)
        settings = {"settings": vars(args), "versions": versions()}
        write_json(folder / "scores.json", {**summary, **settings})
        write_text(folder / "scores.md", table)
        written.append(explanations.score_figure(arrays, summary, folder / "scores.png"))
    names = ", ".join(path.name for path in written)
    print(f"\n{table}\n{folder}/\n  scores.json, scores.md\n  {names}")


if __name__ == "__main__":
    main()
