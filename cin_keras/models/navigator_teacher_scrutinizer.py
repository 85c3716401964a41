"""NTS-Net: a Navigator proposes parts, a Teacher judges them, a Scrutinizer decides by the best.

Yang et al., "Learning to Navigate for Fine-grained Classification", ECCV 2018 (arXiv:1809.00287).
Beyond the paper: an interaction after the backbone and a contrast of pairs, as in `CIN`, which the
CIN paper's table calls NTS+CIN; parts need not begin at whole pixels; dropout is off in evaluation,
where the authors' code leaves it on; beyond the border of an image parts show ImageNet's mean
colour, which is the authors' zero after normalisation.
"""

import keras
from keras import ops

from cin_keras.checks import check_choice, check_int, check_number, check_size
from cin_keras.layers import ContrastiveChannelInteraction
from cin_keras.layers.interleave import interleave, separate
from cin_keras.losses import ContrastiveLoss, PartRankingLoss, SoftmaxCrossentropy
from cin_keras.models.backbones import any_size_backbone, dtype_policy_scope
from cin_keras.models.classifier import (
    Classifier,
    check_input_shape,
    check_kept,
    height_and_width,
)
from cin_keras.models.embedding import Embedding
from cin_keras.models.interactions import (
    build_interaction,
    check_contrast,
    check_interaction,
    pool_interacted,
)
from cin_keras.models.pair_batch import interleave_pair, interleave_targets, is_pair
from cin_keras.models.parts.anchors import check_room, part_anchors
from cin_keras.models.parts.cropping import PartCrops
from cin_keras.models.parts.navigator import Navigator
from cin_keras.models.parts.suppression import PartChoice

# Those that compare pairs: MAMC compares several attentions, which NTS has none of.
OWN_CONTRASTS = (None, "embedding", "cci")


@keras.saving.register_keras_serializable(package="cin_keras")
class NTS(Classifier):
    """A classifier that looks again at the parts of an image that tell most.

    The backbone's map of the whole image, its gradient stopped, goes to the Navigator, which scores
    boxes of three sizes and three shapes; `parts` of them that hardly overlap are cut out, brought
    to `part_size` and go through the same backbone. The Teacher classifies every part by itself,
    the Scrutinizer the whole image together with the first `concatenated` parts, which is the
    prediction. Training minimises the cross-entropies of the Scrutinizer, of the whole image alone
    and of the parts (their mean), and the `cin_keras.losses.PartRankingLoss` of the Navigator's
    scores, in which a part is better the less the Teacher errs on it; all four weigh the same. Yang
    et al., ECCV 2018 (arXiv:1809.00287).

    With an `interaction`, whole image and parts are described by the spatial mean of `Z` in place
    of the map's own; the Navigator goes on seeing the map before it. With a `contrast` the model
    learns from pairs, as `CIN` does: the contrastive loss compares the whole images of a pair, and
    `alpha` times that joins the four terms. The CIN paper has a row of such a network, NTS+CIN,
    whose text was not to be had: that the parts interact, too, that the Navigator sees `X`, and that
    the contrast is that of the whole images, is chosen here.

    The model is compiled on construction as `CIN` is, and `compile` takes any other optimizer, loss
    (for all three classifiers) and metrics (of the Scrutinizer). An inference costs about
    `1 + concatenated / 4` times the backbone's, a training step `1 + parts / 4`.

    Args:
        num_classes: Int ≥ 2.
        backbone: As for `CIN`; it sees images of two sizes, the whole and `part_size`, which the
            layers of a supplied model must take. Defaults to `"resnet50"`.
        weights: As for `CIN`. Defaults to `"imagenet"`.
        input_shape: `(height, width, 3)`, ints, as the anchors are constants; `(3, height, width)`
            with channels_first. Defaults to `(448, 448, 3)`, for which there are 1,614 anchors
            after a backbone of stride 32.
        feature_layer: As for `CIN`. Defaults to `None`.
        parts: Int ≥ 1, chosen in training. Defaults to 6.
        concatenated: Int from 1 to `parts`, those that the prediction sees. Defaults to 4.
        part_size: Int or `(height, width)` in pixels, of a part as the backbone sees it, or `None`
            for half the image's. Defaults to `None`.
        overlap: Float in (0, 1], intersection over union from which two boxes are not both chosen.
            Defaults to 0.25.
        alpha: As for `CIN`. Defaults to 2.0.
        margin: As for `CIN`. Defaults to 0.5.
        embedding_dim: As for `CIN`. Defaults to 512.
        scale: As for `CIN`. Defaults to 1.0.
        dropout: Float in [0, 1), dropped before all three classifiers. Defaults to 0.5.
        classifier_activation: As for `CIN`. Defaults to `None`.
        name: Str. Defaults to `None`.
        interaction: As for `CIN`. Defaults to `None`.
        contrast: `None`, `"embedding"` or, for `"sci"` and `"pos_sci"`, `"cci"`, as for `CIN`.
            Defaults to `None`, and `fit` takes single images.
        class_names: As for `CIN`. Defaults to `None`.
        image_size: As for `CIN`. Defaults to `None`.
        settings: As for `CIN`. Defaults to `None`.
        temperature: As for `CIN`. Defaults to 1.0.
        hierarchy: As for `CIN`. Defaults to `None`.
        dtype: As for `CIN`. Defaults to `None`.

    Input shape:
        `(batch, height, width, 3)`, RGB from 0 to 255, any dtype; in training with a contrast, pair
        batches as for `CIN`, without one these as well.

    Output shape:
        `(batch, num_classes)`, float32. Called with `training=True`, a dict of that, `outputs`, of
        `whole` `(batch, num_classes)`, `parts` `(batch, parts, num_classes)`, `scores`
        `(batch, parts)` and, with a contrast, `embeddings` `(pairs, 2, embedding_dim)`.

    Raises:
        ValueError, TypeError, FileNotFoundError, ConnectionError: As for `CIN`; ValueError, too, for
            images so small that not even `parts` anchors stand apart.

    Attributes:
        backbone: The model from images of any size to features, for freezing, as for `CIN`.
        anchors: Array `(boxes, 4)`, all boxes: top, left, bottom, right in pixels.
        interaction: As for `CIN`.
        contrast: As for `CIN`.
        class_names, image_size, settings, temperature, hierarchy: As for `CIN`.
        data_format, layers, inference_layers: As for `CIN`.

    Example:

    ```python
    samples = cin_keras.data.drawn_cars(images_per_class=10, image_size=128)
    images = cin_keras.data.image_dataset(samples, image_size=128, shuffle=True)
    model = cin_keras.NTS(
        samples.num_classes, "mobilenet", None, (128, 128, 3), feature_layer="conv_pw_11_relu"
    )
    model.fit(images)
    model.predict(images).shape  # (120, 12)
    ```
    """

    def __init__(
        self,
        num_classes,
        backbone="resnet50",
        weights="imagenet",
        input_shape=(448, 448, 3),
        feature_layer=None,
        parts=6,
        concatenated=4,
        part_size=None,
        overlap=0.25,
        alpha=2.0,
        margin=0.5,
        embedding_dim=512,
        scale=1.0,
        dropout=0.5,
        classifier_activation=None,
        name=None,
        *,
        interaction=None,
        contrast=None,
        class_names=None,
        image_size=None,
        settings=None,
        temperature=1.0,
        hierarchy=None,
        dtype=None,
    ):
        num_classes = check_int("num_classes", num_classes, least=2)
        parts = check_int("parts", parts, least=1)
        concatenated = check_int("concatenated", concatenated, least=1, most=parts)
        overlap = check_number("overlap", overlap, above=0, most=1)
        alpha = check_number("alpha", alpha, least=0)
        margin = check_number("margin", margin, above=0)
        embedding_dim = check_int("embedding_dim", embedding_dim, least=1)
        scale = check_number("scale", scale, above=0)
        dropout = check_number("dropout", dropout, least=0, below=1)
        input_shape = check_input_shape(input_shape)
        data_format = keras.config.image_data_format()
        size = height_and_width(input_shape, data_format)
        if None in size:
            raise ValueError(
                "NTS needs a fixed input size, as its anchors are constants: give `input_shape` a "
                f"height and a width. Received: input_shape={input_shape}"
            )
        half = tuple(max(side // 2, 1) for side in size)
        crop_size = half if part_size is None else check_size("part_size", part_size)
        given = dict(locals())  # every argument, under its name
        check_kept(given)
        check_interaction(interaction, weights, scale=scale)
        check_choice("contrast", contrast, OWN_CONTRASTS)
        check_contrast(contrast, interaction, "average")
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())

        # === Layers and functional model ===
        with dtype_policy_scope(policy):
            images = keras.Input(input_shape, name="images", dtype="float32")
            backbone_model = any_size_backbone(backbone, images, weights, feature_layer)
            features = backbone_model(images)
            anchors = part_anchors(size, height_and_width(features.shape[1:], data_format))
            check_room(anchors, parts, overlap, size)
            navigator = Navigator(name="navigator")
            choice = PartChoice(anchors, parts, overlap, name="part_choice")
            crops = PartCrops(crop_size, name="part_crops")
            interaction_layer = build_interaction(interaction, features, scale=scale)
            pooling = keras.layers.GlobalAveragePooling2D(name="pooling")
            drop = keras.layers.Dropout(dropout, name="dropout")

            def classifier(name):
                return keras.layers.Dense(
                    num_classes, activation=classifier_activation, dtype="float32", name=name
                )

            scrutinizer, teacher, whole = map(
                classifier, ("classifier", "part_classifier", "whole_classifier")
            )

            def describe(maps):
                z = maps if interaction_layer is None else interaction_layer(maps)
                return pool_interacted(z, pooling)

            # The prediction sees the first of the parts alone.
            boxes, _ = choice(navigator(ops.stop_gradient(features)))
            part_images = crops((images, boxes[:, :concatenated]))
            part_features = describe(_maps_of_parts(backbone_model, part_images, part_size, size))
            channels = part_features.shape[1]
            part_features = ops.reshape(part_features, (-1, concatenated * channels))
            described = ops.concatenate([part_features, describe(features)], axis=1)
            super().__init__(images, scrutinizer(drop(described)), name=name)

            # === Training only ===
            for layer in (teacher, whole):
                layer.build((None, channels))
            contrast_layer = embedding = None
            if contrast == "cci":
                contrast_layer = ContrastiveChannelInteraction(
                    interaction_layer,
                    pooling="avg",
                    kernel_initializer="zeros",
                    name="contrastive_channel_interaction",
                )
                contrast_layer.build([features.shape, features.shape])
            if contrast is not None:
                embedding = Embedding(embedding_dim, dtype="float32", name="embedding")
                embedding.build((None, channels))
        self.dtype_policy = policy
        self.backbone = backbone_model
        self.anchors = anchors
        self.navigator = navigator
        self.choice = choice
        self.crops = crops
        self.interaction = interaction_layer
        self.pooling = pooling
        self.dropout = drop
        self.classifier = scrutinizer
        self.part_classifier = teacher
        self.whole_classifier = whole
        self.contrast = contrast_layer
        self.embedding = embedding
        self.teacher_loss = SoftmaxCrossentropy(classifier_activation is None, reduction=None)
        self.ranking_loss = PartRankingLoss()
        self.contrastive_loss = ContrastiveLoss(margin)
        terms = ["classification_loss", "ranking_loss"]
        terms += ["contrastive_loss"] if contrast else []
        self.training_trackers = [keras.metrics.Mean(name=term) for term in terms]

        self.finish(given)

    # === Layers ===

    @property
    def nested_backbones(self):
        """The backbone, if it was given by name: it is one layer, as it sees two sizes of images."""
        return [self.backbone] if self.backbone_name else []

    # === Forward ===

    def call(self, inputs, training=None, mask=None, paired=False):
        # JAX's trainer calls this method with the pair itself, not through __call__.
        if is_pair(inputs):
            inputs, paired = interleave_pair(inputs), True
        if not training and not paired:
            return super().call(inputs, training=training, mask=mask)
        images = ops.cast(inputs, "float32")
        maps = self.backbone(images, training=training)
        boxes, scores = self.choice(self.navigator(ops.stop_gradient(maps)))
        part_maps = self.backbone(self.crops((images, boxes)), training=training)
        if self.contrast is not None and paired:
            contrasted, plain = self.contrast(separate(maps), return_self_interaction=True)
            whole = interleave(list(plain))
        else:
            whole = self._describe(maps)
            contrasted = separate(whole) if paired else None
        channels = whole.shape[-1]
        parts = ops.reshape(self._describe(part_maps), (-1, self.parts, channels))
        described = ops.concatenate([parts, whole[:, None, :]], axis=1)
        described = self.dropout(described, training=training)
        parts, whole = described[:, : self.parts], described[:, self.parts]
        seen = ops.concatenate([parts[:, : self.concatenated], whole[:, None, :]], axis=1)
        outputs = {
            "outputs": self.classifier(ops.reshape(seen, (-1, (self.concatenated + 1) * channels))),
            "whole": self.whole_classifier(whole),
            "parts": self.part_classifier(parts),
            "scores": scores,
        }
        if self.embedding is not None and paired:
            outputs["embeddings"] = ops.stack([self.embedding(z) for z in contrasted], axis=1)
        return outputs

    def _describe(self, maps):
        """The spatial mean of `Z`, or of the map, `(batch, channels)`."""
        z = maps if self.interaction is None else self.interaction(maps)
        return pool_interacted(z, self.pooling)

    # === Training: the four terms, and the contrast ===

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Three cross-entropies, the ranking and `alpha · L_cont`, plus layer penalties."""
        if not isinstance(y_pred, dict):  # in evaluation
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        labels, weights = y, sample_weight
        if is_pair(x):
            labels, weights = interleave_targets(y, sample_weight)
        divisor = self.replicas.loss_divisor
        penalties = sum(ops.sum(penalty) for penalty in self.losses) / divisor
        of_parts = self._for_every_part(labels), self._for_every_part(weights)
        part_scores = ops.reshape(y_pred["parts"], (-1, self.num_classes))
        # Each comes with the penalties.
        classification = sum(
            super(NTS, self).compute_loss(x, *targets, training=training) - penalties
            for targets in (
                (labels, y_pred["outputs"], weights),
                (labels, y_pred["whole"], weights),
                (of_parts[0], part_scores, of_parts[1]),
            )
        )
        teacher = self.teacher_loss(of_parts[0], ops.stop_gradient(part_scores))
        ranking = self.ranking_loss(
            ops.reshape(teacher, (-1, self.parts)), y_pred["scores"], weights
        )
        terms = [classification, ranking]
        loss = classification + ranking + penalties
        if self.embedding is not None:
            terms.append(self._contrastive_term(y, y_pred["embeddings"], sample_weight))
            loss = loss + self.alpha * terms[-1]
        images = ops.shape(y_pred["scores"])[0]
        for tracker, term in zip(self.training_trackers, terms, strict=True):
            tracker.update_state(divisor * term, images)
        return loss

    def _for_every_part(self, values):
        """Labels or weights of images for their parts, which stand next to each other."""
        return None if values is None else ops.repeat(values, self.parts, axis=0)


def _maps_of_parts(backbone, parts, part_size, size):
    """The backbone's maps of parts; ValueError where they are too small for it, say."""
    try:
        return backbone(parts)
    except ValueError as error:
        height, width = height_and_width(parts.shape[1:], keras.config.image_data_format())
        raise ValueError(
            f"The backbone does not take parts of {height}×{width} pixels: give another "
            f"`part_size`, such as {size}, that of the images, which it takes. "
            f"Received: part_size={part_size}"
        ) from error
