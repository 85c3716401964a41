"""Python processes of their own, forked from one in which TensorFlow is loaded already.

To load it takes each several seconds. Tests of how a process starts, and those that need another
backend, start one by `subprocess`.
"""

import multiprocessing
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(["tensorflow", "matplotlib.pyplot"])


class Started:
    """As `subprocess.Popen` of `python` and some arguments, with what it prints as text.

    Args:
        *arguments: Strings or paths: `"-m", module, ...`, `"-c", code, ...` or `script, ...`.
        cwd: Folder, or `None` for the current one.
        env: Dict, or `None` for the environment as it is.
        daemon: Bool, whether it ends with the tests; then it may start none by `multiprocessing`
            itself. Defaults to `True`.
    """

    def __init__(self, *arguments, cwd=None, env=None, daemon=True):
        self._folder = tempfile.TemporaryDirectory()
        self._printed = [pathlib.Path(self._folder.name, name) for name in ("out", "err")]
        given = [str(part) for part in arguments]
        place = str(cwd or os.getcwd()), dict(os.environ if env is None else env)
        self._process = _FORKED.Process(
            target=_run, args=(given, *place, self._printed), daemon=daemon
        )
        self._process.start()
        self.kill, self.terminate = self._process.kill, self._process.terminate

    @property
    def returncode(self):
        return self._process.exitcode

    poll = returncode.fget

    def send_signal(self, number):
        os.kill(self._process.pid, number)

    def printed(self):
        """Standard output and standard error so far."""
        return tuple(path.read_text("utf-8", "replace") for path in self._printed if path.exists())

    def communicate(self, timeout=None):
        """Standard output and standard error, once it has ended."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self.printed()


def run(*arguments, timeout=None, **place):
    """As `subprocess.run(..., capture_output=True, text=True)`, of a `Started`."""
    process = Started(*arguments, **place)
    out, err = process.communicate(timeout)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def _run(arguments, cwd, env, printed):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path in enumerate(printed, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None  # as of the environment
    os.chdir(cwd)
    kind, sys.argv = arguments[0], arguments
    if kind in ("-m", "-c"):
        sys.argv = arguments[1:]
    if kind == "-m":
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        exec(arguments[1], {"__name__": "__main__"})
    else:
        sys.path.insert(0, os.path.dirname(kind))
        runpy.run_path(kind, run_name="__main__")
