"""The command line `cin-keras`: from a folder of photographs to a model, and what to do with it."""

import contextlib
import errno
import functools
import importlib.util
import os
import re
import shlex
import sys

from cin_keras.cli.parser import build_parser, sentence_as_typed
from cin_keras.streams import standard_error_through, stop, tidy_streams

ACCIDENT = 1
MISTAKE = 2  # the exit status that argparse gives, too

_NOTE = re.compile(
    r"^(?:[IW]\d{4} \d\d:\d\d:.*|WARNING: All log messages before absl.*"
    r"|To enable the following instructions: .*)\n?",
    re.MULTILINE,
)


def main(arguments=None):
    """Runs `cin-keras`.

    Args:
        arguments: List of str, or `None` for those of the process. Defaults to `None`.

    Returns:
        Int, the exit status: 0 if all is well, 1 if some files were bad or a run could not go
        on, 2 for a mistake in the arguments.

    Example:

    >>> main(["--version"])
    cin-keras 0.1.0
    0
    """
    try:
        with tidy_streams():
            return _run(arguments)
    except (OSError, FloatingPointError) as error:  # a full disk, a broken model
        if getattr(error, "errno", None) == errno.ENOSPC and error.filename is None:
            error = f"What is printed cannot be written ({error.strerror})."
        stop(f"error: {error}", ACCIDENT)
    except Exception as error:  # a store that cannot be reached, which TensorFlow tells its own way
        tf = sys.modules.get("tensorflow")
        if tf is None or not isinstance(error, tf.errors.OpError):
            raise
        from cin_keras.training.failures import raised_inside

        sentence = raised_inside(error)
        if sentence is None:
            raise
        stop(f"error: {sentence}", ACCIDENT)


def _run(arguments):
    parser = build_parser()
    try:
        args = parser.parse_args(arguments)
    except SystemExit as end:
        return end.code
    if args.subcommand is None:
        parser.print_help(sys.stderr)
        return MISTAKE
    quiet = contextlib.nullcontext()
    if arguments is None:  # the process is this command's own
        # On a machine without a GPU, TensorFlow calls that an error: only 3 is silent.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        quiet = without_notes()
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow" and importlib.util.find_spec(backend) is None:
        print(
            f"error: KERAS_BACKEND={backend}, and there is no such package: install it, or use "
            "tensorflow, jax or torch.",
            file=sys.stderr,
        )
        return MISTAKE
    with quiet:
        command = importlib.import_module(f"cin_keras.cli.{args.subcommand}")
    del args.subcommand
    words = sys.argv[1:] if arguments is None else arguments
    vars(args).setdefault("command", shlex.join(["cin-keras", *words]))
    try:
        return command.run(args)
    except SystemExit as end:
        if not isinstance(end.code, str):
            return end.code
        print(sentence_as_typed(end.code, args), file=sys.stderr)
        return MISTAKE
    except Exception as error:
        from cin_keras.training.failures import out_of_memory

        sentence = out_of_memory(error, vars(args))
        if sentence is None:
            raise
        stop(f"error: {sentence_as_typed(sentence, args)}", ACCIDENT)


def without_notes():
    """Drops TensorFlow's notes and warnings from standard error, of C code, too, while it loads.

    At this point TensorFlow does not heed `TF_CPP_MIN_LOG_LEVEL` yet. All else that was written
    comes out when the `with` block ends.

    Example:

    ```python
    with without_notes():
        import tensorflow
    ```
    """
    return standard_error_through(functools.partial(_NOTE.sub, ""))
