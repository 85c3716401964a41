"""Times a backbone with a linear classifier, CIN as the paper writes it, and CIN as shipped.

python recipes/benchmark.py                                     ResNet-50, 448x448, 4 pairs
python recipes/benchmark.py --backbone mobilenet --image-size 224 --mixed-precision bfloat16
python recipes/benchmark.py --serving                           what answers one image, and its size
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
from serving import measure_serving, serving_table

import cin_keras
from cin_keras.models import TRAINING_RATES
from cin_keras.optimizers import LayerwiseSGD
from cin_keras.serving.export import export_inference

BACKBONE, LONG, SHIPPED, BLOCKS = "backbone", "CIN, long form", "CIN", "CIN, blocks of rows"
# A step too small to move the weights, so that every round computes with the same numbers.
LEARNING_RATE = 1e-7


def positive(text):
    """A type for argparse: whole numbers from 1."""
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def parse_arguments():
    parser = argparse.ArgumentParser(
        usage="python recipes/benchmark.py [options]",
        description="Measures what CIN costs beyond its backbone, in time and memory.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=26, width=80),
    )

    def add(name, metavar=None, help=None, **kwargs):
        if "action" not in kwargs:
            kwargs["metavar"] = metavar
        parser.add_argument(name, help=help, **kwargs)

    add("--backbone", "NAME", "in keras.applications (%(default)s)", default="resnet50")
    add("--feature-layer", "NAME", "layer of the backbone that interacts (the last)")
    add("--image-size", "N", "pixels (%(default)s)", type=positive, default=448)
    add("--pairs-per-batch", "N", "in training (%(default)s)", type=positive, default=4)
    add("--batch-size", "N", "images in inference (two a pair)", type=positive)
    add("--classes", "N", "(%(default)s)", type=positive, default=200)
    add("--mixed-precision", help="half precision", choices=["float16", "bfloat16"])
    add("--jit-compile", help="(Keras decides)", choices=["on", "off"])
    add("--block-rows", "N", "rows in a block (%(default)s)", type=positive, default=256)
    add("--rounds", "N", "every model once in each (%(default)s)", type=positive, default=9)
    add("--steps", "N", "steps timed at a time (%(default)s)", type=positive, default=1)
    add("--memory-pairs", "N", "pairs to take the peak memory at", type=positive, nargs="*")
    add("--serving", help="only the exported forms, on one image", action="store_true")
    add("--seed", "N", "of weights and images (%(default)s)", type=int, default=0)
    add("--output", "DIR", "folder to write (%(default)s)", default="runs/benchmark")
    add("--peak-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.batch_size = args.batch_size or 2 * args.pairs_per_batch
    return args


def precision(args):
    return f"mixed_{args.mixed_precision}" if args.mixed_precision else "float32"


def build_model(name, args):
    """One of the models that are compared, compiled."""
    size = args.image_size
    keras.utils.set_random_seed(args.seed)
    keras.config.set_dtype_policy(precision(args))
    # The backbone with a linear classifier, or with the interaction.
    form = {"interaction": None, "contrast": None} if name == BACKBONE else {"pooled": name != LONG}
    model = cin_keras.CIN(
        args.classes,
        backbone=args.backbone,
        weights=None,
        input_shape=(size, size, 3),
        feature_layer=args.feature_layer,
        block_rows=args.block_rows if name == BLOCKS else None,
        **form,
    )
    # φ and ψ start at zero; nobody can see in zeros whether two forms agree.
    for layer in (model.interaction, model.contrast.psi) if model.contrast else ():
        for variable in layer.weights:
            variable.assign(keras.random.normal(variable.shape, stddev=0.01, seed=args.seed))
    for layer in model.backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # Random weights need statistics that fit them, or no signal reaches the end: those of
            # the last training batch.
            layer.momentum = 0.0
    model.compile(
        LayerwiseSGD(LEARNING_RATE, rates=TRAINING_RATES, momentum=0.9, clipnorm=1.0),
        loss=cin_keras.losses.SoftmaxCrossentropy(),
        jit_compile={"on": True, "off": False, None: "auto"}[args.jit_compile],
    )
    return model


def make_data(args):
    """Images for inference and a training batch, single and in pairs, on the device."""
    rng = np.random.default_rng(args.seed)

    def images(number):
        return rng.uniform(0, 255, (number, args.image_size, args.image_size, 3)).astype("float32")

    pairs = args.pairs_per_batch
    labels = rng.integers(0, args.classes, (2, pairs))
    labels[1, ::2] = labels[0, ::2]
    tensor = keras.ops.convert_to_tensor
    training = images(2 * pairs)
    return {
        "inference": tensor(images(args.batch_size)),
        "single": (tensor(training), tensor(labels.T.reshape(-1))),
        "paired": (
            (tensor(training[::2]), tensor(training[1::2])),
            (tensor(labels[0]), tensor(labels[1])),
        ),
    }


def train(model, data):
    """One step, to the end: the losses have arrived at the host."""
    x, y = data["paired" if model.contrast else "single"]
    return model.train_on_batch(x, y, return_dict=True)


def measure_times(models, data, args):
    """Seconds of every inference and training step, `{task: {model: [...]}}`.

    In every round each model has its turn, so that what disturbs the machine disturbs all.
    """
    tasks = {
        "inference": lambda model: model.predict_on_batch(data["inference"]),
        "training": lambda model: train(model, data),
    }
    for task in tasks.values():
        for model in models.values():
            task(model)
            task(model)
    times = {task: {name: [] for name in models} for task in tasks}
    progress = keras.utils.Progbar(args.rounds, unit_name="round")
    try:
        for finished in range(args.rounds):
            for task, run in tasks.items():
                for name, model in models.items():
                    start = time.perf_counter()
                    for _ in range(args.steps):
                        run(model)
                    times[task][name].append((time.perf_counter() - start) / args.steps)
            progress.update(finished + 1)
    except KeyboardInterrupt:
        rounds = min(len(of_one) for of_task in times.values() for of_one in of_task.values())
        if rounds == 0:
            sys.exit("\nInterrupted before the first round ended: there is nothing to report.")
        print(f"\nInterrupted: the figures are those of {rounds} rounds.")
        times = {
            task: {name: of_one[:rounds] for name, of_one in of_task.items()}
            for task, of_task in times.items()
        }
    return times


def summarize(times, reference, images):
    """Medians and quartiles of milliseconds per image, and of the ratio to the reference."""
    per_image = 1000 * np.array(times) / images
    quarter, median, three_quarters = np.percentile(per_image, [25, 50, 75])
    ratios = np.array(times) / np.array(reference)
    return {
        "milliseconds_per_image": median,
        "quartiles": [quarter, three_quarters],
        "images_per_second": 1000 / median,
        "ratio": np.median(times) / np.median(reference),
        "ratio_quartiles": list(np.percentile(ratios, [25, 75])),
        "rounds": len(times),
    }


def largest_difference(models, data):
    """Of outputs and of the training loss, to the long form's, relative to its largest."""
    differences = {}
    reference = None
    for name in (LONG, SHIPPED, BLOCKS):
        loss = train(models[name], data)["loss"]
        outputs = models[name].predict_on_batch(data["inference"])
        reference = reference or (outputs, loss)
        differences[name] = {
            "outputs": float(np.abs(outputs - reference[0]).max() / np.abs(reference[0]).max()),
            "loss": abs(loss - reference[1]) / abs(reference[1]),
        }
    return differences


def exported_megabytes(model):
    """Of the SavedModel; of the `.keras` file on PyTorch, where Keras writes no SavedModel."""
    with tempfile.TemporaryDirectory() as folder:
        if keras.backend.backend() == "torch":
            keras.Model(model.input, model.output).save(pathlib.Path(folder) / "model.keras")
        else:
            export_inference(model, pathlib.Path(folder) / "saved_model", verbose=False)
        files = [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]
        return sum(path.stat().st_size for path in files) / 1e6


def peak_megabytes():
    """The most memory held so far: the accelerator's if there is one, else the process's."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated() / 1e6
    elif backend == "jax":
        import jax

        statistics = jax.local_devices()[0].memory_stats()
        if statistics:
            return statistics["peak_bytes_in_use"] / 1e6
    else:
        import tensorflow as tf

        if tf.config.list_physical_devices("GPU"):
            return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e6
    return peak_resident_megabytes()


def peak_resident_megabytes():
    """The most memory this process has held."""
    try:
        status = pathlib.Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except OSError:
        # Not on Linux, where a child process inherits its parent's maximum.
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def print_peak(args):
    """What a process of its own does for `measure_memory`: two steps, and the peak."""
    model, data = build_model(args.peak_of, args), make_data(args)
    for _ in range(2):
        train(model, data)
    print(peak_megabytes())


def measure_memory(names, pair_counts):
    """Peak memory of training in megabytes, `{model: {pairs: number or None}}`."""
    peaks = {name: dict.fromkeys(pair_counts) for name in names}
    progress = keras.utils.Progbar(len(names) * len(pair_counts), unit_name="process")
    try:
        for pairs in pair_counts:
            for name in names:
                peaks[name][pairs] = measure_peak(name, pairs)
                progress.add(1)
    except KeyboardInterrupt:
        print("\nInterrupted: the table of the memory has gaps.")
    return peaks


def measure_peak(name, pairs):
    """Peak memory in megabytes of a process that only trains, or `None` if it fails."""
    # The last of two equal options counts.
    command = [sys.executable, *sys.argv, "--peak-of", name, "--pairs-per-batch", str(pairs)]
    child = subprocess.run(command, capture_output=True, text=True)
    if child.returncode == 0:
        return float(child.stdout.split()[-1])
    reason = (child.stderr.strip().splitlines() or ["no message"])[-1]
    print(f"\n{name} with {pairs} pairs failed ({child.returncode}): {reason}")
    return None


def describe_machine():
    """Backend, versions and device, for the record."""
    backend = keras.backend.backend()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    device = f"{cores} CPU cores, {processor_name()}"
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            device = torch.cuda.get_device_name()
    elif backend == "jax":
        import jax

        if jax.default_backend() != "cpu":
            device = jax.devices()[0].device_kind
    else:
        import tensorflow as tf

        if devices := tf.config.list_physical_devices("GPU"):
            device = tf.config.experimental.get_device_details(devices[0])["device_name"]
    return {
        "backend": backend,
        "device": device,
        "versions": {
            "cin_keras": cin_keras.__version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("keras", "numpy", backend)},
        },
    }


def processor_name():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def short(number):
    """Three digits, and never an exponent."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def as_table(results):
    """The results as a Markdown table."""
    rows = [
        "| | inference, ms/image | images/s | ratio | training, ms/image | images/s | ratio "
        "| parameters | exported |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, result in results["models"].items():
        cells = [name]
        for task in ("inference", "training"):
            numbers = result[task]
            low, high = numbers["quartiles"]
            cells += [
                f"{short(numbers['milliseconds_per_image'])} ({short(low)}–{short(high)})",
                short(numbers["images_per_second"]),
                f"{numbers['ratio']:.3f}",
            ]
        cells.append(f"{result['parameters'] / 1e6:.1f} M")
        cells.append(f"{result['exported_megabytes']:.0f} MB")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def as_memory_table(memory):
    """Peak memory as a Markdown table, a column for every number of pairs."""
    counts = list(next(iter(memory.values())))
    rows = [
        "| peak memory of training, MB | " + " | ".join(f"{n} pairs" for n in counts) + " |",
        "| --- |" + " --- |" * len(counts),
    ]
    for name, peaks in memory.items():
        cells = ["–" if peak is None else f"{peak:.0f}" for peak in peaks.values()]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def draw(results, path):
    """Milliseconds per image as bars, quartiles as lines, and the memory against the pairs."""
    from matplotlib.figure import Figure

    names = list(results["models"])
    colors = dict(zip(names, ("#8a8f98", "#d0925a", "#2f6f9f", "#74a9c9")))
    panels = 3 if results["memory"] else 2
    figure = Figure(figsize=(4.3 * panels, 3.2), layout="constrained")
    axes = figure.subplots(1, panels)
    for axis, task in zip(axes, ("inference", "training")):
        for row, name in enumerate(names):
            numbers = results["models"][name][task]
            median, (low, high) = numbers["milliseconds_per_image"], numbers["quartiles"]
            axis.barh(row, median, color=colors[name], xerr=[[median - low], [high - median]])
            axis.text(1.02 * high, row, f"{short(median)} ms, ×{numbers['ratio']:.2f}", va="center")
        axis.set_yticks(range(len(names)), names if axis is axes[0] else [""] * len(names))
        axis.invert_yaxis()
        axis.margins(x=0.45)
        axis.set_xlim(left=0)
        axis.set_xlabel("milliseconds per image")
        axis.set_title({"inference": "Inference", "training": "Training step"}[task])
    if results["memory"]:
        for name, peaks in results["memory"].items():
            known = {pairs: peak for pairs, peak in peaks.items() if peak is not None}
            axes[2].plot(list(known), list(known.values()), "o-", color=colors[name], label=name)
        axes[2].set(xlabel="pairs in a batch", ylabel="MB", title="Peak memory of training")
        axes[2].set_xticks(list(next(iter(results["memory"].values()))))
        axes[2].margins(y=0.2)
        axes[2].set_ylim(bottom=0)
        axes[2].legend(frameon=False, loc="lower right")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(results["title"], fontsize=10)
    figure.savefig(path, dpi=150)


def report_serving(args, folder):
    """Measures, prints and writes what `--serving` asks for."""
    machine = describe_machine()
    title = (
        f"{args.backbone}, {args.image_size}×{args.image_size}, one image, {precision(args)}, "
        f"{machine['backend']}, {machine['device']}"
    )
    print(title)
    forms = measure_serving(build_model(SHIPPED, args), args.rounds, args.seed)
    print(serving_table(forms))
    results = {"title": title, "settings": vars(args), **machine, "forms": forms}
    (folder / "serving.json").write_text(json.dumps(results, indent=2))
    print(f"{folder}/serving.json   every figure, settings, versions")


def main():
    args = parse_arguments()
    if args.peak_of:
        return print_peak(args)
    folder = pathlib.Path(args.output)
    try:
        # Whether the folder can be written is found out now, not after measuring.
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / "benchmark.json.partial"
        partial.touch()
        partial.unlink()
        if args.serving:
            return report_serving(args, folder)
        models = {name: build_model(name, args) for name in (BACKBONE, LONG, SHIPPED, BLOCKS)}
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    data = make_data(args)
    machine = describe_machine()
    title = (
        f"{args.backbone}, {args.image_size}×{args.image_size}, {args.batch_size} images in "
        f"inference, {args.pairs_per_batch} pairs in training, {precision(args)}, "
        f"{machine['backend']}, {machine['device']}"
    )
    print(title)
    differences = largest_difference(models, data)
    times = measure_times(models, data, args)
    results = {"title": title, "settings": vars(args), **machine, "models": {}, "memory": {}}
    images = {"inference": args.batch_size, "training": 2 * args.pairs_per_batch}
    for name, model in models.items():
        results["models"][name] = {
            **{
                task: summarize(of_task[name], of_task[BACKBONE], images[task])
                for task, of_task in times.items()
            },
            "parameters": keras.Model(model.input, model.output).count_params(),
            "parameters_in_training": model.count_params(),
            "exported_megabytes": exported_megabytes(model),
            "difference_from_the_long_form": differences.get(name),
        }
    print(as_table(results))
    for name, difference in differences.items():
        if name != LONG:
            print(
                f"{name} against the long form: outputs differ by {difference['outputs']:.1e}, "
                f"the training loss by {difference['loss']:.1e} (relative to the largest)."
            )
    if args.memory_pairs is not None:
        results["memory"] = measure_memory(
            list(models), args.memory_pairs or [args.pairs_per_batch]
        )
        print(as_memory_table(results["memory"]))
    partial.write_text(json.dumps(results, indent=2))
    partial.rename(folder / "benchmark.json")
    draw(results, folder / "benchmark.png")
    print(f"{folder}/\n  benchmark.json   every figure, settings, versions\n  benchmark.png")


if __name__ == "__main__":
    main()
