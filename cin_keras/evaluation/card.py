"""A model card: `README.md` beside a model, as hubs of models and people read it."""

import json
import pathlib

from cin_keras.evaluation.accuracy import wilson_interval
from cin_keras.evaluation.report.page import describe
from cin_keras.files import write_text
from cin_keras.text import plural

# A README.md without this is somebody's own.
MARK = "<!-- Written by cin_keras. -->"
_SETTINGS_SHOWN = 40


def write_card(path, model, metrics=None):
    """Writes a model card in Markdown, with the metadata that the Hugging Face Hub reads.

    Data, metrics with their 95 % confidence interval, classes, limits, how to use it. What is not
    known is said to be unknown.

    Args:
        path: Str or path of the file, `README.md` beside `model.keras`, say.
        model: `cin_keras.CIN`.
        metrics: Dict, what the `metrics.json` of a run or an evaluation holds, or `None`. Defaults
            to `None`.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        ValueError: If there is a file that this package has not written.
        OSError: If it cannot be written.

    Example:

    ```python
    write_card("README.md", model, json.loads(pathlib.Path("metrics.json").read_text()))
    ```
    """
    path = pathlib.Path(path)
    if path.exists() and not is_card(path):
        raise ValueError(
            f"{str(path)!r} is there already, and no model card of cin_keras: give another name, or "
            "move it away."
        )
    return write_text(path, card_text(model, metrics or {}))


def is_card(path):
    """Whether a file is a model card that `write_card` has written: bool.

    Example:

    >>> is_card("nowhere/README.md")
    False
    """
    try:
        return MARK in pathlib.Path(path).read_text("utf-8", errors="replace")
    except OSError:
        return False


def card_text(model, metrics):
    """The card as Markdown; see `write_card`.

    Args:
        model: `CIN`.
        metrics: Dict.

    Returns:
        Str.
    """
    name = pathlib.PurePath(str(metrics.get("data") or model.settings.get("data_dir") or "")).name
    title = f"{name or 'Photographs'}: which of {plural(model.num_classes, 'class', 'classes')}"
    parts = [
        _front_matter(model, metrics, name),
        f"# {_text(title)}",
        f"{MARK}\n\nTells {plural(model.num_classes, 'class', 'classes')} apart that look almost the "
        "same. A model of [Keras](https://keras.io), made with cin_keras.",
        _section("Data", _data(model, metrics, name)),
        _section("Metrics", _metrics(model, metrics)),
        _section("Classes", _classes(model)),
        _section("Limits", _limits(model, metrics)),
        _section("How to use it", _use(model)),
        _section("How it was made", _made(model, metrics)),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(model, metrics, name):
    """Metadata in YAML, of which JSON is a part."""
    about = {
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "fine-grained-recognition", "cin_keras"],
    }
    if "accuracy" in metrics:
        measured = [{"type": "accuracy", "value": round(metrics["accuracy"], 4)}]
        task = {"type": "image-classification"}
        data = {"name": name or "test images", "type": "image-folder"}
        if str(metrics.get("part", "the test part")).startswith("the test part"):
            data["split"] = "test"
        result = {"task": task, "dataset": data, "metrics": measured}
        about["metrics"] = ["accuracy"]
        about["model-index"] = [{"name": model.name, "results": [result]}]
    lines = [f"{key}: {json.dumps(value)}" for key, value in about.items()]
    return "\n".join(["---", *lines, "---"])


def _data(model, metrics, name):
    lines = [f"The photographs of the data set {_text(name)}." if name else "Nobody has noted down which."]
    if "images" in metrics:
        part = f" ({_text(metrics['part'])})" if "part" in metrics else ""
        lines.append(
            f"The metrics are of {plural(metrics['images'], 'image')}{part} that the model was "
            "not shown in training, unless said below."
        )
    for split, count in (metrics.get("duplicates") or {}).items():
        if count:
            lines.append(f"{count} of them are among those of {split}, too (the same bytes).")
    for key in ("skipped", "skipped_in_training"):
        if metrics.get(key):
            where = "" if key == "skipped" else " of training"
            lines.append(f"{plural(len(metrics[key]), 'file')}{where} could not be read.")
    lines += [_text(remark) for remark in metrics.get("remarks", [])]
    return "\n".join(f"- {line}" for line in lines)


def _metrics(model, metrics):
    if "accuracy" not in metrics:
        return "None are known: `cin-keras evaluate model.keras DATA`, then `cin-keras card`."
    images = metrics["images"]
    rows = [("accuracy", metrics["accuracy"])]
    if len(metrics.get("per_class", [])) > 5:
        rows.append(("true class within the first five", metrics["top_5_accuracy"]))
    for level, each in metrics.get("levels", {}).items():
        rows.append((f"accuracy of {_text(level)} ({each['groups']})", each["accuracy"]))
    lines = ["| | | 95 % interval |", "| - | - | - |"]
    for label, value in rows:
        low, high = wilson_interval(round(value * images), images)
        lines.append(f"| {label} | {value:.1%} | {low:.1%} to {high:.1%} |")
    if "calibration" in metrics:
        found = metrics["calibration"]
        lines.append(
            f"| expected calibration error (before the temperature of "
            f"{found['temperature']:.3g}: {found['ece_before']:.1%}) | {found['ece']:.1%} | |"
        )
    known = [each for each in metrics.get("per_class", []) if each["images"]]
    known = [each for each in known if each["accuracy"] < 1]
    worst = sorted(known, key=lambda each: each["accuracy"])[:5]
    if worst:
        named = [f"{_text(each['name'])} ({each['accuracy']:.0%})" for each in worst]
        lines += ["", f"Known least: {', '.join(named)}."]
    return "\n".join(lines)


def _classes(model):
    if model.class_names is None:
        return f"{model.num_classes}, without names."
    listed = [f"- {_text(name)}" for name in model.class_names]
    lines = [f"<details><summary>{model.num_classes} classes</summary>", "", *listed, ""]
    lines += ["</details>"]
    for level, groups in (model.hierarchy or {}).items():
        lines += ["", f"In {len(set(groups))} groups of the level {_text(level)}."]
    return "\n".join(lines)


def _limits(model, metrics):
    lines = [
        "It knows its classes alone, and names one of them for any photograph: "
        "`cin-keras predict --min-confidence 0.9` says none of these where it is not sure, a "
        "gallery (`cin-keras index`) knows photographs of other things better.",
        "Photographs from elsewhere than its training's are recognised less well than the metrics "
        "say.",
    ]
    if model.temperature != 1:
        lines.append(
            "Its probabilities are set right on photographs like those of its training; `predict` "
            f"in Python gives logits, to be divided by {model.temperature:.4g} before the softmax."
        )
    if "accuracy" not in metrics:
        lines.append("How good it is, is not known.")
    return "\n".join(f"- {line}" for line in lines)


def _use(model):
    size = model.image_size
    return "\n".join(
        [
            "```python",
            "import cin_keras",
            "import numpy as np",
            "from cin_keras.data.cropping import crop",
            "",
            'model = cin_keras.load_model("model.keras")  # or "hf://NAMESPACE/NAME"',
            'photograph = cin_keras.data.decode("photograph.jpg")',
            f"image = crop(photograph, {size[0]}, {size[1]})  # the centre, as in evaluation"
            if size
            else "image = np.asarray(photograph)",
            "scores = model.predict(model.in_own_format(image[None]))  # RGB, 0 to 255",
            "```",
            "",
            "```",
            "cin-keras predict model.keras photograph.jpg",
            "```",
        ]
    )


def _made(model, metrics):
    facts = {}
    size = model.image_size
    facts |= describe(model, size, {}) if size else {"backbone": model.backbone_name}
    settings = {**model.settings, **metrics.get("settings", {})}
    versions = settings.pop("versions", None) or metrics.get("versions", {})
    lines = [f"- {key}: {_text(value)}" for key, value in facts.items()]
    known = {key: value for key, value in settings.items() if value is not None and value is not False}
    lines += [f"- {_text(k)}: {_text(v)}" for k, v in list(known.items())[:_SETTINGS_SHOWN]]
    if isinstance(versions, dict):
        lines.append(f"- versions: {_text(', '.join(f'{k} {v}' for k, v in versions.items()))}")
    if metrics.get("command"):
        command = " ".join(str(metrics["command"]).split()).encode("utf-8", "replace").decode()
        lines += ["", "```", command.replace("```", "'''"), "```"]
    return "\n".join(lines)


def _section(title, text):
    return f"## {title}\n\n{text}"


def _text(value):
    """A name or value on one line that Markdown takes as text."""
    text = " ".join(str(value).split()).encode("utf-8", "replace").decode()
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    for sign in "\\|*_`[]#":
        text = text.replace(sign, "\\" + sign)
    return text
