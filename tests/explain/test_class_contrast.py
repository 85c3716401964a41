import keras
import numpy as np
import pytest
from PIL import Image

from cin_keras.explain import class_contrast, class_contrast_figure, class_contrast_map
from tests.explain.networks import SIZE, convolution, explained_cin, images_of
from tests.reference import assert_close

INTERACTIONS = [None, "phi", "sci", "pos_sci", "non_local", "squeeze_excite", "bilinear"]
INTERACTIONS += ["covariance", "mean_and_deviation"]


def logits_of(model, images):
    """Of the model itself; from probabilities, but for a constant of each image."""
    outputs = keras.ops.convert_to_numpy(model(images)).astype("float64")
    return np.log(outputs) if model.classifier_activation == "softmax" else outputs


def assert_decomposes(model, images, relative=1e-4):
    """The maps' means plus the biases' differences are the differences of the logits."""
    maps, classes, others, own = class_contrast(model, images)
    logits = logits_of(model, images)
    rows = np.arange(len(images))
    differences = logits[rows, classes] - logits[rows, others]
    bias = keras.ops.convert_to_numpy(model.classifier.bias)
    means = maps.mean(axis=(1, 2), dtype="float64") + bias[classes] - bias[others]
    assert_close(means, differences, relative, absolute=relative)
    assert_close(own[rows, classes] - own[rows, others], differences, relative, absolute=relative)
    order = np.argsort(-logits, axis=1)
    np.testing.assert_array_equal(classes, order[:, 0])
    np.testing.assert_array_equal(others, order[:, 1])
    return maps


@pytest.mark.every_backend
@pytest.mark.parametrize("interaction", INTERACTIONS)
def test_the_map_decomposes_the_difference_of_the_logits(interaction):
    maps = assert_decomposes(explained_cin(interaction), images_of())
    assert maps.shape == (3, 4, 4) and maps.dtype == np.float32
    assert maps.std(axis=(1, 2)).min() > 1e-5


@pytest.mark.every_backend(all_cases=True)
@pytest.mark.parametrize(
    "arguments",
    [
        {"pooled": False, "contrast": "cci"},
        {"classifier_activation": "softmax", "block_rows": 4},
        {"interaction": "bilinear", "projection_dim": 3},
        {"interaction": "covariance", "projection_dim": 3},
    ],
)
def test_other_forms_of_the_model(arguments):
    assert_decomposes(explained_cin(**arguments), images_of())


@pytest.mark.every_backend
def test_two_backbones():
    model = explained_cin("bilinear", second_backbone=convolution("second", channels=3))
    assert_decomposes(model, images_of())


@pytest.mark.every_backend
def test_mixed_precision():
    images = images_of()
    maps = assert_decomposes(explained_cin(dtype="mixed_bfloat16"), images, relative=0.05)
    assert maps.dtype == np.float32
    assert_close(maps, class_contrast_map(explained_cin(), images), relative=0.1)


def test_eight_bits():
    model = explained_cin()
    model.quantize("int8")
    maps = assert_decomposes(model, images_of(), relative=0.02)
    assert_close(maps, class_contrast_map(explained_cin(), images_of()), relative=0.1)


@pytest.mark.every_backend
def test_against_predict():
    model, images = explained_cin(), images_of()
    maps, classes, others, _ = class_contrast(model, images)
    logits = model.predict(images, verbose=0)
    bias = keras.ops.convert_to_numpy(model.classifier.bias)
    rows = np.arange(3)
    assert_close(
        maps.mean(axis=(1, 2)) + bias[classes] - bias[others],
        logits[rows, classes] - logits[rows, others],
    )
    assert_close(maps, class_contrast_map(explained_cin(pooled=False), images))


@pytest.mark.every_backend
def test_chosen_classes():
    model, images = explained_cin("phi"), images_of()
    kernel = keras.ops.convert_to_numpy(model.classifier.kernel)
    z = keras.ops.convert_to_numpy(
        model.interaction.long_form(model.backbone(images.astype("float32")))
    )
    expected = np.zeros((3, 4, 4))
    for image, (a, b) in enumerate([(0, 1), (2, 1), (3, 1)]):
        for row in range(4):
            for column in range(4):
                expected[image, row, column] = (kernel[:, a] - kernel[:, b]) @ z[image, row, column]
    assert_close(class_contrast_map(model, images, classes=[0, 2, 3], others=1), expected)
    swapped = class_contrast_map(model, images, classes=1, others=[0, 2, 3])
    assert_close(swapped, -expected)
    logits = logits_of(model, images)
    logits[:, 2] = -np.inf
    np.testing.assert_array_equal(
        class_contrast(model, images, classes=2).others, logits.argmax(axis=1)
    )


@pytest.mark.every_backend
def test_a_single_image_and_any_dtype_give_the_row_of_the_batch():
    model, images = explained_cin(), images_of()
    maps = class_contrast_map(model, images)
    assert_close(class_contrast_map(model, images[1])[0], maps[1])
    for dtype in ("int64", "float16", "float64"):
        assert_close(class_contrast_map(model, images.astype(dtype)), maps)
    assert_close(class_contrast_map(model, keras.ops.convert_to_tensor(images)), maps)
    assert_close(class_contrast_map(model, keras.ops.convert_to_tensor(images, "bfloat16")), maps,
                 relative=0.05)  # fmt: skip


@pytest.mark.every_backend
def test_more_images_than_are_computed_at_once():
    model, images = explained_cin(None), images_of(20)
    maps, classes, others, logits = class_contrast(model, images, classes=1)
    assert maps.shape == (20, 4, 4) and logits.shape == (20, 4)
    assert_close(class_contrast_map(model, images[17:20], 1, others[17:20]), maps[17:20])


@pytest.fixture(scope="module")
def plain():
    return explained_cin(None)


@pytest.mark.every_backend(all_cases=True)
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"images": np.zeros((2, SIZE, SIZE, 1))}, ValueError, r"\(8, 8, 3\).*\(2, 8, 8, 1\)"),
        ({"images": np.zeros((9, SIZE, 3))}, ValueError, r"resize.*\(9, 8, 3\)"),
        ({"images": np.zeros((0, SIZE, SIZE, 3))}, ValueError, "at least one"),
        ({"images": np.full((SIZE, SIZE, 3), np.nan)}, ValueError, "finite"),
        ({"images": np.full((SIZE, SIZE, 3), -1.0)}, ValueError, "0 to 255"),
        ({"images": np.full((SIZE, SIZE, 3), 256)}, ValueError, "256"),
        ({"images": "car.jpg"}, TypeError, "array of numbers"),
        ({"images": [np.zeros((8, 8, 3)), np.zeros((7, 8, 3))]}, ValueError, "one size"),
        ({"classes": 4}, ValueError, r"0..3.*Received: 4"),
        ({"classes": -1}, ValueError, "Received: -1"),
        ({"classes": [0, 1]}, ValueError, "each of 3 samples. Received: 2 labels"),
        ({"others": 1.0}, ValueError, "one integer a sample"),
        ({"classes": 2, "others": [1, 2, 0]}, ValueError, "class 2 against itself for image 1"),
    ],
)
def test_mistakes(plain, arguments, error, words):
    with pytest.raises(error, match=words):
        class_contrast_map(plain, **{"images": images_of(), **arguments})
    with pytest.raises(ValueError, match="class 2 against itself for image 18 .1 such"):
        class_contrast_map(plain, images_of(20), classes=2, others=[1] * 18 + [2, 1])


@pytest.mark.every_backend
def test_images_scaled_to_one_are_warned_of(plain):
    with pytest.warns(UserWarning, match="multiply them by 255"):
        class_contrast_map(plain, images_of() / 255)


@pytest.mark.every_backend
def test_only_a_cin_is_explained():
    with pytest.raises(TypeError, match="cin_keras.CIN.*Functional"):
        class_contrast_map(convolution(), images_of())


def test_figure(plain, tmp_path):
    path = tmp_path / "figure.png"
    names = ["a", "b $x_$", "a name of many words " * 9, ""]
    class_contrast_figure(plain, images_of(2), path, class_names=names, true_labels=[0, 2])
    assert min(Image.open(path).size) > 400
    with pytest.raises(ValueError, match="4 classes. Received: 1 names"):
        class_contrast_figure(plain, images_of(2), path, class_names=["a"])
