"""`cin-keras export MODEL PATH`: a model for serving without this package."""

import contextlib
import pathlib
import sys

from cin_keras.cli.classifier import check_not_too_small
from cin_keras.cli.parser import EXPORT_FORMATS
from cin_keras.files import megabytes, whole_folder
from cin_keras.models import load_model
from cin_keras.training import mistakes_in_one_sentence


def run(args):
    """Writes the model, whole or not at all, and says how large it is.

    Args:
        args: What the parser returned.

    Returns:
        Int, the exit status.
    """
    with mistakes_in_one_sentence():
        path = pathlib.Path(args.path)
        name = args.format or _format_of(path)
        keras_name, suffix = EXPORT_FORMATS[name]
        if suffix and path.suffix.lower() != suffix:
            raise ValueError(f"A file of this format must end in {suffix}. Received: {args.path}")
        options = {}
        if args.max_pixels is not None:
            if name != "savedmodel":
                raise ValueError(
                    f"--max-pixels is for a SavedModel, which decodes photographs itself; {name} "
                    "takes pixels. Leave it out."
                )
            options["max_pixels"] = args.max_pixels
        if args.no_embeddings:
            if name != "savedmodel":
                raise ValueError(
                    f"--no-embeddings is for a SavedModel; {name} has the scores alone. Leave it out."
                )
            options["embeddings"] = False
        if path.exists():
            raise ValueError(f"{args.path} is there already: remove it, or give another name.")
        model = load_model(args.model, compile=False)
        if args.image_size is not None:
            model.image_size = args.image_size
            check_not_too_small(model, args.image_size)
        path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.nullcontext(path) if suffix else whole_folder(path) as written:
        try:
            model.export(str(written), format=keras_name, verbose=False, **options)
        except (ImportError, RuntimeError, ValueError) as error:
            sys.exit(f"error: {error}")
    print(f"{path}: {name}, {megabytes(path):.1f} MB")
    return 0


def _format_of(path):
    """The format that the end of a name means; ValueError for an end that means none."""
    suffixes = {suffix for _, suffix in EXPORT_FORMATS.values()}
    if path.name.endswith(".") or path.name.lower() in suffixes:
        raise ValueError(f"The name must be more than an ending, or a dot. Received: {path}")
    for name, (_, suffix) in EXPORT_FORMATS.items():
        if path.suffix.lower() == (suffix or ""):
            return name
    raise ValueError(
        f"A name that ends in {path.suffix} does not say which format to write: end it in .onnx or "
        ".tflite, leave the ending out for the folder of a SavedModel, or give --format. "
        f"Received: {path}"
    )
