"""Small networks and batches that the tests of the models share."""

import keras
import numpy as np

import cin_keras


def tiny_backbone(channels=4, size=8):
    """A 1×1 convolution with bias on images scaled to [0, 1]."""
    images = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 255)(images)
    return keras.Model(images, keras.layers.Conv2D(channels, 1, name="conv")(x), name="tiny")


def normalized_backbone(size=8, **kwargs):
    """Two convolutions with batch normalisation between."""
    images = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="first")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same", name="last", **kwargs)(x)
    return keras.Model(images, x, name="normalized")


def shorten_mobilenet(patch, blocks):
    """Keras makes MobileNets of their first blocks alone, of 13, which take a part of the time.

    Args:
        patch: `pytest.MonkeyPatch`.
        blocks: Int ≥ 1; what lies behind is left out.
    """
    from keras.src.applications import mobilenet  # a private name, for the speed of tests alone

    block = mobilenet._depthwise_conv_block

    def first_ones(inputs, *sizes, block_id=1, **options):
        return block(inputs, *sizes, block_id=block_id, **options) if block_id <= blocks else inputs

    patch.setattr(mobilenet, "_depthwise_conv_block", first_ones)


def shorten_resnet(patch):
    """Keras makes ResNets of one block a stage; `patch` is a `pytest.MonkeyPatch`."""
    from keras.src.applications import resnet  # a private name, as above

    stage = resnet.stack_residual_blocks_v1

    def first_one(inputs, filters, blocks, **options):
        return stage(inputs, filters, 1, **options)

    patch.setattr(resnet, "stack_residual_blocks_v1", first_one)


def tiny_cin(num_classes=3, backbone=None, size=8, randomize=True, **kwargs):
    """A CIN whose φ and ψ are not zero, so that every term of the loss has a say."""
    model = cin_keras.CIN(
        num_classes,
        backbone=backbone or tiny_backbone(size=size),
        input_shape=(size, size, 3),
        **{"embedding_dim": 5, **kwargs},
    )
    if randomize:
        rng = np.random.default_rng(5)
        for layer in (model.interaction.phi, model.contrast.psi):
            for weight in layer.weights:
                weight.assign(0.2 * rng.normal(size=weight.shape))
    return model


def plain_pairs_cin(**kwargs):
    """A CIN that learns from pairs, without layers of its own but the embedding: traced soon."""
    return tiny_cin(interaction=None, contrast="embedding", randomize=False, **kwargs)


def awake(model):
    """Weights mostly above zero, so that every part, φ and ψ included, has a say."""
    rng = np.random.default_rng(5)
    for weight in model.trainable_weights:
        weight.assign(0.2 + 0.2 * rng.normal(size=weight.shape))
    return model


def uncompiled(model):
    """Spares TensorFlow the tracing, for steps that other tests run compiled.

    On JAX, where single operations are compiled, too, it would take longer.
    """
    model.run_eagerly = keras.backend.backend() == "tensorflow"
    return model


def pair_batch(pairs=4, size=8, num_classes=3, seed=0):
    """`((images_a, images_b), (labels_a, labels_b))`; pairs 0, 2, … are positive."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (2, pairs, size, size, 3)).astype("uint8")
    labels_a = rng.integers(0, num_classes, pairs)
    labels_b = (labels_a + np.arange(pairs) % 2) % num_classes
    return (images[0], images[1]), (labels_a, labels_b)
