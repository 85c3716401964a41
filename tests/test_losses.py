import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.losses import (
    ContrastiveLoss,
    MultiAttentionMultiClassLoss,
    PartRankingLoss,
    SoftmaxCrossentropy,
)
from tests import reference
from tests.one_program import one_program

pytestmark = pytest.mark.every_backend


def batch(pairs=6, dimensions=4, seed=0):
    rng = np.random.default_rng(seed)
    embeddings = 0.2 * rng.normal(size=(pairs, 2, dimensions))
    return np.array([1, 0] * (pairs // 2)), embeddings.astype("float32")


def loss_gradient(loss, same_class, embeddings):
    """Gradient of `loss` with respect to embeddings, by the backend's own means."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        variable = tf.Variable(embeddings)
        with tf.GradientTape() as tape:
            value = loss(same_class, variable)
        return tape.gradient(value, variable).numpy()
    if backend == "jax":
        import jax

        return np.asarray(jax.jit(jax.grad(lambda e: loss(same_class, e)))(embeddings))
    import torch

    variable = torch.tensor(embeddings, requires_grad=True)
    loss(same_class, variable).backward()
    return variable.grad.numpy()


@pytest.mark.parametrize("margin", [0.5, 0.05, 2.0])
def test_every_pair_agrees_with_the_loop(margin):
    same_class, embeddings = batch()
    losses = ContrastiveLoss(margin, reduction=None)(same_class, embeddings)
    expected = reference.pair_losses(embeddings.astype("float64"), same_class, margin)
    reference.assert_close(ops.convert_to_numpy(losses), expected)


@pytest.mark.every_backend(on_jax=False)
def test_the_mean_over_pairs_not_the_sum():
    same_class, embeddings = batch()
    expected = reference.pair_losses(embeddings, same_class, 0.5)
    once = float(ContrastiveLoss()(same_class, embeddings))
    twice = float(
        ContrastiveLoss()(np.tile(same_class, 2), np.concatenate([embeddings, embeddings]))
    )
    assert once == pytest.approx(expected.mean(), rel=1e-4)
    assert twice == pytest.approx(once, rel=1e-5)
    assert float(ContrastiveLoss(reduction="sum")(same_class, embeddings)) == pytest.approx(
        expected.sum(), rel=1e-4
    )


@pytest.mark.every_backend(on_jax=False)
def test_negative_pairs_count_beside_positive_ones():
    same_class, embeddings = batch()
    loss = ContrastiveLoss(reduction="sum")
    both = float(loss(same_class, embeddings))
    positive = float(loss(same_class[::2], embeddings[::2]))
    negative = float(loss(same_class[1::2], embeddings[1::2]))
    assert negative > 0.001
    assert both == pytest.approx(positive + negative, rel=1e-5)


def test_each_pair_has_its_own_label():
    _, embeddings = batch()
    for same_class in ([1, 0, 0, 0, 0, 1], [0, 0, 0, 1, 1, 1]):
        expected = reference.pair_losses(embeddings, same_class, 0.5).mean()
        assert float(ContrastiveLoss()(np.array(same_class), embeddings)) == pytest.approx(
            expected, rel=1e-4
        )


def test_swapped_images_cost_the_same():
    same_class, embeddings = batch()
    swapped = embeddings[:, ::-1]
    assert float(ContrastiveLoss()(same_class, embeddings)) == pytest.approx(
        float(ContrastiveLoss()(same_class, swapped.copy())), rel=1e-6
    )


def test_sample_weights():
    same_class, embeddings = batch()
    weights = np.arange(6.0)
    expected = (reference.pair_losses(embeddings, same_class, 0.5) * weights).mean()
    value = float(ContrastiveLoss()(same_class, embeddings, sample_weight=weights))
    assert value == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("same", [0, 1])
def test_identical_embeddings_have_a_finite_gradient(same, dtype):
    embeddings = np.full((2, 2, 4), 0.3, dtype)
    same_class = np.array([same, same])
    loss = ContrastiveLoss(0.5)
    assert float(loss(same_class, embeddings)) == pytest.approx(0.0 if same else 0.25)
    np.testing.assert_array_equal(loss_gradient(loss, same_class, embeddings), 0.0)


def test_the_gradient_agrees_with_differences():
    same_class, embeddings = batch()
    expected = reference.gradient(
        lambda p: reference.pair_losses(p["e"], same_class, 0.5).mean(),
        {"e": embeddings.astype("float64")},
    )["e"]
    reference.assert_close(loss_gradient(ContrastiveLoss(0.5), same_class, embeddings), expected)


def test_a_column_of_labels_is_taken():
    same_class, embeddings = batch()
    column = ContrastiveLoss()(same_class[:, None], embeddings)
    assert float(column) == pytest.approx(float(ContrastiveLoss()(same_class, embeddings)))


def test_wrong_shapes_and_margins_are_named():
    same_class, embeddings = batch()
    with pytest.raises(ValueError, match=r"\(pairs, 2, embedding\).*\(6, 4\)"):
        ContrastiveLoss()(same_class, embeddings[:, 0])
    with pytest.raises(ValueError, match=r"one label a pair.*\(3,\)"):
        ContrastiveLoss()(same_class[:3], embeddings)
    with pytest.raises(ValueError, match="margin=-1"):
        ContrastiveLoss(-1)


def test_crossentropy_takes_sparse_and_one_hot_labels():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(5, 3)).astype("float32"), rng.integers(0, 3, 5)
    expected = np.mean(
        [reference.cross_entropy(*pair) for pair in zip(logits, labels, strict=True)]
    )
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for given in (labels, labels[:, None], np.eye(3)[labels]):
        loss = one_program(SoftmaxCrossentropy())
        assert float(loss(given, logits)) == pytest.approx(expected, rel=1e-5)
        loss = one_program(SoftmaxCrossentropy(from_logits=False))
        assert float(loss(given, probabilities)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_does_not_pass_in_silence(label):
    losses = SoftmaxCrossentropy(reduction=None)(np.array([label, 1]), np.zeros((2, 3), "float32"))
    assert np.isnan(ops.convert_to_numpy(losses)).tolist() == [True, False]


@pytest.mark.every_backend(on_jax=False)
def test_crossentropy_smooths_labels():
    logits = np.array([[3.0, 0.0]], "float32")
    smoothed = float(SoftmaxCrossentropy(label_smoothing=0.2)(np.array([0]), logits))
    expected = 0.9 * reference.cross_entropy(logits[0], 0) + 0.1 * reference.cross_entropy(
        logits[0], 1
    )
    assert smoothed == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="label_smoothing=1"):
        SoftmaxCrossentropy(label_smoothing=1)
    with pytest.raises(ValueError, match=r"class numbers.*\(2, 3\)"):
        SoftmaxCrossentropy()(np.zeros((2, 3)), np.zeros((2, 4)))


@pytest.mark.parametrize(
    "loss", [ContrastiveLoss(0.7, reduction="sum"), SoftmaxCrossentropy(False, 0.1)]
)
def test_losses_survive_serialization(loss):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert copy.get_config() == loss.get_config()


def attended(images=5, attentions=2, units=4, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(images, attentions, units)).astype("float32")
    return np.array([0, 1, 0, 2, 1])[:images], features


@pytest.mark.parametrize(("images", "attentions"), [(5, 2), (4, 3), (3, 1), (1, 2)])
def test_every_anchor_of_mamc_agrees_with_the_loop(images, attentions):
    labels, features = attended(images, attentions)
    expected = reference.multi_attention_multi_class(labels, features.astype("float64"))
    for given in (labels, labels[:, None], np.eye(3)[labels]):
        losses = one_program(MultiAttentionMultiClassLoss(reduction=None))(given, features)
        reference.assert_close(ops.convert_to_numpy(losses), expected)
    mean = float(one_program(MultiAttentionMultiClassLoss())(labels, features))
    assert mean == pytest.approx(expected.mean(), rel=1e-4)


def test_the_gradient_of_mamc_agrees_with_central_differences():
    labels, features = attended(4)
    found = loss_gradient(MultiAttentionMultiClassLoss(), labels, features)
    expected = reference.gradient(
        lambda p: reference.multi_attention_multi_class(labels, p["f"]).mean(),
        {"f": features.astype("float64")},
    )["f"]
    reference.assert_close(found, expected)
    features[0, 0] = 0
    assert np.isfinite(loss_gradient(MultiAttentionMultiClassLoss(), labels, features)).all()


def test_mamc_names_other_shapes():
    labels, features = attended()
    with pytest.raises(ValueError, match=r"attentions, features\).*\(5, 8\)"):
        MultiAttentionMultiClassLoss()(labels, features.reshape(5, 8))
    with pytest.raises(ValueError, match=r"one label an image.*\(5, 1, 1\)"):
        MultiAttentionMultiClassLoss()(labels[:, None, None], features)


def ranked_parts(images=3, parts=4):
    """Losses of parts, of which two are equal, and scores some of which are a margin apart."""
    rng = np.random.default_rng(0)
    losses, scores = rng.normal(size=(2, images, parts)).astype("float32")
    losses[:, 1] = losses[:, 0]
    return losses, 2 * scores


@pytest.mark.parametrize("margin", [1.0, 0.3])
def test_the_ranking_of_parts_and_its_gradient_agree_with_the_loop(margin):
    losses, scores = ranked_parts()
    loss = PartRankingLoss(margin)

    def expected(scores):
        pairs = zip(losses, scores, strict=True)
        return np.array([reference.part_ranking(*image, margin) for image in pairs])

    each = one_program(PartRankingLoss(margin, reduction=None))(losses, scores)
    reference.assert_close(ops.convert_to_numpy(each), expected(scores))
    assert float(one_program(loss)(losses, scores)) == pytest.approx(expected(scores).mean(), rel=1e-5)
    slopes = reference.gradient(lambda p: expected(p["s"]).mean(), {"s": scores.astype("float64")})
    reference.assert_close(loss_gradient(loss, losses, scores), slopes["s"])
    assert loss.get_config()["margin"] == margin


def test_the_ranking_of_parts_names_other_shapes():
    losses, scores = ranked_parts()
    with pytest.raises(ValueError, match=r"\(3, 4\).*\(3, 3\)"):
        PartRankingLoss()(losses, scores[:, :3])
    with pytest.raises(ValueError, match="margin=0"):
        PartRankingLoss(0)


@pytest.mark.parametrize("of_labels", [2, 1])
def test_other_numbers_of_images_are_refused(of_labels):
    with pytest.raises(ValueError, match=r"one label an image.*y_pred.shape=\(3, 2, 4\)"):
        MultiAttentionMultiClassLoss()(np.zeros(of_labels), np.ones((3, 2, 4)))
    with pytest.raises(ValueError, match=r"a loss and a score.*y_pred.shape=\(3, 3\)"):
        PartRankingLoss()(np.ones((of_labels, 3)), np.ones((3, 3)))


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_float16"])
def test_half_precision_rounds_no_class_numbers(dtype):
    labels, logits = np.array([2048, 2049]), np.zeros((2, 2050), "float32")
    logits[[0, 1], labels] = 9.0
    loss = SoftmaxCrossentropy
    assert float(one_program(loss(dtype=dtype))(labels, logits)) == float(
        one_program(loss())(labels, logits)
    )
    features = np.eye(4, dtype="float32").reshape(2, 2, 4)
    loss = MultiAttentionMultiClassLoss
    assert float(one_program(loss(dtype=dtype))(labels, features)) == float(
        one_program(loss())(labels, features)
    )
