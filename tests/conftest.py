"""Keras is imported by the functions that need it: the process that hands out the tests needs none."""

import functools
import gc
import importlib

import pytest


@pytest.fixture
def stanford_cars_folder(tmp_path):
    """A folder in the layout of Stanford Cars: 3 classes, 6 training and 4 test photographs."""
    from tests.data.small_sets import write_stanford_cars

    return write_stanford_cars(tmp_path / "stanford_cars")


def pytest_runtest_teardown(item, nextitem):
    """After every file, Python's collector is told that what is still there stays.

    Keras calls it often, and it would look at all of TensorFlow each time.
    """
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


def pytest_collection_finish():
    gc.collect()
    gc.freeze()


def is_on_tensorflow():
    import keras

    return keras.backend.backend() == "tensorflow"


def pytest_ignore_collect(collection_path):
    """Files without a test for the other backends are not even read there."""
    if collection_path.name.startswith("test_") and not is_on_tensorflow():
        return True if "every_backend" not in collection_path.read_text("utf-8") else None


@pytest.fixture(scope="session", autouse=True)
def graphs_as_they_are_traced():
    """TensorFlow does not rewrite graphs for speed: each runs once or twice, on a few numbers."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture(scope="session", autouse=True)
def datasets_untuned():
    """Those of tests, too, wait for no thread of TensorFlow's that sleeps when an iterator is deleted."""
    import tensorflow as tf

    from cin_keras.data.pipeline import untuned

    iterate, options = tf.data.Dataset.__iter__, untuned()
    tf.data.Dataset.__iter__ = lambda dataset: iterate(dataset.with_options(options))


@pytest.fixture
def untraced():
    """Spares TensorFlow the tracing of steps, each of which runs once or twice."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are put together and written as ever, but not drawn: that, tests of their own look at."""
    from tests.recipe_runs import draw_nothing

    draw_nothing(monkeypatch)


_DECODERS = {}


@pytest.fixture
def decoder_once(monkeypatch):
    """What reads JPEG and PNG in a SavedModel is traced once: it takes half of the time to write one."""
    import tensorflow as tf

    from cin_keras.serving import decoding

    decode = decoding.decode_in_graph

    def once(encoded, which, max_pixels=decoding.MAX_PIXELS):
        limits = max_pixels, decoding.MAX_PARTS
        if limits not in _DECODERS:
            signature = [tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int32)]
            with tf.init_scope():
                _DECODERS[limits] = tf.function(
                    lambda encoded, which: decode(encoded, which, max_pixels), signature, autograph=False
                ).get_concrete_function()
        return _DECODERS[limits](encoded, which)

    monkeypatch.setattr(decoding, "decode_in_graph", once)


@pytest.fixture
def png_decoder(monkeypatch):
    """A SavedModel reads PNG alone, for tests that give it tensors: every file is long to write and load."""
    import tensorflow as tf

    from cin_keras.serving import decoding

    def decode(encoded, which, max_pixels=decoding.MAX_PIXELS):
        return tf.io.decode_png(encoded, channels=3), tf.constant(1)

    monkeypatch.setattr(decoding, "decode_in_graph", decode)


@pytest.fixture(scope="session", autouse=True)
def every_drawing_once():
    """Many tests look at the same thousands of drawn cars, of which each takes a millisecond or two."""
    module = importlib.import_module("cin_keras.data.loaders.drawn_cars")
    module._drawing = functools.cache(module._drawing)


def pytest_collection_modifyitems(config, items):
    """On TensorFlow every test runs, on the other backends those whose code reaches Keras'.

    Of a test's cases they get the first, and those that some backend skips: perhaps TensorFlow; all, if
    the marker says `all_cases=True`, as where each case is a thing of its own. JAX, which compiles every
    shape anew, does without those with `on_jax=False`: of what the package does before or after Keras'
    backend, and PyTorch shows as well that it can.
    """
    import keras

    if is_on_tensorflow():
        return
    on_jax, tests = keras.backend.backend() == "jax", set()

    def is_wanted(item):
        marker = item.get_closest_marker("every_backend")
        if marker is None or on_jax and not marker.kwargs.get("on_jax", True):
            return False
        test = item.nodeid.partition("[")[0]
        is_another_case = test in tests
        tests.add(test)
        may_be_skipped = item.get_closest_marker("skipif") is not None
        return not is_another_case or may_be_skipped or marker.kwargs.get("all_cases")

    wanted = [is_wanted(item) for item in items]
    config.hook.pytest_deselected(items=[i for i, kept in zip(items, wanted) if not kept])
    items[:] = [item for item, kept in zip(items, wanted) if kept]
