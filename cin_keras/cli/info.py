"""`cin-keras info MODEL`: what a model file holds."""

import json
import math
import os
import textwrap
import zipfile

from cin_keras.cli.classifier import is_saved_model, open_saved_model
from cin_keras.files import megabytes
from cin_keras.models import load_model
from cin_keras.streams import one_line
from cin_keras.training import mistakes_in_one_sentence

NAMES_SHOWN = 10


def run(args):
    """Prints what a model file holds.

    Args:
        args: What the parser returned.

    Returns:
        Int, the exit status.
    """
    with mistakes_in_one_sentence():
        found = describe_saved_model(args.model) if is_saved_model(args.model) else None
        found = found or describe(load_model(args.model, compile=False), args.model)
    print(json.dumps(found, indent=2, ensure_ascii=False) if args.json else as_text(found))
    return 0


def describe(model, path):
    """What there is to say of a model.

    Args:
        model: `CIN`.
        path: Str, its `.keras` file, or the address of one on a hub.

    Returns:
        Dict of what JSON can hold.
    """
    written = read_metadata(path)
    inference = _count([weight for layer in model.inference_layers for weight in layer.weights])
    settings, versions = split_settings(model.settings)
    if "keras_version" in written:
        versions["keras"] = written["keras_version"]
    return {
        "file": path,
        "format": "keras",
        "megabytes": round(megabytes(path), 1) if os.path.exists(path) else None,
        "saved": written["date_saved"].replace("@", " ") if "date_saved" in written else None,
        "image_size": model.image_size,
        "backbone": model.backbone_name or model.backbone.name,
        "feature_layer": model.feature_layer,
        "feature_channels": model.backbone.output_shape[
            -1 if model.data_format == "channels_last" else 1
        ],
        "interaction": model.interaction_name,
        "contrast": model.contrast_name,
        "parameters": inference,
        "training_parameters": _count(model.weights) - inference,
        "precision": model.dtype_policy.name,
        "temperature": round(model.temperature, 6),
        "embedding": {
            "width": model.embedding_width,
            "whitened": model.whitening is not None,
        },
        "settings": settings,
        "versions": versions,
        "num_classes": model.num_classes,
        "class_names": model.class_names,
        "hierarchy": model.hierarchy,
    }


def split_settings(settings):
    """How a model was trained, and with which versions of what: `(settings, versions)`, dicts.

    Example:

    >>> split_settings({"epochs": 3, "versions": {"python": "3.11"}})
    ({'epochs': 3}, {'python': '3.11'})
    """
    settings = dict(settings)
    versions = settings.pop("versions") if isinstance(settings.get("versions"), dict) else {}
    return settings, dict(versions)


def read_metadata(path):
    """What Keras notes down of a file: when it was saved, and by which version.

    Args:
        path: Str, a `.keras` file.

    Returns:
        Dict of str to str; what the file lacks, as a repacked one may, is missing.
    """
    try:
        with zipfile.ZipFile(path) as file:
            noted = json.loads(file.read("metadata.json"))
        return {name: value for name, value in noted.items() if isinstance(value, str)}
    except (KeyError, ValueError, AttributeError, OSError):  # a hub's model is no file
        return {}


def describe_saved_model(path):
    """What a SavedModel says of itself.

    Args:
        path: Str, its folder.

    Returns:
        Dict of what JSON can hold, with fewer entries than that of `describe`.

    Raises:
        ValueError: As `open_saved_model`.
    """
    card, _, num_classes = open_saved_model(path)
    settings, versions = split_settings(card["settings"])
    return {
        "file": path,
        "format": "savedmodel",
        "megabytes": round(megabytes(path), 1),
        "image_size": card["image_size"],
        "temperature": card.get("temperature"),
        "versions": versions,
        "settings": settings,
        "num_classes": num_classes,
        "class_names": card["class_names"],
        "hierarchy": card.get("hierarchy"),
    }


def as_text(found):
    """What `describe` or `describe_saved_model` returned, for a person."""
    size, names = found["image_size"], found["class_names"]
    settings = [f"{key} {value}" for key, value in found["settings"].items() if value is not None]
    saved = f", saved {found['saved']}" if found.get("saved") else ""
    takes = "" if found["megabytes"] is None else f", {found['megabytes']} MB"
    rows = {"file": f"{found['file']}, {found['format']}{takes}{saved}"}
    rows["images"] = f"{size[1]} × {size[0]} pixels" if size else "any size"
    if found["format"] == "keras":
        layer = f", its layer {found['feature_layer']}" if found["feature_layer"] else ""
        rows["backbone"] = f"{found['backbone']}{layer}, {found['feature_channels']} channels"
        rows["interaction"] = f"{found['interaction']}, contrast {found['contrast']}"
        rows["parameters"] = (
            f"{found['parameters']:,}, and {found['training_parameters']:,} for training only"
        )
        whitened = ", whitened" if found["embedding"]["whitened"] else ""
        rows["embeddings"] = f"{found['embedding']['width']} numbers{whitened}"
        rows["precision"] = found["precision"]
    if found["temperature"] is not None:
        rows["temperature"] = f"{found['temperature']:.3g}, by which logits are divided"
    rows["settings"] = ", ".join(settings) or "none noted down"
    versions = [f"{name} {version}" for name, version in found["versions"].items()]
    rows["versions"] = ", ".join(versions) or "none noted down"
    rows["classes"] = str(found["num_classes"]) + ("" if names else ", without names")
    for level, groups in (found["hierarchy"] or {}).items():
        rows[level] = str(len(set(groups)))
    lines = ["A Channel Interaction Network for fine-grained recognition"]
    for key, text in rows.items():
        lines += textwrap.wrap(
            one_line(f"{key:<12} {text}"), 100, subsequent_indent=" " * 13, break_on_hyphens=False
        )
    for label, name in enumerate((names or [])[:NAMES_SHOWN]):
        lines.append(f"{label:>15}  {one_line(name)}")
    if names and len(names) > NAMES_SHOWN:
        lines.append(f"{'…':>15}  {len(names) - NAMES_SHOWN} more; --json shows all")
    return "\n".join(lines)


def _count(weights):
    """How many numbers there are in some weights, each counted once."""
    return sum({id(weight): math.prod(weight.shape) for weight in weights}.values())
