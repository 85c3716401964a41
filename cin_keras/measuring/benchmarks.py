"""What `recipes/benchmark.py` can measure: the forms of CIN, what is exported, peers, and systems.

Each is a `Benchmark`: the names of its models, how one is built, and what is done with them.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras

from cin_keras.measuring import costs, serving, systems
from cin_keras.measuring.peers import LongForm, check_peers
from cin_keras.models import NTS

BACKBONE, CONTRAST = "backbone", "contrast"
LONG, SHIPPED, BLOCKS = "CIN, long form", "CIN", "CIN, blocks of rows"
PEER, TWO_STAGES = "CIN, plain PyTorch", "NTS"


class Benchmark(NamedTuple):
    """One of the things that can be measured.

    Args:
        key: Str, under which its results are filed.
        title: Str, of what and on how many images.
        names: Sequence of str, the models.
        build: Function of a name that returns the model, compiled.
        measure: Function of a dict from names to models that returns a dict of what was found, and
            what is printed of it: a Markdown table, and perhaps sentences.
    """

    key: str
    title: str
    names: tuple
    build: Callable
    measure: Callable


def forms(
    image_size,
    batch_size,
    pairs,
    num_classes,
    rounds,
    steps,
    seed,
    backbone,
    block_rows=256,
    phi_kernel_size=3,
    **network,
):
    """A backbone with a linear classifier, with a contrast, and CIN in three forms.

    These are the long form, which the paper writes, the one as shipped, and that in blocks of rows.
    `contrast` is the network of `--head contrast`, which the commands train by default.

    Args:
        image_size: Int, pixels of a side.
        batch_size: Int ≥ 1, images in inference.
        pairs: Int ≥ 1, in a batch of training.
        num_classes: Int ≥ 2.
        rounds: Int ≥ 1, every model once in each.
        steps: Int ≥ 1, timed at a time.
        seed: Int, of weights and images.
        backbone: As for `CIN`.
        block_rows: Int ≥ 1, rows of a block in the last form. Defaults to 256.
        phi_kernel_size: Odd int ≥ 1, of φ in the forms of CIN. Defaults to 3.
        **network: Further arguments of `cin_keras.measuring.costs.build_awake`, of all forms, such
            as `feature_layer` and `jit_compile`.

    Returns:
        `Benchmark`.

    Example:

    >>> forms(448, 8, 4, 200, 9, 1, 0, "resnet50").title
    'resnet50, 448×448, 8 images in inference, 4 pairs in training'
    """
    phi = {"phi_kernel_size": phi_kernel_size}
    of_each = {
        BACKBONE: {"interaction": None, "contrast": None},
        CONTRAST: {"interaction": None, "contrast": "embedding"},
        LONG: {"pooled": False, **phi},
        SHIPPED: phi,
        BLOCKS: {"block_rows": block_rows, **phi},
    }

    def build(name):
        own = {"backbone": backbone, **network, **of_each[name]}
        return costs.build_awake(num_classes, image_size, seed, **own)

    def measure(models):
        batches = costs.random_batches(image_size, batch_size, pairs, num_classes, seed)
        found = costs.compare_models(models, batches, rounds, steps, BACKBONE, reference=LONG)
        for name, model in models.items():
            found[name]["exported_megabytes"] = serving.exported_megabytes(model)
        words = costs.differences_in_words(found, (SHIPPED, BLOCKS))
        return found, f"{costs.cost_table(found)}\n{words}"

    size = f"{backbone}, {image_size}×{image_size}"
    title = f"{size}, {batch_size} images in inference, {pairs} pairs in training"
    return Benchmark("models", title, tuple(of_each), build, measure)


def exported(of_forms, image_size, rounds, seed, backbone):
    """What each exported form of CIN takes to answer one image.

    Args:
        of_forms: What `forms` returned, which builds the model.
        image_size: Int, pixels of a side.
        rounds: Int ≥ 1.
        seed: Int, of the image.
        backbone: Str, for the title.

    Returns:
        `Benchmark`.
    """

    def measure(models):
        found = serving.measure_serving(models[SHIPPED], rounds, seed)
        return found, serving.serving_table(found)

    title = f"{backbone}, {image_size}×{image_size}, one image"
    return Benchmark("forms", title, (SHIPPED,), of_forms.build, measure)


def peers(of_forms, image_size, batch_size, pairs, num_classes, rounds, steps, seed, **network):
    """CIN beside the paper's long form in plain PyTorch, as the public toolbox computes it, and NTS.

    Args:
        of_forms: What `forms` returned, of the same sizes.
        image_size, batch_size, pairs, num_classes, rounds, steps, seed: As for `forms`.
        **network: Arguments of `NTS`: the `backbone` and the `feature_layer` of the forms.

    Returns:
        `Benchmark`.

    Raises:
        ValueError: On another backend than PyTorch.
    """
    check_peers()

    def build(name):
        if name == PEER:
            return LongForm(of_forms.build(LONG), costs.LEARNING_RATE)
        if name == TWO_STAGES:
            keras.utils.set_random_seed(seed)
            shape = (image_size, image_size, 3)
            return NTS(num_classes, weights=None, input_shape=shape, **network)
        return of_forms.build(name)

    def measure(models):
        batches = costs.random_batches(image_size, batch_size, pairs, num_classes, seed)
        found = costs.time_both(models, batches, rounds, steps, BACKBONE)
        return found, systems.systems_table(found, None, BACKBONE)

    return Benchmark("peers", of_forms.title, (BACKBONE, SHIPPED, PEER, TWO_STAGES), build, measure)


def paper_systems(image_size, pairs, num_classes, rounds, steps, seed, train):
    """The systems of the paper's time table, beside the paper's own figures.

    Args:
        image_size, pairs, num_classes, rounds, steps, seed: As for `forms`.
        train: Bool, whether to time training steps, too.

    Returns:
        `Benchmark`.

    Example:

    >>> paper_systems(448, 4, 200, 9, 1, 0, train=False).names[:2]
    ('ResNet-50', 'ResNet-101')
    """

    def build(name):
        return systems.build_system(name, num_classes, image_size, seed)

    def measure(models):
        budget = pairs, num_classes, rounds, steps, seed
        found = systems.time_systems(models, image_size, *budget, train=train)
        published = {name: milliseconds for name, (_, milliseconds) in systems.SYSTEMS.items()}
        return found, systems.systems_table(found, published, systems.PLAIN)

    title = f"the paper's systems, {image_size}×{image_size}, batches of 1 and of 8 images"
    return Benchmark("systems", title, tuple(systems.SYSTEMS), build, measure)
