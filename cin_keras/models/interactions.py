"""What stands between backbone and classifier, by name: the rows of the paper's comparison."""

import math

import keras
from keras import ops

from cin_keras.checks import check_choice, check_size
from cin_keras.distribution.devices import is_distributing
from cin_keras.layers import (
    BilinearPooling,
    CompactGeneralizedNonLocal,
    CovariancePooling,
    MeanAndDeviation,
    NonLocalBlock,
    OneSqueezeMultiExcitation,
    ResidualConvolution,
    SelfChannelInteraction,
)

INTERACTIONS = (
    None,
    "squeeze_excite",
    "non_local",
    "cgnl",
    "osme",
    "phi",
    "pos_sci",
    "sci",
    "bilinear",
    "covariance",
    "mean_and_deviation",
)
CONTRASTS = (None, "embedding", "cci", "mamc")
PARTNERS = ("given", "hardest", "all")
# Those that have interaction weights to contrast, and rows of them to compute in blocks.
SELF_CHANNEL = ("pos_sci", "sci")
WITH_PHI = (*SELF_CHANNEL, "phi")
PROJECTING = ("bilinear", "covariance")
# What `CIN` can say of an interaction: what it is if nothing is said, and for which.
OPTIONS = {
    "block_rows": (None, SELF_CHANNEL),
    "projection_dim": (None, PROJECTING),
    "second_backbone": (None, ("bilinear",)),
    "scale": (1.0, SELF_CHANNEL),
    "similarity": ("dot", SELF_CHANNEL),
    "learnable_scale": (False, SELF_CHANNEL),
    "phi_kernel_size": (3, WITH_PHI),
    "phi_initializer": ("zeros", WITH_PHI),
    "pooled": (True, WITH_PHI),
}


def _all_options(given):
    return {name: default for name, (default, _) in OPTIONS.items()} | given


def build_interaction(name, features, **options):
    """The layer that `name` stands for.

    Args:
        name: One of `INTERACTIONS`.
        features: The symbolic feature map that the layer will see.
        **options: Of `OPTIONS`, as for `CIN`; with `pooled`, the layer returns the spatial mean of
            its map where it has a pooled form.

    Returns:
        A layer from the map to a map, `(batch, height, width, channels)`, a vector an image,
        `(batch, features)`, or one for each of several attentions, `(batch, attentions, features)`;
        `None` for no interaction.
    """
    options = _all_options(options)
    pooling = "avg" if options["pooled"] else None
    if name in SELF_CHANNEL:
        return SelfChannelInteraction(
            kernel_size=options["phi_kernel_size"],
            scale=options["scale"],
            positive=name == "pos_sci",
            pooling=pooling,
            block_rows=options["block_rows"],
            kernel_initializer=options["phi_initializer"],
            similarity=options["similarity"],
            learnable_scale=options["learnable_scale"],
            name="self_channel_interaction",
        )
    if name == "phi":
        return ResidualConvolution(
            kernel_size=options["phi_kernel_size"],
            pooling=pooling,
            kernel_initializer=options["phi_initializer"],
            name="residual_convolution",
        )
    channels = features.shape[3 if keras.config.image_data_format() == "channels_last" else 1]
    if name == "squeeze_excite":
        # Here, because it takes seconds to import.
        from keras_cv.layers import SqueezeAndExcite2D

        return SqueezeAndExcite2D(channels, max(channels // 4, 1), name="squeeze_excite")
    if name == "non_local":
        return NonLocalBlock(name="non_local")
    if name == "cgnl":
        # Eight, the paper's, or what divides the channels of a narrower network.
        groups = math.gcd(8, channels, max(channels // 2, 1))
        return CompactGeneralizedNonLocal(groups=groups, name="compact_generalized_non_local")
    if name == "osme":
        return OneSqueezeMultiExcitation(name="one_squeeze_multi_excitation")
    if name == "bilinear":
        return BilinearPooling(options["projection_dim"], name="bilinear_pooling")
    if name == "covariance":
        return CovariancePooling(options["projection_dim"], name="covariance_pooling")
    if name == "mean_and_deviation":
        return MeanAndDeviation(name="mean_and_deviation")
    return None


def pool_interacted(z, pooling):
    """A vector an image of what an interaction returns.

    Args:
        z: A map `Z`; its spatial mean, which the pooled form is already; or the features of several
            attentions, whose sum is taken.
        pooling: The layer that takes the spatial mean of a map.

    Returns:
        Tensor `(batch, features)`.
    """
    if len(z.shape) == 3:
        return ops.sum(z, axis=1)
    return z if len(z.shape) == 2 else pooling(z)


def check_interaction(interaction, weights, **options):
    """Raises ValueError for an unknown interaction, or one that cannot use an argument given.

    Args:
        interaction, weights: As for `CIN`.
        **options: Of `OPTIONS`, as for `CIN`.
    """
    check_choice("interaction", interaction, INTERACTIONS)
    options = _all_options(options)
    check_size("phi_kernel_size", options["phi_kernel_size"])
    for name, (_, interactions) in OPTIONS.items():
        value = options[name]
        if interaction not in interactions and not _is_usual(name, value):
            raise ValueError(
                f"`{name}` is for interaction={' or '.join(map(repr, interactions))}; leave it "
                f"out. Received: interaction={interaction!r} with {name}={value!r}"
            )
    second_backbone = options["second_backbone"]
    if isinstance(second_backbone, str) and weights not in (None, "imagenet"):
        raise ValueError(
            "`weights` is a file for the first backbone; pass `second_backbone` as a Keras model "
            "that has its weights. Received: "
            f"weights={str(weights)!r}, second_backbone={second_backbone!r}"
        )


def _is_usual(name, value):
    """Whether an option of an interaction is what it is if nothing is said, however it is written."""
    if name == "phi_kernel_size":
        return check_size(name, value) == (3, 3)
    if name == "phi_initializer":
        return isinstance(keras.initializers.get(value), keras.initializers.Zeros)
    default = OPTIONS[name][0]
    return value is default or value == default


def check_contrast(contrast, interaction, descriptor, partner="given", **cci):
    """Raises ValueError for an unknown contrast or descriptor, or a contrast that cannot be.

    Args:
        contrast, interaction, descriptor, partner: As for `CIN`.
        **cci: Options of `ContrastiveChannelInteraction` alone.
    """
    check_choice("contrast", contrast, CONTRASTS)
    check_choice("partner", partner, PARTNERS)
    check_choice("descriptor", descriptor, ("average", "flatten"))
    embedding = {"partner": (partner, "given"), "descriptor": (descriptor, "average")}
    for name, (value, default) in embedding.items():
        if value != default and contrast not in ("embedding", "cci"):
            raise ValueError(
                f"`{name}` is for contrast='embedding' or 'cci'; leave it out. Received: "
                f"contrast={contrast!r} with {name}={value!r}"
            )
    if partner != "given" and is_distributing():
        raise ValueError(
            "`partner` must be 'given' inside distribute(), where each device sees a part of the "
            f"batch. Received: partner={partner!r}"
        )
    usual = {"normalize_rows": False, "own_phi": False, "phi_gradient": True}
    for name, value in cci.items():
        if contrast != "cci" and value != usual[name]:
            raise ValueError(
                f"`{name}` is for contrast='cci'; leave it out. Received: contrast={contrast!r} "
                f"with {name}={value!r}"
            )
    if contrast == "cci" and interaction not in SELF_CHANNEL:
        raise ValueError(
            "`contrast='cci'` contrasts the interaction weights of 'sci' or 'pos_sci'; with any "
            "other interaction use contrast='embedding' or None. "
            f"Received: interaction={interaction!r}"
        )
    if contrast == "mamc" and interaction != "osme":
        raise ValueError(
            "`contrast='mamc'` compares the attentions of interaction='osme'; with any other "
            f"interaction use contrast='embedding' or None. Received: interaction={interaction!r}"
        )
