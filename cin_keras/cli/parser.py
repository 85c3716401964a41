"""The arguments of `cin-keras`, understood before anything heavy is loaded."""

import argparse

from cin_keras.checks import positive
from cin_keras.training.command import as_typed
from cin_keras.training.folder import add_table_options, folder_parser
from cin_keras.training.options import Parser, share, whole
from cin_keras.versions import __version__

TRAIN_SETTINGS = {"backbone": "resnet50", "image_size": 448, "epochs": 30, "pairs_per_batch": 16}
FIGURES = ("decision", "channels", "ranking", "contrast", "parts")  # of `explain`
# What the formats are called by Keras, and how their files end.
EXPORT_FORMATS = {
    "savedmodel": ("tf_saved_model", None),
    "onnx": ("onnx", ".onnx"),
    "litert": ("litert", ".tflite"),
}
MAX_PIXELS = 178_956_970  # cin_keras.data.decoding.MAX_PIXELS, without loading that
SIMILAR = 12  # photographs that the demo shows


def build_parser():
    """The parser of all commands; `subcommand` in its result is `None` where none is given.

    Returns:
        `cin_keras.training.options.Parser`.

    Example:

    >>> args = build_parser().parse_args(["predict", "model.keras", "photographs", "--top", "3"])
    >>> args.subcommand, args.model, args.paths, args.top
    ('predict', 'model.keras', ['photographs'], 3)
    """
    parser = Parser(
        prog="cin-keras",
        description="Tells apart things that look almost the same: trains a Channel Interaction "
        "Network on a folder of photographs and uses it. A model file is all the other commands "
        "need: it knows its classes and its image size.",
        epilog="cin-keras COMMAND --help shows the options of a command. Keras runs on TensorFlow "
        "or, with KERAS_BACKEND=jax or torch, on JAX or PyTorch. Exit status: 0 all is well, "
        "1 some files were bad or a run could not go on, 2 a mistake in the arguments.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="subcommand", metavar="COMMAND")
    _add_train(commands)
    _add_predict(commands)
    _add_evaluate(commands)
    _add_index(commands)
    _add_search(commands)
    _add_demo(commands)
    _add_explain(commands)
    _add_export(commands)
    _add_info(commands)
    _add_card(commands)
    return parser


def _add_train(commands):
    options = folder_parser("cin-keras train FOLDER", TRAIN_SETTINGS)
    commands.add_parser(
        "train",
        help="train a model on a folder of photographs, one folder a class",
        parents=[options],
        add_help=False,  # the options have one
        usage=options.usage,
        description=options.description,
        epilog="A model, what it can do on photographs that it was not trained on, and figures "
        "are written to runs/ and the folder's name, or to --output.",
    )


def _add_predict(commands):
    parser = _command(
        commands,
        "predict",
        "name what photographs show",
        "Names what photographs show, with probabilities, in the order given. A file that cannot "
        "be decoded is reported on standard error, the rest go on, and the exit status is 1.",
    )
    _add_model(parser, "a .keras file, or the folder of an exported SavedModel")
    _add_paths(parser)
    parser.add(
        "--top", "K", "most probable classes to show of each (%(default)s)", type=positive(int), default=1
    )
    _add_min_confidence(parser)
    parser.add(
        "--gallery",
        "FILE",
        "classes of this gallery of cin-keras index, by similarity, not the model's own; its "
        "threshold, if it has one, says none of these, too",
    )
    _add_result(
        parser,
        json="{path, class, label, probability, top}, or {path, error}; class is null for none "
        "of these; with a hierarchy {level, levels}, too",
        csv="path,rank,class,label,probability, K rows a photograph; with --min-confidence or "
        "--gallery, answer,level, too",
    )


def _add_index(commands):
    parser = _command(
        commands,
        "index",
        "make a gallery of known photographs",
        "Makes a gallery: known photographs by their embeddings, to search and to classify by. "
        "Classes that the model was not trained on are as welcome as others. Broken off, the same "
        "command goes on. A file that cannot be decoded is reported and left out, and the exit "
        "status is 1.",
    )
    _add_model(parser)
    parser.add(
        "data_dir",
        "DATA",
        "one folder a class, a CSV table, or a published data set, as for evaluate; with "
        "--class a folder of any kind or a photograph",
    )
    parser.add("--output", "FILE", "the gallery (%(default)s)", default="gallery.npz")
    parser.switch("--add", "add to the gallery; what it has is left out")
    parser.add("--split", "NAME", "train, val or test alone (all)")
    parser.add("--class", "NAME", "the class of all of them (that of their folder)", dest="class_name")
    parser.add(
        "--by",
        help="classify by the nearest class mean, or by votes of the nearest photographs (means)",
        choices=("means", "nearest"),
    )
    parser.add(
        "--calibrate",
        "DATA",
        "photographs to choose the threshold of none of these by, not in the gallery; those "
        "of other classes stand for the unknown",
    )
    parser.add("--calibrate-split", "NAME", "train, val or test of these alone (all)")
    parser.add(
        "--false-alarm-rate",
        "R",
        "share of the unknown that may be taken for a known class (0.05)",
        type=share(with_one=True),
    )
    add_table_options(parser)
    _add_reading(parser)
    _add_progress(parser)


def _add_search(commands):
    parser = _command(
        commands,
        "search",
        "find the known photographs most like others",
        "Finds the photographs of a gallery that are most like others, the most similar first. A "
        "file that cannot be decoded is reported on standard error, the rest go on, and the exit "
        "status is 1.",
    )
    parser.add("gallery", "GALLERY", "what cin-keras index has written")
    _add_paths(parser)
    parser.add("--model", "MODEL", "the model of the gallery (where it was when the gallery was made)")
    parser.add(
        "--top",
        "K",
        "most similar photographs to show of each (%(default)s)",
        type=positive(int),
        default=10,
    )
    _add_result(
        parser,
        json="{path, neighbours}, each {path, class, similarity}, or {path, error}",
        csv="path,rank,neighbour,class,similarity, K rows a photograph",
        image_size=False,
    )


def _add_demo(commands):
    parser = _command(
        commands,
        "demo",
        "open a page on this machine to try a model on",
        "Serves a page on which a photograph is dropped and answered: classes with probabilities "
        "or none of these, the map of what decided and, with --gallery, the most similar known "
        'photographs. Nothing leaves this machine. Needs Gradio: pip install ".[demo]".',
    )
    _add_model(parser)
    parser.add(
        "--gallery",
        "FILE",
        "classes of this gallery of cin-keras index, as for predict, and its photographs",
    )
    parser.add("--top", "K", "most probable classes to show (%(default)s)", type=positive(int), default=5)
    parser.add("--similar", "K", f"most similar photographs to show ({SIMILAR})", type=positive(int))
    _add_min_confidence(parser)
    parser.add(
        "--host",
        "NAME",
        "address to listen at; 0.0.0.0 for other machines, too (%(default)s)",
        default="127.0.0.1",
    )
    parser.add("--port", "N", "0 for any that is free (%(default)s)", type=whole(most=65535), default=7860)
    parser.switch("--open", "show it in the browser, too")
    _add_sizes(parser)


def _add_evaluate(commands):
    parser = _command(
        commands,
        "evaluate",
        "measure a model on photographs whose classes are known",
        "Measures a model on a data set. Classes are matched by their names. Writes metrics.json, "
        "figures and report.html. A file that cannot be decoded is reported and left out, and the "
        "exit status is 1.",
    )
    _add_model(parser)
    parser.add(
        "data_dir",
        "DATA",
        "one folder a class, perhaps in train/, val/, test/; a CSV table; shards; Stanford Cars, "
        "CUB-200-2011, NABirds, FGVC-Aircraft or Oxford-IIIT Pet",
    )
    parser.add("--split", "NAME", "train, val or test (test; all photographs where DATA is not divided)")
    parser.add("--split-file", "FILE", "split.json of a training run, for DATA that is not divided")
    parser.add("--output", "DIR", "folder to write (evaluation/ and the name of DATA)")
    add_table_options(parser)
    _add_reading(parser)


def _add_explain(commands):
    parser = _command(
        commands,
        "explain",
        "show where in a photograph a model looks",
        "Draws where in photographs a model looks, as PNG files. decision: what speaks for the "
        "predicted class, and what for the next. channels: the strongest channel before and after "
        "the interaction, and those that complement it. ranking: all channels, by their weight "
        "for that one. contrast: where the first photograph differs from the next ones. parts: those "
        "that an NTS chose, with their scores.",
    )
    _add_model(parser)
    parser.add("paths", "IMAGE", "a photograph, a folder, or - for a list", nargs="+")
    parser.add(
        "--figure",
        help="draw this one, can be given several times (all that the model has)",
        dest="figures",
        choices=FIGURES,
        action="append",
    )
    parser.add("--channel", "N", "for channels and ranking (the strongest)", type=whole())
    parser.add("--output", "DIR", "folder to write (%(default)s)", default="explanations")
    _add_sizes(parser)


def _add_export(commands):
    parser = _command(
        commands,
        "export",
        "write a model for serving without this package",
        "Writes a model for serving without this package, class names and image size included.",
    )
    _add_model(parser)
    parser.add("path", "PATH", "folder (savedmodel) or file to write")
    parser.add(
        "--format",
        help="(by PATH: onnx for .onnx, litert for .tflite, savedmodel without an ending)",
        choices=EXPORT_FORMATS,
    )
    _add_image_size(parser)
    parser.add(
        "--max-pixels",
        "N",
        f"photographs of more pixels are refused by the SavedModel ({MAX_PIXELS})",
        type=positive(int),
    )
    parser.switch("--no-embeddings", "a SavedModel of class and probabilities alone, which is smaller")


def _add_info(commands):
    parser = _command(
        commands,
        "info",
        "say what a model file holds",
        "Says what a model file holds: classes, size, network, and how it was trained.",
    )
    _add_model(parser, "a .keras file, or the folder of an exported SavedModel")
    parser.switch("--json", "one JSON document")


def _add_card(commands):
    parser = _command(
        commands,
        "card",
        "write a model card, README.md beside the model",
        "Writes a model card as the Hugging Face Hub reads it: data, metrics with their interval, "
        "classes, limits, how to use the model. A run writes one itself.",
    )
    _add_model(parser)
    parser.add("--metrics", "FILE", "metrics.json of a run or an evaluation (the one beside the model)")
    parser.add("--output", "FILE", "(README.md beside the model)")
    parser.add("--push", "ADDRESS", "put model and card on the Hugging Face Hub, at hf://NAMESPACE/NAME")


def sentence_as_typed(sentence, args):
    """A sentence in which arguments are called what was typed: `image_size` is --image-size.

    Args:
        sentence: Str.
        args: What the parser returned.

    Returns:
        Str.

    Example:

    >>> args = build_parser().parse_args(["evaluate", "model.keras", "photographs"])
    >>> sentence_as_typed("No data set. Received: data_dir='photographs'", args)
    "No data set. Received: DATA='photographs'"
    """
    sentence = sentence.replace("data_dir=", "DATA=").replace("`data_dir`", "DATA")
    options = vars(args).keys() - {"command", "model", "path", "paths", "data_dir"}
    return as_typed(sentence, dict.fromkeys(options))


def _command(commands, name, help, description):
    return commands.add_parser(name, help=help, description=description, allow_abbrev=False)


def _add_model(parser, help="a .keras file"):
    parser.add("model", "MODEL", help)


def _add_paths(parser):
    parser.add(
        "paths",
        "PATH",
        "a photograph, a folder (all images in it, at any depth, sorted), or - for a list "
        "on standard input, one path a line",
        nargs="+",
    )


def _add_result(parser, json, csv, image_size=True):
    """Adds the options of form and place of a result, and those of reading photographs."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help=f"JSON lines: one object a photograph, {json}"
    )
    form.add_argument("--csv", action="store_true", help=f"CSV: {csv}")
    parser.add("--output", "FILE", "write there, not to standard output")
    _add_reading(parser, image_size)
    _add_progress(parser)


def _add_min_confidence(parser):
    parser.add(
        "--min-confidence",
        "P",
        "probability below which the answer is none of these, or, if the classes have a "
        "hierarchy, the finest level that reaches it (0: always a class)",
        type=share(with_one=True),
    )


def _add_progress(parser):
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="a bar on standard error (if that is a terminal and the result goes elsewhere)",
    )


def _add_reading(parser, image_size=True):
    parser.add("--batch-size", "N", "photographs at a time (%(default)s)", type=positive(int), default=32)
    _add_sizes(parser, image_size)


def _add_image_size(parser):
    parser.add(
        "--image-size",
        "N",
        "pixels, for a network of any size (what the model file says)",
        type=positive(int),
    )


def _add_sizes(parser, image_size=True):
    if image_size:
        _add_image_size(parser)
    parser.add(
        "--max-pixels",
        "N",
        "photographs of more pixels are not decoded (%(default)s)",
        type=positive(int),
        default=MAX_PIXELS,
    )
