"""Whether the parts that an NTS chooses lie where it is known that classes differ."""

import numpy as np

from cin_keras import explain
from cin_keras.measuring import scores
from cin_keras.measuring.explanations import IMAGES_AT_ONCE, read_images
from cin_keras.measuring.tables import markdown_table, plus_minus
from cin_keras.progress import progress_bar


def score_parts(model, test, targets):
    """Whether the middle of a chosen part hits, image by image.

    The classes that differ are the predicted one and the runner-up.

    Args:
        model: `cin_keras.NTS`.
        test: `Samples`.
        targets: `cin_keras.measuring.explanations.Targets` of these.

    Returns:
        Dict of arrays `(images,)`: `best part` and `parts of the prediction`, whether the first and
        what share of the concatenated ones hit; `image` and `box`, the share of each that hits;
        `right`, whether the prediction is.
    """
    size = model.image_size
    found = {name: [] for name in ("best part", "parts of the prediction", "image", "box", "right")}
    pixels = scores.grid(*size)
    with progress_bar(len(test), "image") as bar:
        for start in range(0, len(test), IMAGES_AT_ONCE):
            indices = range(start, min(start + IMAGES_AT_ONCE, len(test)))
            pictures = read_images(test, indices, size)
            likely = np.argsort(-model.predict_on_batch(pictures), axis=1, kind="stable")
            # Row and column in pixels, as x and y in shares of the image.
            middles = (explain.chosen_parts(model, pictures).centres / size)[..., ::-1]
            for index, (a, b), own in zip(indices, likely[:, :2], middles):
                hits = targets.hits(index, own[: model.concatenated], a, b)
                everywhere = targets.hits(index, pixels, a, b)
                found["best part"].append(hits[0])
                found["parts of the prediction"].append(hits.mean())
                found["image"].append(everywhere.mean())
                found["box"].append(everywhere[targets.in_box(index, pixels)].mean())
                found["right"].append(a == test.labels[index])
            bar.update(len(indices))
    return {name: np.array(values, "float64") for name, values in found.items()}


def parts_table(found, part, thing):
    """What `score_parts` returned in Markdown, with what it means.

    Args:
        found: Dict.
        part: Str, what a middle should hit, such as `"a differing part"`.
        thing: Str, what has parts, such as `"car"`.

    Returns:
        Str, which ends with a newline.
    """
    # Where the crop cuts off all that could be hit, there is nothing to find.
    visible = found["image"] > 0
    names = {
        "best part": "the best part",
        "parts of the prediction": "each part that the prediction sees",
        "image": "chance, anywhere in the image",
        "box": f"chance, anywhere in the {thing}'s box",
    }
    rows = [
        [words, plus_minus(*scores.mean_and_error(found[name][visible]), ".1f", 100, " %")]
        for name, words in names.items()
    ]
    return (
        f"{markdown_table(['part', f'its middle on {part}'], rows)}\n\n{visible.sum()} of "
        f"{len(visible)} images, those in which {part} is seen. {found['right'].mean():.1%} of the "
        "images are classified rightly. ± is one standard error over images.\n"
    )
