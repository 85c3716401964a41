"""The Channel Interaction Network (CIN).

Gao et al., "Channel Interaction Networks for Fine-Grained Image Categorization", AAAI 2020
(arXiv:2003.05235). Beyond the paper: embeddings are normalised to length 1, so that a margin means
the same for every backbone; φ and ψ start at zero, so that training starts from the plain
pretrained network. Other interactions and contrasts in place of the paper's make the rows of its
comparisons. Defaults are what measured best, or as well as anything else, on photographs of cars
(recipes/README.md, "ablation"), the paper's or its one public implementation's where nothing was
better.
"""

import math

import keras
from keras import ops

from cin_keras.checks import check_bool, check_int, check_number
from cin_keras.layers import ContrastiveChannelInteraction
from cin_keras.layers.feature_map import check_fixed_size
from cin_keras.layers.interleave import interleave, separate
from cin_keras.losses import ContrastiveLoss, MultiAttentionMultiClassLoss, class_numbers
from cin_keras.models.backbones import (
    build_backbone,
    build_second_backbone,
    check_names_differ,
    dtype_policy_scope,
)
from cin_keras.models.classifier import Classifier, check_input_shape, check_kept
from cin_keras.models.embedding import Embedding
from cin_keras.models.folded_prediction import FoldedPrediction
from cin_keras.models.interactions import (
    OPTIONS,
    build_interaction,
    check_contrast,
    check_interaction,
    pool_interacted,
)
from cin_keras.models.pair_batch import (
    choose_pairs,
    interleave_pair,
    interleave_targets,
    is_pair,
    take_pairs,
    unpack_pair_batch,
)


@keras.saving.register_keras_serializable(package="cin_keras")
class CIN(Classifier):
    """A classifier for things that look almost the same, trained on pairs of images.

    Inference: backbone → self-channel interaction → spatial mean → linear classifier. Training
    adds, on every pair, the contrastive channel interaction, an embedding of `embedding_dim`
    numbers and the contrastive loss: `L = L_soft + alpha · L_cont`, `L_soft` over all `2 N`
    images, `L_cont` the mean over the `N` pairs. Gao et al., AAAI 2020 (arXiv:2003.05235).

    The model is compiled on construction, so that `fit` works at once: `LayerwiseSGD` with momentum
    0.9, weight decay 0.005 (of kernels; as PyTorch's 5e-4) and a rate that falls by half a cosine
    over the epochs of each `fit`; softmax cross-entropy with label smoothing 0.1; accuracy,
    weighted if the data are. `compile` takes any other optimizer, classification loss and metrics.
    Made inside
    `cin_keras.distribution.distribute()`, it trains on several devices.

    Args:
        num_classes: Int ≥ 2.
        backbone: A name from `cin_keras.models.backbone_names()`, with its preprocessing built
            in, or a Keras model with one 4-D output, which gets the images as they come, 0 to
            255. Defaults to `"resnet50"`.
        weights: The backbone's weights: `"imagenet"` (downloaded once by Keras), `None` (random),
            or the path of a weights file, for the whole backbone or for the part up to
            `feature_layer`. A supplied model keeps its own weights for `"imagenet"` and `None`.
            Defaults to `"imagenet"`.
        input_shape: `(height, width, 3)`; height and width may be `None`. With
            channels_first as Keras' image data format: `(3, height, width)`. Defaults to
            `(448, 448, 3)`.
        feature_layer: Name of the backbone's layer whose output interacts, or `None` for its
            output. Defaults to `None`.
        alpha: Float ≥ 0, weight of the contrastive loss, if there is a `contrast`. Defaults to
            2.0; 0.5 and 0.1 gave the same accuracy, within the spread between seeds, 8.0 much
            less.
        margin: Float > 0, from which distance on negative pairs cost nothing; embeddings have
            length 1, so distances lie in [0, 2]. Defaults to 0.5, with which a short training got
            further than with 1.0.
        embedding_dim: Int, length of the embeddings. Defaults to 512.
        scale: Float > 0, scale of the logits of `"sci"` and `"pos_sci"`. Defaults to 1.0, the
            paper's, which did no worse than 0.03 and better than a learned one.
        dropout: Float in [0, 1), dropped before the classifier. Defaults to 0.0.
        classifier_activation: `None` for logits or `"softmax"` for probabilities. Defaults to
            `None`.
        name: Str. Defaults to `None`.
        descriptor: What ψ and the embedding see of a feature map: `"average"` or `"flatten"`
            (every position, needs a fixed input size). Defaults to `"average"`.
        pooled: Bool. `True` computes the spatial means of `Z` and `Z'` without ever forming the
            maps; `False` is the long form as the paper writes it, with the same numbers, in which
            the interaction's output is the map `Z`. Defaults to `True`.
        block_rows: Int ≥ 1, how many rows of the `channels × channels` interaction weights exist
            at a time, or `None` for all. With 256, say, training needs less memory and more
            arithmetic, for the same numbers. Defaults to `None`.
        interaction: What stands between backbone and classifier. `"sci"`: the paper's self-channel
            interaction; `"pos_sci"`: the same with the sign turned; `"phi"`: `φ(X) + X`, no
            interaction but the same weights; `"non_local"`: the non-local block (Wang et al.,
            CVPR 2018); `"cgnl"`: its compact generalized form (Yue et al., NeurIPS 2018), after the
            last map where the authors put it before the last block of ResNet's fourth stage, in
            eight groups or as many as divide the channels; `"osme"`: two attentions (Sun et al.,
            ECCV 2018) on spatial means, as every position would take 822 million weights at 448
            pixels, of which the classifier sees the sum;
            `"squeeze_excite"`: KerasCV's `SqueezeAndExcite2D`; in place of the spatial mean
            `"bilinear"`: bilinear pooling (Lin et al., ICCV 2015), `"covariance"`: the square root
            of the channels' covariance (iSQRT-COV; Li et al., CVPR 2018) and
            `"mean_and_deviation"`: mean and standard deviation of every channel over positions;
            `None`: nothing, which is plain fine-tuning. Defaults to `"sci"`.
        contrast: What the contrastive loss compares. `"cci"`: embeddings of `Z'`, the paper's
            contrastive channel interaction, for `"sci"` and `"pos_sci"`; `"embedding"`: embeddings
            of `Z` itself, the paper's SCI+Cont; `"mamc"`: the attentions of `"osme"`, by
            `cin_keras.losses.MultiAttentionMultiClassLoss` over all images of a batch, which has no
            margin (its authors have `alpha=0.5`); `None`: no contrastive loss, and `fit` takes
            single images as well as pairs. Defaults to `"cci"`, which is what makes it a CIN; where it was
            measured, `"embedding"` was as good or better.
        similarity: How alike two channels are, for `"sci"` and `"pos_sci"`: `"dot"` (the paper's),
            `"cosine"` or `"correlation"`; see `cin_keras.layers.SelfChannelInteraction`. Defaults
            to `"dot"`, which was clearly better than both at a scale of 10.
        learnable_scale: Bool, whether `scale` is where a trained number starts. Defaults to `False`.
        phi_initializer: Initializer of φ's kernel, for `"sci"`, `"pos_sci"` and `"phi"`, as are
            `pooled` and `phi_kernel_size`. `"zeros"` starts from the plain network;
            `"glorot_uniform"` is Keras' default, for the paper, which names none. Defaults to
            `"zeros"`.
        phi_kernel_size: Int or two ints, height and width of φ's kernel, for `"sci"`, `"pos_sci"`
            and `"phi"`. The paper has 3; 1 has a ninth of the weights, which is most of what CIN
            costs beyond its backbone at small sizes. Defaults to 3.
        projection_dim: Int ≥ 1, to how many channels `"bilinear"` and `"covariance"` project each
            map before they multiply channels, or `None` for no projection, which gives `channels²`
            numbers an image, or for a covariance half as many. Defaults to `None`.
        second_backbone: For `"bilinear"`, a second network as for `backbone`, whose output has the
            same height and width, or `None` to multiply the one map with itself. A name gets
            `weights="imagenet"` or `None` as the first does. Defaults to `None`.
        partner: What `"cci"` and `"embedding"` compare an image with. `"given"`: with the other of
            its pair, as in the paper; `"hardest"`: a negative pair's first image with the image of
            another class in the batch whose spatial mean is most like its own (by cosine), positive
            pairs as given; `"all"`: every image with every other of the batch, of `n` images
            `n (n − 1) / 2` comparisons, each of which costs `"cci"` two matrices of
            `channels × channels`. On one device alone but for `"given"`. Defaults to `"given"`.
        normalize_rows: Bool, whether `"cci"` divides the rows of `|W_A − η W_B|` by their sums.
            Defaults to `False`, as in the paper; for all three see
            `cin_keras.layers.ContrastiveChannelInteraction`.
        own_phi: Bool, whether `Z'` of `"cci"` has a φ of its own. Defaults to `False`, as in the
            paper.
        phi_gradient: Bool, whether φ learns from the contrastive loss of `"cci"`, too. Defaults to
            `True`, as in the paper.
        class_names: List of str, all different, the name of every class, or `None`. Defaults to
            `None`.
        image_size: Int or `(height, width)`, in pixels, the size at which photographs are shown
            to a network that takes any size; for a fixed `input_shape` it is that. Defaults to
            `None`, the input's size if it is fixed.
        settings: Dict of what JSON can hold, how the model was trained, or `None` for `{}`.
            Defaults to `None`.
        temperature: Float > 0, by which logits are divided where probabilities are made of them:
            by the command line, the report and what `export` writes. `predict` gives what it
            always gives. A run fits it on the validation photographs; see
            `cin_keras.evaluation.fit_temperature`. Defaults to 1.0, no change.
        hierarchy: Dict from the name of a level, the coarsest first, to a list of str, one a class,
            the group that the class is in, such as `{"make": ["Audi", "Audi", "BMW"]}`; or `None`.
            With it the command line and the report tell of groups where a class is unsure.
            Defaults to `None`.
        dtype: Dtype policy of all layers made here, such as `"mixed_bfloat16"`; outputs stay
            float32. Defaults to `None`, the global policy.

    Input shape:
        `(batch, height, width, 3)`, RGB from 0 to 255, any dtype; in training, pair batches
        `((images_a, images_b), (labels_a, labels_b))`, optionally with `(weights_a, weights_b)`,
        each `(pairs, ...)`; labels are class numbers from 0 or one-hot.

    Output shape:
        `(batch, num_classes)`, float32.

    Raises:
        ValueError, TypeError, FileNotFoundError, ConnectionError: For arguments out of range and
            backbones that cannot be had; the sentence names what was received.

    Attributes:
        backbone: The model from images to features, for freezing: `model.backbone.trainable =
            False` before the first `fit`, or followed by `compile`.
        second_backbone: The second model from images to features, or `None`.
        interaction: The layer between backbone and classifier, such as a
            `cin_keras.layers.SelfChannelInteraction`, or `None`.
        contrast: The `ContrastiveChannelInteraction`, in training only, or `None`.
        class_names: List of str, or `None`. This and the next four can be set at any time and
            travel inside the `.keras` file and what `export` writes.
        image_size: `(height, width)`, or `None` if the network takes any size and nobody said.
        settings: Dict.
        temperature: Float.
        hierarchy: Dict, or `None`.
        data_format: `"channels_last"` or `"channels_first"`.
        layers: List of all layers: those of the graph from images to scores, and before the last of
            them, the classifier, those of training alone, ψ with its contrast and the embedding.
        inference_layers: List of those of the graph alone, which `export` writes.

    Example:

    ```python
    samples = cin_keras.data.drawn_cars(images_per_class=10, image_size=64)
    pairs = cin_keras.data.pair_dataset(samples, image_size=64, pairs_per_batch=8)
    model = cin_keras.CIN(
        samples.num_classes, backbone="mobilenet", weights=None, input_shape=(64, 64, 3)
    )
    model.fit(pairs)
    model.predict(cin_keras.data.image_dataset(samples, image_size=64)).shape  # (120, 12)

    plain = cin_keras.CIN(12, "mobilenet", None, (64, 64, 3), interaction=None, contrast=None)
    ```
    """

    def __init__(
        self,
        num_classes,
        backbone="resnet50",
        weights="imagenet",
        input_shape=(448, 448, 3),
        feature_layer=None,
        alpha=2.0,
        margin=0.5,
        embedding_dim=512,
        scale=1.0,
        dropout=0.0,
        classifier_activation=None,
        name=None,
        *,
        descriptor="average",
        pooled=True,
        block_rows=None,
        interaction="sci",
        contrast="cci",
        similarity="dot",
        learnable_scale=False,
        phi_initializer="zeros",
        phi_kernel_size=3,
        projection_dim=None,
        second_backbone=None,
        partner="given",
        normalize_rows=False,
        own_phi=False,
        phi_gradient=True,
        class_names=None,
        image_size=None,
        settings=None,
        temperature=1.0,
        hierarchy=None,
        dtype=None,
    ):
        num_classes = check_int("num_classes", num_classes, least=2)
        embedding_dim = check_int("embedding_dim", embedding_dim, least=1)
        alpha = check_number("alpha", alpha, least=0)
        margin = check_number("margin", margin, above=0)
        scale = check_number("scale", scale, above=0)
        dropout = check_number("dropout", dropout, least=0, below=1)
        pooled = check_bool("pooled", pooled)
        learnable_scale = check_bool("learnable_scale", learnable_scale)
        input_shape = check_input_shape(input_shape)
        cci = {
            "normalize_rows": check_bool("normalize_rows", normalize_rows),
            "own_phi": check_bool("own_phi", own_phi),
            "phi_gradient": check_bool("phi_gradient", phi_gradient),
        }
        given = dict(locals())  # every argument, under its name
        check_kept(given)
        options = {name: given[name] for name in OPTIONS}
        check_interaction(interaction, weights, **options)
        check_contrast(contrast, interaction, descriptor, partner, **cci)
        given["phi_initializer"] = options["phi_initializer"] = keras.initializers.get(phi_initializer)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        # A contrast that sees every position needs the map that the classifier does not.
        options["pooled"] = pooled and not (contrast == "embedding" and descriptor == "flatten")

        # === Layers and functional model ===
        with dtype_policy_scope(policy):
            images = keras.Input(input_shape, name="images", dtype="float32")
            backbone_model, features = build_backbone(backbone, images, weights, feature_layer)
            second_model, maps = None, features
            if second_backbone is not None:
                second_model, second = build_second_backbone(second_backbone, images, weights)
                check_names_differ(backbone_model, second_model)
                maps = (features, second)
            interaction_layer = build_interaction(interaction, features, **options)
            pooling = keras.layers.GlobalAveragePooling2D(name="pooling")
            drop = keras.layers.Dropout(dropout, name="dropout")
            classifier = keras.layers.Dense(
                num_classes,
                activation=classifier_activation,
                dtype="float32",
                name="classifier",
            )
            z = features if interaction_layer is None else interaction_layer(maps)
            z_pooled = pool_interacted(z, pooling)
            super().__init__(images, classifier(drop(z_pooled)), name=name)

            # === Training only ===
            contrast_layer = embedding = None
            if contrast == "cci":
                contrast_layer = ContrastiveChannelInteraction(
                    interaction_layer,
                    pooling="avg" if pooled and descriptor == "average" else None,
                    descriptor=descriptor,
                    kernel_initializer="zeros",
                    **cci,
                    name="contrastive_channel_interaction",
                )
                contrast_layer.build([features.shape, features.shape])
            if contrast in ("embedding", "cci"):
                embedding = Embedding(embedding_dim, dtype="float32", name="embedding")
                seen = features if contrast == "cci" else z
                described = seen.shape[1:] if descriptor == "flatten" else z_pooled.shape[1:]
                check_fixed_size(described)
                embedding.build((None, math.prod(described)))
        self.dtype_policy = policy
        if type(self) is CIN:  # a class derived from it may compute something else
            self._folded_prediction = FoldedPrediction()
        self.backbone = backbone_model
        self.second_backbone = second_model
        self.interaction = interaction_layer
        self.pooling = pooling
        self.dropout = drop
        self.classifier = classifier
        self.contrast = contrast_layer
        self.embedding = embedding
        self.contrastive_loss = (
            MultiAttentionMultiClassLoss() if contrast == "mamc" else ContrastiveLoss(margin)
        )
        self.training_trackers = []
        self._pair_labels = None  # of the images of a step, for `partner`
        if contrast is not None:
            self.training_trackers = [
                keras.metrics.Mean(name="classification_loss"),
                keras.metrics.Mean(name="contrastive_loss"),
            ]

        # === Config ===
        self.second_backbone_name = second_backbone if isinstance(second_backbone, str) else None
        self.finish(given)

    # === Layers ===

    @property
    def nested_backbones(self):
        """The second backbone, if it was given by name; the first one's layers are the model's."""
        return [self.second_backbone] if self.second_backbone_name else []

    # === Forward ===

    def call(self, inputs, training=None, mask=None, paired=False):
        # JAX's trainer calls this method with the pair itself, not through __call__.
        if is_pair(inputs):
            inputs, paired = interleave_pair(inputs), True
        if not paired:
            return super().call(inputs, training=training, mask=mask)
        images = ops.cast(inputs, "float32")
        features = self.backbone(images, training=training)
        partners = None
        if self.partner != "given":
            partners = choose_pairs(self.partner, self._pool(features), self._pair_labels)
        if self.contrast is not None and partners is None:
            # Both interactions of a pair in one call: they share `W`, `W X` and φ's product.
            contrasted, plain = self.contrast(separate(features), return_self_interaction=True)
            pooled = interleave([self._pool(z) for z in plain])
        else:
            z = self._interact(features, images, training)
            pooled = self._pool(z)
            if self.contrast is not None:
                contrasted = self.contrast(take_pairs(features, partners))
            else:
                contrasted = separate(z) if partners is None else take_pairs(z, partners)
        outputs = {"outputs": self.classifier(self.dropout(pooled, training=training))}
        if self.embedding is not None:
            outputs["embeddings"] = ops.stack([self._embed(z) for z in contrasted], axis=1)
        elif self.contrast_name == "mamc":
            outputs["embeddings"] = z
        if partners is not None:
            outputs["partners"] = partners
        return outputs

    def _interact(self, features, images, training):
        """`Z`, or its spatial mean, of single images without contrast."""
        if self.interaction is None:
            return features
        if self.second_backbone is not None:
            features = (features, self.second_backbone(images, training=training))
        return self.interaction(features, training=training)

    def _pool(self, z):
        return pool_interacted(z, self.pooling)

    def _embed(self, z):
        """`h(Z')`, `(pairs, embedding_dim)`, of length 1."""
        described = self._pool(z) if self.descriptor == "average" else z
        return self.embedding(ops.reshape(described, (-1, self.embedding.kernel.shape[0])))

    # === Training: the pair mathematics ===

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """`L_soft + alpha · L_cont` plus layer penalties for a pair batch, else Keras' own."""
        if not is_pair(x):
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        labels, weights = interleave_targets(y, sample_weight)
        loss = super().compute_loss(x, labels, y_pred["outputs"], weights, training)
        if self.contrast_name is None:
            return loss
        penalties = [ops.sum(penalty) for penalty in self.losses]
        if self.contrast_name == "mamc":
            contrastive_loss = self.contrastive_loss(labels, y_pred["embeddings"], weights)
        else:
            if (partners := y_pred.get("partners")) is not None:
                y = take_pairs(labels, partners)
                sample_weight = None if weights is None else take_pairs(weights, partners)
            contrastive_loss = self._contrastive_term(y, y_pred["embeddings"], sample_weight)
        pairs = ops.shape(x[0])[0]
        divisor = self.replicas.loss_divisor
        values = divisor * loss - sum(penalties), divisor * contrastive_loss
        for tracker, value in zip(self.training_trackers, values):
            tracker.update_state(value, pairs)
        return loss + self.alpha * contrastive_loss

    def train_step(self, *args):
        """As of every classifier; the classes of the images are known to `call`, for `partner`."""
        if self.partner == "given":
            return super().train_step(*args)
        *state, data = args
        data = unpack_pair_batch(data)
        self._pair_labels = interleave([class_numbers(part, self.num_classes) for part in data[1]])
        try:
            return super().train_step(*state, data)
        finally:
            self._pair_labels = None

    # === Saving ===

    def get_config(self):
        second = self.second_backbone_name
        if second is None and self.second_backbone is not None:
            second = keras.saving.serialize_keras_object(self.second_backbone)
        return {
            **super().get_config(),
            "second_backbone": second,
            "phi_initializer": keras.initializers.serialize(self.phi_initializer),
        }
