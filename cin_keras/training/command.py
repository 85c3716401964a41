"""What was typed: the settings that decide, options in sentences, the command that repeats a run."""

import re
import shlex


def decisive(settings):
    """The settings that decide what is trained, not where or on how many devices.

    Args:
        settings: Dict, `vars` of what `settle` returned.

    Returns:
        Dict.

    Example:

    >>> decisive({"epochs": 3, "output": "runs/birds", "resume": True})
    {'epochs': 3}
    """
    others = ("resume", "output", "command", "distribute", "tensorboard")
    return {name: value for name, value in settings.items() if name not in others}


def as_typed(sentence, settings):
    """A sentence in which arguments are called what somebody types: `epochs` is --epochs.

    Args:
        sentence: Str.
        settings: Dict, `vars` of what `settle` returned.

    Returns:
        Str.

    Example:

    >>> as_typed("lower `pairs_per_batch`. Received: image_size=3", {"pairs_per_batch": 8, "image_size": 3})
    'lower --pairs-per-batch. Received: --image-size=3'
    >>> as_typed("pass `max_pixels=16`.", {"max_pixels": 9})
    'pass --max-pixels=16.'
    """

    def option(match):
        name, sign = match["name"], match["sign"]
        if name == "data_dir" and "FOLDER" in settings.get("command", "").split():
            return f"FOLDER{sign}"
        return f"--{name.replace('_', '-')}{sign}"

    names = "|".join(map(re.escape, settings)) or "(?!)"  # which is nowhere
    sentence = sentence.replace("`global_batch`", "`pairs_per_batch`")
    sentence = re.sub(r"input_shape=\((\d+), \1, 3\)", r"image_size=\1", sentence)
    sentence = re.sub(rf"`(?P<name>{names})(?P<sign>(=[^`]*)?)`", option, sentence)
    sentence = re.sub(rf"(?<=[ (])(?P<name>{names})(?P<sign>=)", option, sentence)
    if "download" in settings:
        sentence = sentence.replace("cin_keras.data.download", "--download")
    return sentence.replace("--weights=None", "--weights none")


def command_line(settings):
    """The command that repeats a run, with every setting spelled out, ready for a shell.

    Args:
        settings: Dict, `vars` of what `settle` returned.

    Returns:
        Str.

    Example:

    >>> settings = {"backbone": "small", "image_size": 64, "epochs": 10, "pairs_per_batch": 16}
    >>> from cin_keras.training.options import recipe_parser, settle
    >>> parser = recipe_parser("python recipes/birds.py", "birds", settings, output="my runs")
    >>> args = settle(parser.parse_args(["--plain"]), settings)
    >>> command_line(vars(args)).split(" --seed 0 ")[1]
    "--on-error raise --output 'my runs' --head plain --plain"
    """
    import keras  # the command line answers --help without it

    settings = settings.copy()
    command = settings.pop("command")
    words = [f"KERAS_BACKEND={keras.backend.backend()}"]
    for word in command.split():
        words.append(str(settings.pop("data_dir")) if word == "FOLDER" else word)
    for name, value in settings.items():
        done = name in ("resume", "download")
        if not done and value is not None and value is not False:
            words.append(f"--{name.replace('_', '-')}")
            if value is not True:
                words.append(str(value))
    return shlex.join(words)
