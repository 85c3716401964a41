"""Files that may lie in an object store, which TensorFlow reads: `gs://bucket/file`."""

import contextlib
import os


def is_remote(path):
    """Whether a path is the address of an object: `gs://bucket/file`."""
    return "://" in str(path)


def file_state(path):
    """`(bytes, time of change in nanoseconds)` of a local file or an object; OSError without one."""
    if not is_remote(path):
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    import tensorflow as tf

    with errors_of_stores(path):
        status = tf.io.gfile.stat(str(path))
    return status.length, status.mtime_nsec


def add_states(digest, files):
    """Adds to a hash how large files are and when they have changed."""
    for path in files:
        try:
            digest.update("{} {}\n".format(*file_state(path)).encode())
        except OSError:
            digest.update(b"missing\n")


class StoreError(OSError):
    """A store that cannot be reached, whatever its photographs are like."""


@contextlib.contextmanager
def errors_of_stores(path):
    """A context in which TensorFlow's error about an object is an OSError, in one sentence."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(f"There is no {path}") from error
    except tf.errors.OpError as error:
        reason = error.message.partition("\n")[0].partition(" (file:")[0]
        raise StoreError(
            f"{path} cannot be reached ({reason}). Of stores, TensorFlow alone reads gs://; for s3:// "
            "and others, install and import tensorflow_io, or mount the store as a folder."
        ) from error


@contextlib.contextmanager
def open_file(path, mode="rb"):
    """A context with a local file, or by `tf.io.gfile` an object, whose errors are Python's."""
    if not is_remote(path):
        with open(path, mode) as file:
            yield file
        return
    import tensorflow as tf

    with errors_of_stores(path), tf.io.gfile.GFile(str(path), mode) as file:
        yield file
