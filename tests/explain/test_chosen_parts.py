import keras
import numpy as np
import pytest

import cin_keras
from cin_keras import files
from cin_keras.explain import chosen_parts, parts_figure
from tests import reference
from tests.explain.networks import SIZE, convolution, explained_cin, images_of


def make():
    keras.utils.set_random_seed(2)
    return cin_keras.NTS(
        3, convolution(), input_shape=(SIZE, SIZE, 3), parts=3, concatenated=2, class_names=None
    )


def test_boxes_and_scores_are_those_of_the_navigator():
    model, images = make(), images_of(20)
    scores = keras.ops.convert_to_numpy(model.navigator(model.backbone(images.astype("float32"))))
    found = chosen_parts(model, images)
    assert found.boxes.shape == (20, 3, 4) and found.scores.shape == (20, 3)
    for row, own in enumerate(scores):
        numbers = reference.choose_parts(own, model.anchors, 3, 0.25)
        np.testing.assert_array_equal(found.boxes[row], model.anchors[numbers])
        np.testing.assert_allclose(found.scores[row], own[numbers], rtol=1e-5)
    middles = found.boxes.reshape(-1, 2, 2).mean(axis=1).reshape(20, 3, 2)
    np.testing.assert_allclose(found.centres, middles)


def test_the_figure_shows_boxes_scores_and_parts(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(files, "save_figure", lambda figure, path: drawn.append(figure) or path)
    model, (image,) = make(), images_of(1)
    found = chosen_parts(model, image)
    assert parts_figure(model, image, tmp_path / "parts.png") == tmp_path / "parts.png"
    whole, *parts = [axes for axes in drawn[0].axes if axes.images]
    assert len(parts) == 2 and len(whole.patches) == 3
    for patch, (top, left, bottom, right) in zip(whole.patches, found.boxes[0], strict=True):
        bounds = (left - 0.5, top - 0.5, right - left, bottom - top)
        np.testing.assert_allclose(patch.get_bbox().bounds, bounds, rtol=1e-5)
    words = [text.get_text() for text in whole.texts]
    assert words == [f"{n}: {score:.2f}" for n, score in enumerate(found.scores[0], 1)]
    expected = model.crops((image[None].astype("float32"), found.boxes[:, :1]))
    shown = 255 * parts[0].images[0].get_array()
    np.testing.assert_allclose(shown, keras.ops.convert_to_numpy(expected)[0], atol=1e-3)


def test_another_model_is_named():
    with pytest.raises(TypeError, match="must be a cin_keras.NTS.*CIN"):
        chosen_parts(explained_cin(), images_of(1))
