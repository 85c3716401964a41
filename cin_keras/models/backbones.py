"""Backbones: the network that turns images into the feature map whose channels interact.

By the name of a constructor in `keras.applications` or of an EfficientNet-Lite, with the
preprocessing its ImageNet weights expect, or any Keras model with a 4-D output, taken as it is.
"""

import contextlib
import inspect
import pathlib
import re
import warnings

import keras

from cin_keras.checks import first_line
from cin_keras.models import efficientnet_lite


def backbone_names():
    """Names that `CIN(backbone=...)` knows: those of `keras.applications` and EfficientNet-Lite's.

    Returns:
        Sorted list of str. Case, hyphens and underscores do not matter: `"efficientnetv2-s"` is
        `"EfficientNetV2S"`.

    Example:

    >>> "ResNet50" in cin_keras.models.backbone_names()
    True
    """
    return sorted(
        [name for name, value in vars(keras.applications).items() if inspect.isfunction(value)]
        + list(efficientnet_lite.VARIANTS)
    )


def build_backbone(backbone, images, weights=None, feature_layer=None):
    """Connects a backbone to images.

    Args:
        backbone: Name from `backbone_names()`, or a Keras model with one 4-D output.
        images: Symbolic images, `(batch, height, width, 3)`, RGB from 0 to 255, float32.
        weights: `None`, `"imagenet"`, or the path of a weights file for the backbone, whole or
            cut at `feature_layer`. Defaults to `None`.
        feature_layer: Name of the layer whose output is used, or `None` for the last. Defaults
            to `None`.

    Returns:
        `(model, features)`: a model from images to features, and the features of `images`. The
        layers of a named backbone are the caller's own layers, those of a supplied one stay
        inside it.

    Raises:
        ValueError: For an unknown name, layer or weights, an output that is not 4-D, or images
            that a supplied model does not take.
        TypeError: If `backbone` is neither a name nor a model.
        FileNotFoundError: If the weights file is missing.
        ConnectionError: If ImageNet weights cannot be downloaded.
    """
    if isinstance(backbone, str):
        return _named_backbone(backbone, images, weights, feature_layer)
    if isinstance(backbone, keras.Model):
        return _supplied_backbone(backbone, images, weights, feature_layer)
    raise TypeError(
        "`backbone` must be the name of a backbone or a Keras model. "
        f"Received: backbone={backbone!r} of type {type(backbone).__name__}"
    )


def build_second_backbone(backbone, images, weights):
    """Connects the second backbone of a bilinear model, whole, as one layer.

    Args:
        backbone: As for `build_backbone`.
        images: As for `build_backbone`.
        weights: The first backbone's: with a name, `"imagenet"` and `None` hold for both. A
            supplied model keeps its own.

    Returns:
        `(model, features)` as from `build_backbone`.

    Raises:
        ValueError, TypeError, ConnectionError: As for `build_backbone`.
    """
    if not isinstance(backbone, str):
        return build_backbone(backbone, images, None)
    own_images = keras.Input(images.shape[1:], dtype="float32")
    model, _ = build_backbone(backbone, own_images, weights)
    # As one layer, its own layers may bear the names of the first backbone's.
    model.name = f"second_{model.name}"
    return model, model(images)


def any_size_backbone(backbone, images, weights=None, feature_layer=None):
    """A backbone as one layer, which takes images of more than one size.

    Args:
        backbone: As for `build_backbone`. The layers of a functional or sequential model of one
            size are connected anew, to images of any size.
        images: As for `build_backbone`; of the shape, the number of channels alone counts.
        weights: As for `build_backbone`. Defaults to `None`.
        feature_layer: As for `build_backbone`. Defaults to `None`.

    Returns:
        `keras.Model` from images of any size to features.

    Raises:
        ValueError, TypeError, FileNotFoundError, ConnectionError: As for `build_backbone`.
    """
    shape = tuple(side if side == 3 else None for side in images.shape[1:])
    open_images = keras.Input(shape, dtype="float32", name="images_of_any_size")
    inputs = getattr(backbone, "inputs", None) if isinstance(backbone, keras.Model) else None
    if inputs and len(inputs) == 1 and not _fits(open_images.shape, tuple(inputs[0].shape)):
        own_images = keras.Input(inputs[0].shape[1:], dtype="float32")
        cut, _ = build_backbone(backbone, own_images, weights, feature_layer)
        cut = keras.Model(cut.inputs[0], cut.output, name=cut.name)
        return keras.models.clone_model(cut, open_images, clone_function=lambda layer: layer)
    return build_backbone(backbone, open_images, weights, feature_layer)[0]


def check_names_differ(first, second):
    """Raises ValueError if two backbones bear one name, which no Keras model can hold twice."""
    if first is not second and first.name == second.name:
        raise ValueError(
            "`backbone` and `second_backbone` must have different names; give one of them another, "
            f"such as keras.Model(..., name='second'). Received: {first.name!r} twice"
        )


@contextlib.contextmanager
def dtype_policy_scope(policy):
    """Layers made inside get this dtype policy; the global one is back afterwards.

    `keras.applications` takes no dtype, only the global policy.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _named_backbone(name, images, weights, feature_layer):
    known = {_plain(known): known for known in backbone_names()}
    if _plain(name) not in known:
        raise ValueError(
            f"Unknown backbone. Received: backbone={name!r}. Expected a Keras model or one of: "
            f"{', '.join(known.values())}"
        )
    name_of_keras = known[_plain(name)]
    if name_of_keras in efficientnet_lite.VARIANTS:
        pretrained = "imagenet" if weights == "imagenet" else None
        whole = efficientnet_lite.efficientnet_lite(name_of_keras, images, pretrained)
    else:
        constructor = getattr(keras.applications, name_of_keras)
        preprocess = inspect.getmodule(inspect.unwrap(constructor)).preprocess_input
        whole = _construct(constructor, name, preprocess(images), weights == "imagenet")
    if feature_layer is None:
        features = whole.output
    else:
        features = _get_layer(whole, feature_layer).output
    _check_features(features, f"layer {feature_layer!r} of backbone {name!r}")
    model = keras.Model(images, features, name=_plain(name))
    _load_weights_file(weights, name, whole, model)
    return model, features


def _construct(constructor, name, preprocessed, download):
    arguments = {"include_top": False, "input_tensor": preprocessed}
    if not download:
        return constructor(weights=None, **arguments)
    try:
        with warnings.catch_warnings():  # of MobileNet, about a size that it could not know
            warnings.filterwarnings("ignore", "`input_shape` is undefined or non-square")
            return constructor(weights="imagenet", **arguments)
    except ValueError:
        raise
    except Exception as error:  # Keras raises a bare Exception when a download fails.
        raise ConnectionError(
            f"The ImageNet weights of {name!r} are not in the Keras cache and could not be "
            f"downloaded ({str(error).strip()}). Connect to the network once, or pass weights=None "
            "to start from random weights, or weights='path/to/file.weights.h5'."
        ) from error


# Of the layers that stand beside a supplied backbone.
_OWN_NAMES = {
    "images", "pooling", "dropout", "classifier", "embedding", "self_channel_interaction",
    "contrastive_channel_interaction", "residual_convolution", "squeeze_excite", "non_local",
    "compact_generalized_non_local", "one_squeeze_multi_excitation", "bilinear_pooling",
    "covariance_pooling", "mean_and_deviation", "navigator", "part_choice", "part_crops",
}  # fmt: skip


def _supplied_backbone(backbone, images, weights, feature_layer):
    if weights == "imagenet":
        # The default of `CIN`: a supplied model brings the weights that it has.
        weights = None
    if isinstance(backbone, keras.Sequential) and not backbone.built:
        backbone.build(images.shape)
    whole = backbone
    expected = getattr(backbone, "input_shape", None) if backbone.built else None
    inputs = getattr(backbone, "inputs", None) or [expected]
    count = len(expected if isinstance(expected, list) else inputs)
    if count != 1:
        raise ValueError(
            f"The backbone must have one input, images. Received: {backbone.name!r} with {count} inputs"
        )
    if backbone.name in _OWN_NAMES:
        raise ValueError(
            "The name of the backbone must not be that of a layer beside it: give another, "
            f"keras.Model(..., name='backbone'). Received: a backbone called {backbone.name!r}"
        )
    axis = 1 if keras.config.image_data_format() == "channels_first" else -1
    if isinstance(expected, tuple) and len(expected) == 4 and expected[axis] not in (3, None):
        raise ValueError(
            "The backbone must take images of 3 channels, RGB: put a layer before it that makes its "
            f"own of these. Received: {backbone.name!r} for images of shape {expected[1:]}"
        )
    if isinstance(expected, tuple) and not _fits(images.shape, expected):
        raise ValueError(
            f"The backbone {backbone.name!r} takes images of shape {expected[1:]}; pass "
            f"`input_shape={expected[1:]}`. Received: input_shape={tuple(images.shape[1:])}"
        )
    if feature_layer is not None:
        backbone = _cut(backbone, images, feature_layer)
    features = backbone(images)
    _check_features(features, f"backbone {backbone.name!r}")
    _load_weights_file(weights, backbone.name, whole, backbone)
    return backbone, features


def _cut(backbone, images, feature_layer):
    """The supplied backbone up to one of the levels that it returns, or else to a layer."""
    is_graph = bool(getattr(backbone, "inputs", None))
    if isinstance(backbone, keras.Sequential):
        inputs, levels = backbone.inputs[0], {}
    elif is_graph:
        inputs, levels = backbone.inputs[0], backbone.output
    else:  # of a subclassed model, the call is one layer of the new graph
        inputs = keras.Input(images.shape[1:], dtype="float32")
        levels = backbone(inputs)
    levels = levels if isinstance(levels, dict) else {}
    for name, features in levels.items():
        if str(name) == str(feature_layer):
            return keras.Model(inputs, features, name=f"{backbone.name}_{name}")
    if is_graph:
        features = _get_layer(backbone, feature_layer).output
        return keras.Model(inputs, features, name=backbone.name)
    if levels:
        raise ValueError(
            f"`feature_layer` must name a level of the backbone: {_list(levels)}. "
            f"Received: feature_layer={feature_layer!r}"
        )
    raise ValueError(
        "`feature_layer` needs a backbone that is a functional or sequential model, or returns a "
        f"dict of levels. Received: feature_layer={feature_layer!r}, backbone={backbone!r}"
    )


def _list(levels):
    return ", ".join(repr(str(name)) for name in levels)


def _fits(shape, expected):
    return len(shape) == len(expected) and all(
        b is None or a == b for a, b in zip(shape[1:], expected[1:])
    )


def _get_layer(model, name):
    try:
        return model.get_layer(name)
    except ValueError:
        known = [layer.name for layer in model.layers]
        raise ValueError(
            f"`feature_layer` must name a layer of the backbone. Received: feature_layer={name!r}. "
            f"Its layers: {', '.join(known)}"
        ) from None


def _check_features(features, what):
    if not isinstance(features, keras.KerasTensor) or len(features.shape) != 4:
        received, advice = getattr(features, "shape", None) or type(features).__name__, ""
        if isinstance(features, dict):
            received = f"the levels {_list(features)}"
            advice = ": choose one by `feature_layer`"
        elif isinstance(features, (list, tuple)):
            received = f"{len(features)} outputs"
            advice = ": choose the layer of one by `feature_layer`"
        elif isinstance(features, keras.KerasTensor) and len(features.shape) == 3:
            advice = (
                ": tokens, as of a Vision Transformer, must be put in rows and columns first, by "
                "keras.layers.Reshape without the class token, say"
            )
        elif isinstance(features, keras.KerasTensor) and len(features.shape) == 2:
            advice = ": take the backbone without its pooling and classifier"
        raise ValueError(
            f"The features must be one 4-D map, (batch, height, width, channels){advice}. "
            f"Received: {received} from {what}"
        )


def _load_weights_file(weights, name, *models):
    """Loads a file into the first of `models` that it fits: the whole backbone or the cut one."""
    if weights in (None, "imagenet"):
        return
    if not isinstance(weights, (str, pathlib.PurePath)):
        raise TypeError(
            "`weights` must be 'imagenet', None or the path of a weights file. "
            f"Received: weights={weights!r} of type {type(weights).__name__}"
        )
    path = pathlib.Path(weights)
    if not path.is_file():
        raise FileNotFoundError(
            "`weights` must be 'imagenet', None or the path of a weights file. Received: "
            f"weights={str(weights)!r}, and there is no such file"
        )
    errors = []
    for model in models:
        try:
            with warnings.catch_warnings(record=True) as raised:
                model.load_weights(path)
            for warning in raised:
                warnings.warn(warning.message, stacklevel=2)
            return
        except (ValueError, OSError, KeyError) as error:
            errors.append(first_line(error))
    raise ValueError(
        f"The weights file {str(path)!r} does not fit backbone {name!r}, neither whole nor cut at "
        f"the feature layer. Keras says: {' / '.join(dict.fromkeys(errors))}"
    )


def _plain(name):
    return re.sub("[^a-z0-9]", "", name.lower())
