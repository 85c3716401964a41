"""The paper's time table: each of its systems, timed as a ratio to plain ResNet-50."""

import keras

from cin_keras.measuring import costs
from cin_keras.measuring.tables import markdown_table, with_quartiles
from cin_keras.models import CIN, NTS

PLAIN, ON_RESNET_50 = "ResNet-50", {"backbone": "resnet50", "interaction": None, "contrast": None}
# The arguments of each system, and its milliseconds an image in the paper.
SYSTEMS = {
    PLAIN: (ON_RESNET_50, 12.5),
    "ResNet-101": (ON_RESNET_50 | {"backbone": "resnet101"}, 22.4),
    "VGG-19": (ON_RESNET_50 | {"backbone": "vgg19"}, 22.1),
    "+ SE": (ON_RESNET_50 | {"interaction": "squeeze_excite"}, 14.0),
    "+ non-local": (ON_RESNET_50 | {"interaction": "non_local"}, 14.2),
    "+ CGNL": (ON_RESNET_50 | {"interaction": "cgnl"}, 15.0),
    "+ MAMC": (ON_RESNET_50 | {"interaction": "osme", "contrast": "mamc"}, 14.8),
    "+ SCI": (ON_RESNET_50 | {"interaction": "sci"}, 17.2),
    "CIN": (ON_RESNET_50 | {"interaction": "sci", "contrast": "cci"}, 17.2),
    "NTS": (ON_RESNET_50, 23.6),
}


def build_system(name, num_classes, image_size, seed):
    """One of `SYSTEMS` with random weights, compiled.

    Args:
        name: Str, of `SYSTEMS`.
        num_classes: Int ≥ 2.
        image_size: Int, pixels of a side.
        seed: Int, of the weights; it seeds Keras as a whole.

    Returns:
        `CIN` or `NTS`.
    """
    keras.utils.set_random_seed(seed)
    build, shape = NTS if name == "NTS" else CIN, (image_size, image_size, 3)
    return build(num_classes, weights=None, input_shape=shape, **SYSTEMS[name][0])


def time_systems(models, image_size, pairs, num_classes, rounds, steps, seed, train=False):
    """Times answers to one image and to eight, and training steps, the models by turns in every round.

    Args:
        models: Dict from names to models, with `PLAIN` among them.
        image_size: Int, pixels of a side.
        pairs: Int ≥ 1, in a batch of training.
        num_classes: Int ≥ 1.
        rounds: Int ≥ 1.
        steps: Int ≥ 1, calls timed at a time.
        seed: Int, of the images.
        train: Bool, whether to time training steps, too. Defaults to False.

    Returns:
        Dict, as `costs.time_tasks` returns it.
    """
    shapes = {count: (image_size, count, pairs, num_classes, seed) for count in (1, 8)}
    batches = {count: costs.random_batches(*shape) for count, shape in shapes.items()}
    tasks = {
        f"batch of {count}": costs.inference(models.values(), batch["inference"])
        for count, batch in batches.items()
    }
    images = dict(zip(tasks, batches))
    if train:
        tasks["training"] = lambda model: costs.train_step(model, batches[1])
        images["training"] = 2 * pairs
    return costs.time_tasks(models, tasks, images, rounds, steps, PLAIN)


def systems_table(results, published, baseline):
    """Times of several systems beside those that a paper has published, in Markdown.

    Args:
        results: Dict from names to dicts from tasks to what `per_image` returned.
        published: Dict from the same names to milliseconds an image, or `None` for no such columns.
        baseline: Str, the name of the system that all ratios are to.

    Returns:
        Str, a row a system.

    Example:

    >>> own = {"plain": costs.per_image([0.2], [0.2], 1), "CIN": costs.per_image([0.21], [0.2], 1)}
    >>> results = {name: {"one image": numbers} for name, numbers in own.items()}
    >>> print(systems_table(results, {"plain": 12.5, "CIN": 17.2}, "plain").splitlines()[-1])
    | CIN | 210 (210–210) | 1.05 | 17.2 | 1.38 |
    """
    tasks = list(next(iter(results.values())))
    columns = [column for task in tasks for column in (f"{task}, ms/image", "ratio")]
    rows = []
    for name, own in results.items():
        cells = [name]
        for task in tasks:
            numbers = own[task]
            cells += [
                with_quartiles(numbers["milliseconds_per_image"], numbers["quartiles"]),
                f"{numbers['ratio']:.2f}",
            ]
        if published is not None:
            cells += [f"{published[name]:.1f}", f"{published[name] / published[baseline]:.2f}"]
        rows.append(cells)
    beside = [] if published is None else ["paper, ms/image", "ratio"]
    return markdown_table(["", *columns, *beside], rows)
