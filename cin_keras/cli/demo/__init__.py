"""`cin-keras demo MODEL`: a page on which a person drops a photograph and sees what it shows."""

import contextlib
import importlib.metadata
import re
import signal
import socket
import sys
import threading

from cin_keras.cli.demo.answers import Answers
from cin_keras.cli.output import say
from cin_keras.cli.parser import SIMILAR
from cin_keras.training import mistakes_in_one_sentence

GRADIO = 6, 31  # the version that the page needs, as in pyproject.toml
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def run(args):
    """Serves the page until Ctrl-C.

    Args:
        args: What the parser returned.

    Returns:
        Int, the exit status.
    """
    with mistakes_in_one_sentence():
        if args.similar is not None and args.gallery is None:
            raise ValueError("--similar is for --gallery: give that, too, or leave --similar out.")
        # Before the model is loaded, which takes a while.
        check_gradio()
        port = check_port(args.host, args.port)
        answers = Answers(
            args.model,
            args.gallery,
            top=args.top,
            similar=args.similar or SIMILAR,
            min_confidence=args.min_confidence,
            image_size=args.image_size,
            max_pixels=args.max_pixels,
        )
        from cin_keras.cli.demo.page import serve

        try:
            with ended_by_signals(), serve(answers, args.host, port, args.open) as address:
                print(f"{address}  (Ctrl-C ends it)", flush=True)
                if args.host not in LOOPBACK:
                    say("Everybody who reaches this machine can use the page and see the gallery.")
                threading.Event().wait()
        except KeyboardInterrupt:
            print("\nEnded.", file=sys.stderr)
    return 0


def check_gradio():
    """Raises ImportError unless Gradio is installed, which makes the page, in a version that can."""
    found = "which is not installed"
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        version = importlib.metadata.version("gradio")
        if tuple(map(int, re.findall(r"\d+", version)[:2])) >= GRADIO:
            return
        found = f"and this is {version}"
    least = ".".join(map(str, GRADIO))
    raise ImportError(f"The page needs Gradio {least} or later, {found}: pip install 'gradio>={least}'.")


def check_port(host, port):
    """The port to serve on.

    Args:
        host: Str, a name or an address of this machine.
        port: Int, or 0 for any that is free.

    Returns:
        Int.

    Raises:
        OSError: If it is taken, or the host is none of this machine's.

    Example:

    >>> check_port("127.0.0.1", 0) > 0
    True
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            # As servers do: a port that was in use a moment ago is free.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
            return trial.getsockname()[1]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(
            f"The page cannot be served there ({reason}): give another --port, 0 for any that is "
            f"free, or the --host of this machine. Received: --host {host} --port {port}"
        ) from error


class ended_by_signals:
    """A `with` block that the signal of `kill` ends as Ctrl-C does, so that nothing is left over."""

    def __enter__(self):
        self.before = signal.signal(signal.SIGTERM, signal.default_int_handler)

    def __exit__(self, *error):
        signal.signal(signal.SIGTERM, self.before)
