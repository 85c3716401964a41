"""`cin-keras card MODEL`: a model card, README.md beside the model."""

import importlib.util
import json
import pathlib
import re

from cin_keras.checks import first_line
from cin_keras.cli.files import check_output
from cin_keras.evaluation.card import write_card
from cin_keras.models import load_model
from cin_keras.models.load import HUB
from cin_keras.streams import one_line
from cin_keras.training import mistakes_in_one_sentence


def run(args):
    """Writes the card.

    Args:
        args: What the parser returned.

    Returns:
        Int, the exit status.
    """
    with mistakes_in_one_sentence():
        check_address(args.push)
        check_output(args.output, [args.model, args.metrics or ""])
        if args.output is None and args.model.startswith(HUB):
            raise ValueError(
                f"{args.model} has no folder here for its card: give a file with --output."
            )
        folder = pathlib.Path(args.model).parent
        metrics = read_metrics(args.metrics, folder / "metrics.json")
        model = load_model(args.model, compile=False)
        path = write_card(args.output or folder / "README.md", model, metrics)
    found = "" if metrics else ", without metrics: give the metrics.json of an evaluation"
    print(one_line(f"{path}{found}"))
    if args.push is not None:
        push(model, path, args.push)
        print(f'cin_keras.load_model("{args.push}")')
    return 0


def check_address(address):
    """Checks an address (str, or `None` for none) and that there is what it takes to push there.

    Raises:
        ValueError: If it is none of the hub.
        FileNotFoundError: Without the package of the hub.
    """
    if address is None:
        return
    if not re.fullmatch(r"hf://[\w.-]+/[\w.-]+", address):
        raise ValueError(f"--push must be hf://NAMESPACE/NAME. Received: --push {address}")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise FileNotFoundError(
            'For --push, huggingface_hub must be installed: pip install huggingface_hub.'
        )


def push(model, card, address):
    """Puts a model on the Hugging Face Hub, by Keras, and its card in the place of Keras' own.

    Args:
        model: `CIN`.
        card: `pathlib.Path`.
        address: Str, `hf://NAMESPACE/NAME`.

    Raises:
        ConnectionError: If the hub cannot be reached, or does not let us.
    """
    import huggingface_hub

    try:
        model.save(address)
        huggingface_hub.HfApi().upload_file(
            path_or_fileobj=str(card),
            path_in_repo="README.md",
            repo_id=address.removeprefix("hf://"),
        )
    except Exception as error:  # the library raises many kinds, and of requests
        raise ConnectionError(f"{address!r} cannot be written: {first_line(error)}") from error


def read_metrics(path, beside):
    """What a `metrics.json` holds: the one that was asked for, or the one beside the model.

    Args:
        path: Str, or `None`.
        beside: `pathlib.Path`, which need not be there.

    Returns:
        Dict, or `None`.

    Raises:
        FileNotFoundError: If the one that was asked for is not there.
        ValueError: If it holds no metrics.
    """
    if path is None and not beside.is_file():
        return None
    path = pathlib.Path(path or beside)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        metrics = json.loads(path.read_text("utf-8"))
        if not {"accuracy", "images", "per_class"} <= metrics.keys():
            raise ValueError
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"{str(path)!r} holds no metrics: give the metrics.json of a run or an evaluation."
        ) from error
    return metrics
