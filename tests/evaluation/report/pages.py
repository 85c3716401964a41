"""Pages for the tests, with all that goes into them, and a reader of pages."""

import html.parser
import io

import keras
import numpy as np
from PIL import Image

import cin_keras
from cin_keras.data import Samples
from cin_keras.models.small_backbone import small_backbone

NAMES = ["<script>alert('x')</script>", "A & B", "Größe", *(f"class {i}" for i in range(3, 8))]
CLASSES, SIZE = len(NAMES), 32


def encoded_images(count, seed):
    """PNG files of coloured blocks."""
    rng = np.random.default_rng(seed)
    encoded = []
    for _ in range(count):
        file = io.BytesIO()
        blocks = rng.integers(0, 255, (4, 5, 3), "uint8")
        Image.fromarray(np.kron(blocks, np.ones((12, 12, 1), "uint8"))).save(file, "PNG")
        encoded.append(file.getvalue())
    return encoded


def samples(count, seed, num_classes=CLASSES):
    """Coloured images of every class in turn but the last, which has none."""
    labels = np.concatenate([np.arange(num_classes - 1)] * count)[:count]
    paths = [f"/data/{label}/{i}.png" for i, label in enumerate(labels)]
    return Samples(paths, labels, NAMES[:num_classes], encoded=encoded_images(count, seed))


def tiny_model(num_classes=CLASSES, **arguments):
    """A `CIN` with random weights for images of 32×32 pixels."""
    return cin_keras.CIN(
        num_classes,
        small_backbone(SIZE, dtype="float32"),
        None,
        (SIZE, SIZE, 3),
        contrast=None,
        **arguments,
    )


def foreign_model(side):
    """A model that is no `CIN`."""
    pooling = keras.layers.GlobalAveragePooling2D()
    return keras.Sequential([keras.Input((side, side, 3)), pooling])


def material(num_classes=CLASSES, count=60):
    """The arguments of `write_report` but for the model: mostly right, some classes confused."""
    rng = np.random.default_rng(3)
    test = samples(count, 1, num_classes)
    scores = rng.random((count, num_classes))
    right = rng.random(count) < 0.6
    scores[right, test.labels[right]] += 1
    return {
        "test": test,
        "probabilities": scores / scores.sum(axis=1, keepdims=True),
        "train": samples(32, 2, num_classes),
        "history": {"loss": [2.0, 1.0], "val_loss": [2.0, 1.5], "val_accuracy": [0.3, 0.6]},
        "metrics": {
            "data": "shop/<photographs>",
            "seconds": 75,
            "command": "python x.py --output '/tmp/my run'",
            "settings": {"epochs": 2, "plain": False, "limit": None, "note": "a < b"},
            "versions": {"keras": "3.15.1"},
            "duplicates": {"train": 2, "validation": None},
            "skipped": {"bad & broken.png": "the file is empty"},
            "skipped_in_training": {},
        },
    }


class Page(html.parser.HTMLParser):
    """What is in a page.

    Attributes:
        texts: List of str, all text that is shown, in order.
        by_id: Dict, id → text inside.
        tables: Dict, caption → list of rows, each a list of str, the head first.
        images: List of dicts, the attributes of every `<img>`.
        attributes: List of `(tag, name, value)`.
        inside: Dict, tag → list of the texts inside every such element.
    """

    def __init__(self, text):
        super().__init__()
        self.texts, self.by_id, self.tables, self.images = [], {}, {}, []
        self.attributes, self.inside = [], {}
        self._open = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_startendtag(self, tag, attributes):
        self.attributes += [(tag, *pair) for pair in attributes]

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag == "img":
            self.images.append(dict(attributes))
        if tag not in ("meta", "img", "br"):
            self._open.append((tag, dict(attributes).get("id"), []))
        if tag == "table":
            self._rows = []
        if tag == "tr":
            self._rows.append([])

    def handle_data(self, data):
        for _, _, texts in self._open:
            texts.append(data)
        if self._open and self._open[-1][0] != "style":
            self.texts.append(data)

    def handle_endtag(self, tag):
        opened, name, texts = self._open.pop()
        assert opened == tag, f"<{opened}> closed by </{tag}>"
        text = "".join(texts)
        self.inside.setdefault(tag, []).append(text)
        if name:
            assert name not in self.by_id, f"twice: {name}"
            self.by_id[name] = text
        if tag in ("td", "th"):
            self._rows[-1].append(text)
        if tag == "caption":
            self._caption = text
        if tag == "table":
            self.tables[self._caption] = self._rows
