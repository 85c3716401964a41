"""NTS against loops in NumPy: what it sees of an image, its loss, one training step."""

import keras
import numpy as np
import pytest
from keras import ops

import cin_keras
from tests import reference
from tests.gradients import gradients
from tests.models.networks import (
    awake,
    normalized_backbone,
    pair_batch,
    shorten_mobilenet,
    uncompiled,
)
from tests.models.tester import arrays
from tests.one_program import called, one_program

PARTS, CONCATENATED, CROP = 3, 2, (8, 8)
every_backend = pytest.mark.every_backend


def strided_backbone(size=16, name="strided"):
    """Means of 4×4 pixels, then a 1×1 convolution with bias: maps of stride 4."""
    images = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.AveragePooling2D(4)(x)
    return keras.Model(images, keras.layers.Conv2D(4, 1, name="conv")(x), name=name)


def make(**kwargs):
    given = {"dropout": 0.0, "parts": PARTS, "concatenated": CONCATENATED, **kwargs}
    model = cin_keras.NTS(3, strided_backbone(), input_shape=(16, 16, 3), **given)
    return awake(model)


def pooled(image, p):
    """The spatial mean of the backbone's map: means, and what is linear in them."""
    return image.mean(axis=(0, 1)) / 255 @ p["conv_kernel"] + p["conv_bias"]


def looked_at(model, images):
    """Scores and boxes of the parts of every image, by the Navigator's own scores of all boxes."""
    all_scores = ops.convert_to_numpy(
        one_program(lambda x: model.navigator(model.backbone(x)))(images.astype("float32"))
    )
    chosen = [reference.choose_parts(row, model.anchors, PARTS, 0.25) for row in all_scores]
    scores = np.stack([row[numbers] for row, numbers in zip(all_scores, chosen, strict=True)])
    return scores, model.anchors[np.array(chosen)]


def parameters_of(model):
    layers = {
        "conv": model.backbone.get_layer("conv"),
        "classifier": model.classifier,
        "part": model.part_classifier,
        "whole": model.whole_classifier,
    }
    found = {}
    for name, layer in layers.items():
        kernel, bias = (array.astype("float64") for array in arrays(layer.weights))
        found |= {f"{name}_kernel": kernel.reshape(kernel.shape[-2:]), f"{name}_bias": bias}
    return found


def crops_of(images, boxes):
    """The parts of every image, whose border is the mean colour."""
    colour = np.array([123.68, 116.779, 103.939])
    return [
        [reference.crop(image - colour, box, CROP) + colour for box in own_boxes]
        for image, own_boxes in zip(images, boxes, strict=True)
    ]


def expected_terms(images, labels, scores, crops, p):
    """Prediction, classification and ranking of every image, given its parts."""
    logits, classification, ranking = [], [], []
    for image, label, own_scores, own_crops in zip(images, labels, scores, crops, strict=True):
        parts, whole = [pooled(crop, p) for crop in own_crops], pooled(image, p)
        seen = np.concatenate([*parts[:CONCATENATED], whole])
        logits.append(seen @ p["classifier_kernel"] + p["classifier_bias"])
        of_parts = [
            reference.cross_entropy(part @ p["part_kernel"] + p["part_bias"], label)
            for part in parts
        ]
        of_whole = reference.cross_entropy(whole @ p["whole_kernel"] + p["whole_bias"], label)
        of_all = reference.cross_entropy(logits[-1], label)
        classification.append(of_all + of_whole + np.mean(of_parts))
        ranking.append(reference.part_ranking(of_parts, own_scores))
    return np.array(logits), np.array(classification), np.array(ranking)


@every_backend
def test_prediction_and_one_step_agree_with_the_loops():
    (images, _), (labels, _) = pair_batch(size=16)
    model = uncompiled(make())
    weights = np.array([1.0, 0.5, 2.0, 1.0])
    scores, boxes = looked_at(model, images)
    crops = crops_of(images, boxes)
    p = parameters_of(model)
    logits, classification, ranking = expected_terms(images, labels, scores, crops, p)
    reference.assert_close(model.predict(images, verbose=0), logits)
    assert ranking.max() > 0.1, "the ranking must have a say here"

    model.compile(keras.optimizers.SGD(1.0), loss=cin_keras.losses.SoftmaxCrossentropy())
    uncompiled(model)  # which `compile` takes back
    navigator = arrays(model.navigator.weights)
    history = model.fit(
        images, labels, sample_weight=weights, batch_size=4, shuffle=False, verbose=0
    ).history
    assert history["classification_loss"][0] == pytest.approx((weights * classification).mean(), rel=1e-4)  # fmt: skip
    assert history["ranking_loss"][0] == pytest.approx((weights * ranking).mean(), rel=1e-4)
    total = (weights * (classification + ranking)).mean()
    assert history["loss"][0] == pytest.approx(total, rel=1e-4)
    # Scores and boxes move no weight but the Navigator's.
    slopes = reference.gradient(
        lambda q: (weights * expected_terms(images, labels, scores, crops, q)[1]).mean(), p
    )
    after = parameters_of(model)
    for name, slope in slopes.items():
        reference.assert_close(p[name] - after[name], slope, absolute=2e-6)
    moved = zip(navigator, arrays(model.navigator.weights), strict=True)
    assert any((old != new).any() for old, new in moved)


@every_backend
def test_the_scores_have_no_gradient_into_the_backbone():
    images = pair_batch(size=16)[0][0].astype("float32")
    model = make()

    def maps_alone(x):
        return ops.sum(model.backbone(x))

    def with_scores(x):
        return maps_alone(x) + ops.sum(model.call(x, training=True)["scores"])

    own, both = (
        gradients(f, [images], model.backbone, compiled=False) for f in (maps_alone, with_scores)
    )
    for a, b in zip(own, both, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@every_backend
def test_with_a_contrast_pairs_add_their_loss():
    images, labels = pair_batch(size=16)
    model = make(interaction="sci", contrast="cci", alpha=0.7, embedding_dim=5)
    found = ops.convert_to_numpy(called(model, images, training=False)["embeddings"])
    maps = [arrays([model.backbone(x.astype("float32"))])[0].astype("float64") for x in images]
    phi, psi, kernel = (
        [array.astype("float64") for array in arrays(layer.weights)]
        for layer in (model.interaction.phi, model.contrast.psi, model.embedding)
    )
    embeddings = []
    for pair in zip(*maps, strict=True):
        z = reference.contrastive_channel_interaction(*pair, *phi, *psi)
        vectors = [x.mean(axis=(0, 1)) @ kernel[0] for x in z]
        embeddings.append([v / np.linalg.norm(v) for v in vectors])
    reference.assert_close(found, np.array(embeddings), relative=1e-3)
    expected = reference.pair_losses(np.array(embeddings), labels[0] == labels[1], 0.5).mean()
    history = uncompiled(model).fit(images, labels, batch_size=4, verbose=0).history
    assert history["contrastive_loss"][0] == pytest.approx(expected, rel=1e-2)
    total = history["classification_loss"][0] + history["ranking_loss"][0]
    total += 0.7 * history["contrastive_loss"][0]
    assert history["loss"][0] == pytest.approx(total, rel=1e-4)
    with pytest.raises(ValueError, match="takes a pair dataset"):
        model.fit(images[0], labels[0], verbose=0)


def test_layer_penalties_join_the_loss_once_and_pairs_without_contrast_are_images():
    images, labels = pair_batch(size=16)
    regularizer = keras.regularizers.L2(0.1)
    backbone = normalized_backbone(16, kernel_regularizer=regularizer)
    model = uncompiled(cin_keras.NTS(3, backbone, input_shape=(16, 16, 3), parts=2, concatenated=1))
    model.compile(keras.optimizers.SGD(0.0), loss=model.loss, run_eagerly=model.run_eagerly)
    penalty = float(regularizer(model.backbone.get_layer("last").kernel))
    logs = {k: v[0] for k, v in model.fit(images, labels, batch_size=4, verbose=0).history.items()}
    assert penalty > 0.01
    assert logs["loss"] == pytest.approx(
        logs["classification_loss"] + logs["ranking_loss"] + penalty, rel=1e-4
    )


def test_the_navigator_learns_at_a_rate_of_its_own():
    model = make()
    model.optimizer.build(model.trainable_variables)
    own = {id(variable) for variable in model.navigator.trainable_variables}
    assert len(own) == 12
    for variable, factor in zip(model.trainable_variables, model.optimizer.factors, strict=True):
        assert factor == (0.01 if id(variable) in own else 1.0), variable.path


def test_a_part_of_the_network_is_saved_as_any_other(tmp_path):
    model, images = make(), pair_batch(size=16)[0][0]
    features = uncompiled(keras.Model(model.input, model.get_layer("classifier").input))
    features.save(tmp_path / "features.keras")
    loaded = uncompiled(keras.saving.load_model(tmp_path / "features.keras"))
    expected = features.predict(images, verbose=0)
    assert expected.shape == (len(images), 4 * (CONCATENATED + 1))
    np.testing.assert_allclose(loaded.predict(images, verbose=0), expected, rtol=1e-5)


def test_what_is_made_for_cin_says_so():
    model, images = make(), np.zeros((2, 8, 16, 3), "uint8")
    with pytest.raises(TypeError, match="parts_figure shows the parts.*Received: NTS"):
        cin_keras.explain.class_contrast_map(model, images)
    with pytest.raises(ValueError, match=r"a model made with input_shape=\(8, 16, 3\) takes yours"):
        model.predict(images)


def test_dropout_is_off_in_evaluation():
    images = pair_batch(size=16)[0][0]
    model = make(dropout=0.5)
    first, second = (ops.convert_to_numpy(model(images)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    model.dropout.rate = 0.0
    np.testing.assert_array_equal(ops.convert_to_numpy(model(images)), first)


def test_a_named_backbone_is_one_layer_and_what_is_frozen_stays_so(tmp_path, monkeypatch):
    shorten_mobilenet(monkeypatch, 5)
    few_parts = {"parts": 2, "concatenated": 1}
    model = cin_keras.NTS(
        3,
        "mobilenet",
        None,
        (64, 64, 3),
        "conv_pw_5_relu",
        classifier_activation="softmax",
        **few_parts,
    )
    for layer in model.backbone.layers[:10]:
        layer.trainable = False
    model.save(tmp_path / "model.keras")
    loaded = cin_keras.load_model(tmp_path / "model.keras")
    assert len(loaded.backbone.trainable_weights) == len(model.backbone.trainable_weights) > 0
    assert len(loaded.trainable_weights) == len(model.trainable_weights) < len(model.weights) - 20
    images = pair_batch(size=64)[0][0]
    chances = ops.convert_to_numpy(loaded(images))
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(model(images)), chances, rtol=1e-5)
    assert loaded.get_config() == model.get_config()


def test_an_onnx_file_gives_the_same_answers(tmp_path):
    import onnxruntime

    images = pair_batch(size=16)[0][0].astype("float32")
    model = make(class_names=["a", "b", "c"])  # SCI in ONNX: tests/serving/test_export.py
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (answer,) = session.run(None, {"images": images})
    reference.assert_close(answer, ops.convert_to_numpy(model(images)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parts": 0}, "parts=0"),
        ({"concatenated": 7}, "from 1 to 6. Received: concatenated=7"),
        ({"overlap": 1.5}, "must be a number above 0 and of at most 1. Received: overlap=1.5"),
        ({"input_shape": (None, None, 3)}, "fixed input size.*None"),
        ({"input_shape": (8, 8, 3)}, "8×8 pixels is too small for 6 parts"),
        ({"part_size": 3}, r"parts of 3×3 pixels: .*such as \(16, 16\).*part_size=3"),
        (
            {"contrast": "mamc", "interaction": "osme"},
            r"None, 'embedding' or 'cci'. Received: contrast='mamc'",
        ),
        ({"backbone": strided_backbone(name="part_choice")}, "not be that of a layer beside it"),
        ({"contrast": "cci"}, "contrast='cci'.*interaction=None"),
        ({"interaction": "se"}, "interaction='se'"),
        ({"scale": 3.0}, "`scale` is for .*'sci'; leave it out. Received: interaction=None with scale=3.0"),
        ({"classifier_activation": "relu"}, "classifier_activation='relu'"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        given = {"backbone": strided_backbone(), "input_shape": (16, 16, 3), **arguments}
        cin_keras.NTS(3, **given)
