"""A run from its beginning to its end, whichever that is."""

import contextlib
import os
import sys

from cin_keras.distribution import Devices, distribute
from cin_keras.distribution.replicas import LOST, is_lost
from cin_keras.streams import tidy_streams
from cin_keras.training.command import as_typed
from cin_keras.training.failures import accident, mistake, mistakes_in_one_sentence, stop
from cin_keras.training.options import PAPER_CLASSES_PER_BATCH
from cin_keras.training.run_folder import RunFolder


@contextlib.contextmanager
def open_run(path, settings, resume=False, distribute=False):
    """Opens the folder of a run, on the devices it is for, and ends the run in one sentence.

    Where a run cannot go on, what there is of it is kept, and a sentence in place of a traceback
    says so: for a mistake in the settings or the data before training begins (the process ends by
    `SystemExit`); then for a full disk, too little memory, a damaged photograph, a loss that is not finite, and for
    Ctrl-C (it ends at once). Any other error is a defect and keeps its traceback. Standard output
    and standard error are as `tidy_streams` has them.

    Args:
        path: Str or path of the folder.
        settings: Dict of what JSON can hold, all that the run was asked to do.
        resume: Bool, whether to go on with an earlier run in the folder. Defaults to `False`.
        distribute: Bool, `True` for all local accelerators, or all processes, as
            `cin_keras.distribution.distribute` finds them; of several processes only the chief
            prints and writes. Defaults to `False`, one device.

    Returns:
        Context manager of `RunFolder`.

    Example:

    ```python
    with open_run("runs/cars", {"epochs": 20}) as run:
        ...  # as in recipes/cars.py
        model.fit(
            pairs,
            validation_data=images,
            epochs=20,
            initial_epoch=run.first_epoch(model),
            callbacks=run.callbacks(pairs, images),
        )
        model = run.best_model(model)
    ```
    """
    with tidy_streams(), on_devices(distribute) as devices:
        run = RunFolder(path, settings, resume, devices)
        try:
            yield run
        except KeyboardInterrupt:
            stop(*_after_ctrl_c(run))
        except BrokenPipeError:
            if run.watch.begun:
                with contextlib.suppress(OSError):
                    message = "Nobody reads what this run prints, so it ends; --resume goes on."
                    print(f"\n{message}", file=sys.stderr)
            raise
        except Exception as error:
            if devices.processes > 1 and is_lost(error):
                # After Ctrl-C on all hosts, another one has stopped a step before this one.
                stop(*(_after_ctrl_c(run) if run.watch.pressed else _after_a_loss(run)))
            sentence = (accident if run.watch.begun else mistake)(error, run.asked)
            if sentence is None:
                raise
            sentence = f"error: {as_typed(sentence, run.asked)}"
            if "Cannot decode" in sentence and "on_error" in run.asked and "--on-e" not in sentence:
                sentence += " Or leave out what cannot be decoded: --on-error skip."
            own = f"Received: --classes-per-batch={PAPER_CLASSES_PER_BATCH}"
            if sentence.endswith(own) and run.asked.get("recipe") == "paper":
                sentence += ", which is of --recipe paper: give another"
            if run.watch.begun:
                stop(f"\n{sentence}", 1)
            sys.exit(sentence)
        finally:
            run.watch.stop_listening()
            run.release()


def _after_a_loss(run):
    """What to do where another process is gone: `(sentence, exit status)`."""
    begun = run.keep_best.best is not None or run.resume
    goes_on = " The same command with --resume, on all hosts, goes on." if begun else ""
    return f"\nerror: {LOST}{goes_on}", 1


def _after_ctrl_c(run):
    """What there is and how to go on: `(sentence, exit status)`."""
    best = run.keep_best
    if not run.devices.is_chief:
        return "", 130
    if not run.watch.begun:
        return "\nInterrupted.", 130
    if run.watch.trained:
        left = "" if run.metrics else " What follows training is not done: --resume goes on there."
        return f"\nInterrupted. The best model is {best.filepath}.{left}", 130
    if best.best is None:
        return "\nInterrupted before the first epoch ended: there is no model to keep.", 1
    return (
        f"\nInterrupted. The best model so far, of epoch {best.best_epoch + 1} with "
        f"{best.best:.1%} on validation images, is {best.filepath}. "
        "The same command with --resume goes on."
    ), 130


@contextlib.contextmanager
def on_devices(several=False):
    """One device, or `cin_keras.distribution.distribute()`, where of several processes one speaks.

    Args:
        several: Bool, `True` for all local accelerators, or all processes, as `distribute()` finds
            them. Defaults to `False`, one device.

    Returns:
        Context manager of `cin_keras.distribution.Devices`. Of several processes only the chief
        prints.

    Raises:
        SystemExit: Where `distribute()` has a mistake to tell of, with its sentence.

    Example:

    >>> with on_devices() as devices:
    ...     devices.count
    1
    """
    with contextlib.ExitStack() as stack:
        with mistakes_in_one_sentence():
            devices = stack.enter_context(distribute()) if several else Devices(["one"])
        if not devices.is_chief:
            silent = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(silent))
        if several:
            print(devices)
        yield devices
