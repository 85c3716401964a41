"""The command line `cin-keras`: from a folder of photographs to a model, and what to do with it."""

import contextlib
import importlib
import os
import shlex
import sys

from cin_keras.cli.parser import build_parser
from cin_keras.cli.quiet import without_notes

ACCIDENT = 1
MISTAKE = 2  # the exit status that argparse gives, too
INTERRUPTED = 130  # what shells use for Ctrl-C
READER_GONE = 141  # and for whoever writes to a pipe that nobody reads any more


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
    for stream in (sys.stdout, sys.stderr):  # a file's name may be what a terminal cannot show
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        with quiet:
            command = importlib.import_module(f"cin_keras.cli.{args.subcommand}")
        del args.subcommand
        words = sys.argv[1:] if arguments is None else arguments
        vars(args).setdefault("command", shlex.join(["cin-keras", *words]))
        status = command.run(args)
        sys.stdout.flush()
        return status
    except SystemExit as end:
        if not isinstance(end.code, str):
            return end.code
        print(end.code, file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        _end_at_once("\nInterrupted.", INTERRUPTED)
    except BrokenPipeError:
        _end_at_once(None, READER_GONE)
    except (OSError, FloatingPointError) as error:  # a full disk, a broken model
        _end_at_once(f"error: {error}", ACCIDENT)


def _end_at_once(message, status):
    """Ends the process without waiting for the threads of a pipeline, which may wait for ever."""
    with contextlib.suppress(OSError):
        if message:
            print(message, file=sys.stderr, flush=True)
        sys.stdout.flush()
    os._exit(status)
