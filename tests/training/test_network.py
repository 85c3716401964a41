import keras
import numpy as np
import pytest

import cin_keras
from cin_keras.data import drawn_cars, image_dataset
from cin_keras.distribution import Devices
from cin_keras.optimizers import LayerwiseAdamW, LayerwiseSGD
from cin_keras.training import (
    make_optimizer,
    mix,
    network_options,
    optimizer_options,
    recipe_parser,
    set_seed,
    settle,
    single_images,
)
from cin_keras.training.network import learning_rate_schedule

SETTINGS = {"backbone": "small", "image_size": 32, "epochs": 1, "pairs_per_batch": 2}


def options(*arguments):
    parser = recipe_parser("python x.py", "cars", SETTINGS)
    args = settle(parser.parse_args(arguments), SETTINGS)
    return network_options(args, drawn_cars(images_per_class=1, image_size=32))


def test_the_command_line_reaches_the_network():
    given = [
        "--head",
        "cin",
        "--alpha",
        "0.5",
        "--mixed-precision",
        "bfloat16",
        "--image-size",
        "48",
    ]
    model = cin_keras.CIN(12, **options(*given))
    assert model.hierarchy is None  # drawn cars have none
    assert len(model.class_names) == 12 and model.class_names[0].startswith("car 01")
    assert model.alpha == 0.5 and model.backbone.input_shape == (None, 48, 48, 3)
    assert model.interaction.compute_dtype == "bfloat16"
    assert model.backbone.layers[-1].compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"
    covariance = cin_keras.CIN(12, **options("--head", "covariance"))
    assert covariance.interaction.projection_dim == 64 and covariance.contrast is None
    contrast = cin_keras.CIN(12, **options("--head", "contrast", "--alpha", "0.3"))
    assert contrast.interaction is None and contrast.embedding is not None
    assert (contrast.contrast_name, contrast.alpha) == ("embedding", 0.3)
    plain = cin_keras.CIN(12, **options("--plain"))
    assert plain.interaction is None and plain.contrast is None


def test_channels_first_are_refused(monkeypatch):
    monkeypatch.setattr("keras.config.image_data_format", lambda: "channels_first")
    with pytest.raises(ValueError, match='set "image_data_format" to "channels_last".*keras.json'):
        options()


def test_named_networks_keep_their_name_and_weights():
    assert options("--backbone", "mobilenet")["backbone"] == "mobilenet"
    assert options("--backbone", "mobilenet")["weights"] == "imagenet"
    given = options("--backbone", "mobilenet", "--weights", "none", "--feature-layer", "conv_1")
    assert given["weights"] is None and given["feature_layer"] == "conv_1"
    assert given["dtype"] == "float32"
    assert options("--weights", "some.weights.h5")["weights"] == "some.weights.h5"


def test_pretrained_networks_descend_and_small_ones_adapt():
    optimizer = make_optimizer(0.02, 3, 10, 0.005)
    assert isinstance(optimizer, LayerwiseSGD) and optimizer.momentum == 0.9
    assert isinstance(make_optimizer(0.002, 3, 10, 0.004, "small"), LayerwiseAdamW)
    assert set(optimizer.rates) == {"phi", "psi", "navigator"}


def test_the_command_line_reaches_the_optimizer():
    parser = recipe_parser("python x.py", "cars", SETTINGS)
    given = ["--backbone", "resnet50", "--recipe", "paper", "--epochs", "20", "--ema"]
    args = settle(parser.parse_args(given), SETTINGS)
    optimizer = make_optimizer(steps_per_epoch=10, **optimizer_options(args))
    assert optimizer.weight_decay == 0.002 and optimizer.use_ema
    rates = [float(optimizer.get_config()["learning_rate"]["config"]["warmup_steps"])]
    assert rates == [50], "five epochs"
    assert not make_optimizer(0.02, 3, 10, 0.005).use_ema
    assert make_optimizer(0.02, 3, 10, 0.004, "small").weight_decay == 0.004


def test_photographs_are_mixed_as_the_command_line_asks():
    samples = drawn_cars(images_per_class=1, image_size=32)

    def first(*arguments):
        args = settle(recipe_parser("x", "cars", SETTINGS).parse_args([*arguments]), SETTINGS)
        data = image_dataset(samples, 32, 4)
        return data, next(iter(mix(args, data, samples.num_classes)))

    images, labels = first()[1]
    assert labels.shape == (4,)
    for mixing in ("--mixup", "--cutmix"):
        data, (mixtures, shares) = first(mixing)
        assert mixtures.shape == images.shape and shares.shape == (4, 12)
        assert np.abs(np.asarray(mixtures) - np.asarray(images, "float32")).max() > 1


def test_the_learning_rate_rises_and_falls():
    schedule = learning_rate_schedule(0.4, epochs=3, steps_per_epoch=10)
    rates = [float(schedule(step)) for step in range(31)]
    expected = [0.4 * step / 5 for step in range(5)]
    expected += [0.2 * (1 + np.cos(np.pi * step / 25)) for step in range(26)]
    np.testing.assert_allclose(rates, expected, atol=1e-6)


def test_single_images_come_in_whole_batches_where_devices_share_them():
    samples = drawn_cars(images_per_class=2, image_size=32).limit(13)
    options = {"seed": 0, "on_error": "raise", "shard": None}
    assert len(single_images(Devices(["one"]), samples, 32, 4, **options)) == 4
    shared = single_images(Devices(["a", "b"]), samples, 32, 4, **options)
    assert len(shared) == 3 and shared.skipped is not None
    orders = [[labels.numpy().tolist() for _, labels in shared] for _ in range(2)]
    assert orders[0] != orders[1], "every epoch has an order of its own"


@pytest.mark.every_backend
def test_a_seed_gives_the_same_weights_again():
    def weights(seed):
        set_seed(seed)
        layer = keras.layers.Dense(4)
        layer.build((None, 4))
        return keras.ops.convert_to_numpy(layer.kernel)

    np.testing.assert_array_equal(weights(3), weights(3))
    assert (weights(3) != weights(4)).any()


@pytest.mark.every_backend
@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="possible on TensorFlow")
def test_determinism_is_tensorflows():
    with pytest.raises(ValueError, match="--deterministic is for the TensorFlow backend. Received"):
        set_seed(0, deterministic=True)
