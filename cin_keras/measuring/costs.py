"""What a model takes beyond its backbone: milliseconds an image, parameters, megabytes."""

import keras
import numpy as np

from cin_keras.losses import SoftmaxCrossentropy
from cin_keras.measuring.memory import peak_megabytes
from cin_keras.measuring.panels import (
    BLUE,
    GREEN,
    GREY,
    LIGHT_BLUE,
    ORANGE,
    name_rows,
    panels,
    save_open,
)
from cin_keras.measuring.rounds import by_turns, seconds, spread
from cin_keras.measuring.tables import markdown_table, short, with_quartiles
from cin_keras.models import CIN, TRAINING_RATES
from cin_keras.models.classifier import Classifier
from cin_keras.optimizers import LayerwiseSGD

LEARNING_RATE = 1e-7


def wake(model, seed):
    """Gives an untrained `CIN` weights with which a signal reaches its end.

    `φ` and `ψ` start at zero, and nobody can see in zeros whether two forms of a model agree.
    Random weights need statistics of batch normalisation that fit them: those of the last batch.

    Args:
        model: `CIN`, which is changed.
        seed: Int, of `φ` and `ψ`.

    Returns:
        `model`.
    """
    for layer in (model.interaction, model.contrast.psi) if model.contrast else ():
        for variable in layer.weights:
            variable.assign(keras.random.normal(variable.shape, stddev=0.01, seed=seed))
    for layer in model.backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    return model


def build_awake(num_classes, image_size, seed, jit_compile="auto", **network):
    """A `CIN` with weights with which a signal reaches its end, compiled.

    Args:
        num_classes: Int ≥ 2.
        image_size: Int, pixels of a side.
        seed: Int, of the weights; it seeds Keras as a whole.
        jit_compile: As for `keras.Model.compile`. Defaults to `"auto"`.
        **network: Further arguments of `CIN`.

    Returns:
        `CIN`. Its steps are too small to move the weights, so that every round of a measurement
        computes with the same numbers.
    """
    keras.utils.set_random_seed(seed)
    shape = (image_size, image_size, 3)
    model = wake(CIN(num_classes, weights=None, input_shape=shape, **network), seed)
    optimizer = LayerwiseSGD(LEARNING_RATE, rates=TRAINING_RATES, momentum=0.9, clipnorm=1.0)
    model.compile(optimizer, loss=SoftmaxCrossentropy(), jit_compile=jit_compile)
    return model


def random_batches(image_size, inference, pairs, classes, seed):
    """Images for inference, and a training batch both in pairs and one by one, on the device.

    Args:
        image_size: Int, pixels of a side.
        inference: Int ≥ 1, images in inference.
        pairs: Int ≥ 1, in training; every second pair is of one class.
        classes: Int ≥ 1.
        seed: Int.

    Returns:
        Dict: `inference`, a tensor; `single`, `(images, labels)`; `paired`,
        `((images_a, images_b), (labels_a, labels_b))`, the same images.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (2, pairs))
    labels[1, ::2] = labels[0, ::2]
    training, others = (
        rng.uniform(0, 255, (images, image_size, image_size, 3)).astype("float32")
        for images in (2 * pairs, inference)
    )
    tensor = keras.ops.convert_to_tensor
    images = tensor(training[::2]), tensor(training[1::2])
    return {
        "inference": tensor(others),
        "single": (tensor(training), tensor(labels.T.reshape(-1))),
        "paired": (images, (tensor(labels[0]), tensor(labels[1]))),
    }


def train_step(model, batches):
    """The loss of one step of a `CIN` or `NTS`, which has arrived at the host.

    Args:
        model: `CIN` or `NTS`, compiled; one with a contrast learns from pairs.
        batches: What `random_batches` returned.

    Returns:
        Float.
    """
    images, labels = batches["paired" if model.contrast_name else "single"]
    return model.train_on_batch(images, labels, return_dict=True)["loss"]


def peak_of_training(model, batches):
    """Float, the most megabytes that this process has held after two steps; as `train_step`."""
    for _ in range(2):
        train_step(model, batches)
    return peak_megabytes()


def inference(models, images):
    """A function that returns a model's scores of a batch as `predict` computes them.

    Args:
        models: Those it will be asked for. Of a `Classifier`, it runs the `prediction_network()`.
        images: Floats of shape `(batch, height, width, 3)`.

    Returns:
        Function of one of `models`.
    """
    networks = {
        id(model): model.prediction_network() if isinstance(model, Classifier) else model
        for model in models
    }
    return lambda model: networks[id(model)].predict_on_batch(images)


def compare_models(models, batches, rounds, steps, baseline, reference):
    """Times of inference and training, parameters, and how far the models agree.

    Args:
        models: Dict from names to models of `CIN`, compiled.
        batches: What `random_batches` returned.
        rounds: Int ≥ 1.
        steps: Int ≥ 1, timed at a time.
        baseline: Str, the model whose times the others' are set against.
        reference: Str, the model whose numbers the others with an interaction should have.

    Returns:
        Dict from names to dicts: `inference` and `training`, as `per_image` returns them;
        `parameters`, of inference alone, and `parameters_in_training`;
        `difference_from_the_long_form` of `outputs` and `loss`, relative to the largest, `None`
        without an interaction.
    """
    # Training first: without its statistics of batch normalisation no signal reaches the output.
    answers = {
        name: (train_step(model, batches), inference([model], batches["inference"])(model))
        for name, model in models.items()
    }
    results = time_both(models, batches, rounds, steps, baseline)
    for name, model in models.items():
        differences = map(relative_difference, answers[name], answers[reference])
        results[name] |= {
            "parameters": keras.Model(model.input, model.output).count_params(),
            "parameters_in_training": model.count_params(),
            "difference_from_the_long_form": None
            if model.interaction_name is None
            else dict(zip(("loss", "outputs"), differences)),
        }
    return results


def time_both(models, batches, rounds, steps, baseline):
    """What an image takes in `inference` and in `training`; as `time_tasks` returns it.

    Args:
        models: Dict from names to models.
        batches: What `random_batches` returned.
        rounds: Int ≥ 1.
        steps: Int ≥ 1, calls timed at a time.
        baseline: Str, the model whose times the others' are set against.
    """
    tasks = {
        "inference": inference(models.values(), batches["inference"]),
        "training": lambda model: train_step(model, batches),
    }
    images = {"inference": len(batches["inference"]), "training": len(batches["single"][1])}
    return time_tasks(models, tasks, images, rounds, steps, baseline)


def time_tasks(models, tasks, images, rounds, steps, baseline):
    """What an image takes in each of several tasks, all models by turns in every round.

    Every task has rounds of its own: nobody trains between two answers, and a training step leaves
    other things in the processor's caches.

    Args:
        models: Dict from names to models.
        tasks: Dict from names to functions of a model.
        images: Dict from the tasks' names to Int, how many images one call sees.
        rounds: Int ≥ 1.
        steps: Int ≥ 1, calls timed at a time.
        baseline: Str, the model whose times the others' are set against.

    Returns:
        Dict from the models' names to dicts from the tasks' names to what `per_image` returns.
    """

    def timed(run, model):
        return lambda number: seconds(run, model, times=steps)

    times = {}
    for task, run in tasks.items():
        turns = {name: timed(run, model) for name, model in models.items()}
        times[task] = by_turns(turns, rounds, warm_up=2)
    return {
        name: {t: per_image(times[t][name], times[t][baseline], images[t]) for t in tasks}
        for name in models
    }


def relative_difference(found, expected):
    """Float, the largest difference of two arrays, relative to the largest expected value.

    Example:

    >>> relative_difference(np.array([1.0, 3.9]), np.array([1.0, 4.0]))  # doctest: +ELLIPSIS
    0.025...
    """
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def per_image(times, reference, images):
    """What one image takes, and how much that is of what a reference takes.

    Args:
        times: Floats, seconds of one call, one a round.
        reference: Floats, likewise of the reference, in the same rounds.
        images: Int, images of one call.

    Returns:
        Dict: `milliseconds_per_image` with its `quartiles`, `images_per_second`, `ratio` (of the
        medians) with `ratio_quartiles` (of the ratios round by round), and `rounds`.

    Example:

    >>> per_image([0.4, 0.4], reference=[0.2, 0.2], images=4)["milliseconds_per_image"]
    100.0
    """
    milliseconds = spread(1000 * np.array(times) / images)
    return {
        "milliseconds_per_image": milliseconds["median"],
        "quartiles": milliseconds["quartiles"],
        "images_per_second": 1000 / milliseconds["median"],
        "ratio": float(np.median(times) / np.median(reference)),
        "ratio_quartiles": spread(np.array(times) / np.array(reference))["quartiles"],
        "rounds": len(times),
    }


def inference_costs(models, image_size, rounds=6):
    """Parameters, and milliseconds per image of inference, the models by turns in every round.

    Args:
        models: Dict from names to models.
        image_size: Int, pixels of a side of the eight random images that they see.
        rounds: Int ≥ 1. Defaults to 6.

    Returns:
        Dict from names to dicts: `milliseconds`, the median, and `parameters`, of inference alone.
    """
    images = np.random.default_rng(0).uniform(0, 255, (8, image_size, image_size, 3))
    tasks = {"inference": inference(models.values(), images)}
    times = time_tasks(models, tasks, {"inference": len(images)}, rounds, 1, next(iter(models), None))
    return {
        name: {
            "milliseconds": times[name]["inference"]["milliseconds_per_image"],
            "parameters": keras.Model(model.input, model.output).count_params(),
        }
        for name, model in models.items()
    }


def cost_table(models):
    """What inference and training take, in Markdown.

    Args:
        models: Dict from names to dicts of `inference` and `training`, each what `per_image`
            returned, `parameters` and `exported_megabytes`.

    Returns:
        Str.
    """
    task = ["ms/image", "images/s", "ratio"]
    columns = [f"inference, {task[0]}", *task[1:], f"training, {task[0]}", *task[1:]]
    rows = []
    for name, model in models.items():
        cells = [name]
        for numbers in (model["inference"], model["training"]):
            cells += [
                with_quartiles(numbers["milliseconds_per_image"], numbers["quartiles"]),
                short(numbers["images_per_second"]),
                f"{numbers['ratio']:.3f}",
            ]
        size = f"{model['exported_megabytes']:.0f} MB"
        rows.append([*cells, f"{model['parameters'] / 1e6:.1f} M", size])
    return markdown_table(["", *columns, "parameters", "exported"], rows)


def differences_in_words(models, names):
    """How far models are from the long form of the same computation, a line each.

    Args:
        models: Dict, as from `compare_models`.
        names: Sequence of str, which of them.

    Returns:
        Str.

    Example:

    >>> found = {"CIN": {"difference_from_the_long_form": {"outputs": 1e-6, "loss": 2e-7}}}
    >>> print(differences_in_words(found, ["CIN"]))
    CIN against the long form (relative to the largest): outputs differ by 1.0e-06, the loss by 2.0e-07.
    """
    found = {name: models[name]["difference_from_the_long_form"] for name in names}
    return "\n".join(
        f"{name} against the long form (relative to the largest): outputs differ by "
        f"{own['outputs']:.1e}, the loss by {own['loss']:.1e}."
        for name, own in found.items()
    )


def cost_figure(models, memory, title, path):
    """Milliseconds per image as bars, quartiles as lines, and the memory against the pairs.

    Args:
        models: Dict from names, at most five, to dicts of `inference` and `training`, each what
            `per_image` returned.
        memory: Dict from names to dicts from numbers of pairs to megabytes, or to `None` where
            nothing could be measured; empty for no such panel.
        title: Str, above the panels.
        path: Str or path, the PNG file to write.

    Returns:
        The `pathlib.Path` of the file.
    """
    colors = dict(zip(models, (GREY, GREEN, ORANGE, BLUE, LIGHT_BLUE)))
    count = 3 if memory else 2
    figure, axes = panels(4.3 * count, 3.2, count)
    for axis, task in zip(axes, ("inference", "training")):
        for y, name in enumerate(models):
            numbers = models[name][task]
            median, (low, high) = numbers["milliseconds_per_image"], numbers["quartiles"]
            axis.barh(y, median, color=colors[name], xerr=[[median - low], [high - median]])
            label = f"{short(median)} ms, ×{numbers['ratio']:.2f}"
            axis.text(1.02 * high, y, label, va="center")
        name_rows(axis, models if axis is axes[0] else [""] * len(models))
        axis.margins(x=0.45)
        axis.set_xlim(left=0)
        axis.set_xlabel("milliseconds per image")
        axis.set_title({"inference": "Inference", "training": "Training step"}[task])
    if memory:
        for name, peaks in memory.items():
            known = {pairs: peak for pairs, peak in peaks.items() if peak is not None}
            axes[2].plot(list(known), list(known.values()), "o-", color=colors[name], label=name)
        axes[2].set(xlabel="pairs in a batch", ylabel="MB", title="Peak memory of training")
        axes[2].set_xticks(list(next(iter(memory.values()))))
        axes[2].set_ylim(bottom=0)
        # More pairs take more memory: below the right end of the lines is room.
        axes[2].legend(frameon=False, loc="lower right", fontsize="small")
    figure.suptitle(title, fontsize=10)
    return save_open(figure, path)
