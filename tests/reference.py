"""The design's equations as loops over positions and channels, in float64 NumPy.

Nothing here is shared with the package: the code under test is compared with this.
"""

import numpy as np


def interaction_weights(x, scale=1.0, positive=False, similarity="dot"):
    """W of one feature map `(height, width, channels)`."""
    height, width, channels = x.shape
    if similarity != "dot":
        x = x.copy()
        for i in range(channels):
            constant = similarity == "correlation" and np.ptp(x[:, :, i]) == 0
            if similarity == "correlation":
                x[:, :, i] -= x[:, :, i].sum() / (height * width)
            length = np.sqrt(np.sum(x[:, :, i] ** 2))
            x[:, :, i] = 0.0 if constant or length == 0 else x[:, :, i] / length
    sign = 1.0 if positive else -1.0
    weights = np.zeros((channels, channels))
    for i in range(channels):
        logits = np.zeros(channels)
        for j in range(channels):
            for row in range(height):
                for column in range(width):
                    logits[j] += x[row, column, i] * x[row, column, j]
        exponentials = np.exp(sign * scale * logits - np.max(sign * scale * logits))
        weights[i] = exponentials / exponentials.sum()
    return weights


def mix(weights, x):
    """Y = W X."""
    y = np.zeros_like(x)
    for i in range(x.shape[2]):
        for j in range(x.shape[2]):
            y[:, :, i] += weights[i, j] * x[:, :, j]
    return y


def convolve(x, kernel, bias):
    """φ: "same" convolution; an even kernel has its longer side at the bottom and right."""
    height, width, _ = x.shape
    kernel_height, kernel_width = kernel.shape[:2]
    output = np.zeros((height, width, kernel.shape[3])) + bias
    for row in range(height):
        for column in range(width):
            for a in range(kernel_height):
                for b in range(kernel_width):
                    p = row + a - (kernel_height - 1) // 2
                    q = column + b - (kernel_width - 1) // 2
                    if 0 <= p < height and 0 <= q < width:
                        output[row, column] += x[p, q] @ kernel[a, b]
    return output


def self_channel_interaction(x, kernel, bias, scale=1.0, positive=False, similarity="dot"):
    """Z = φ(W X) + X."""
    weights = interaction_weights(x, scale, positive, similarity)
    return convolve(mix(weights, x), kernel, bias) + x


def non_local(x, theta, phi, g, w_z):
    """The non-local block on one map; each argument is a linear map, `(kernel, bias)`."""
    height, width, channels = x.shape
    positions = [x[row, column] for row in range(height) for column in range(width)]
    z = []
    for i in positions:
        logits = np.array([(i @ theta[0] + theta[1]) @ (j @ phi[0] + phi[1]) for j in positions])
        weights = np.exp(logits - logits.max())
        weights /= weights.sum()
        y = sum(weight * (j @ g[0] + g[1]) for weight, j in zip(weights, positions, strict=True))
        z.append(y @ w_z[0] + w_z[1] + i)
    return np.array(z).reshape(height, width, channels)


def bilinear_pooling(a, b):
    """Signed root and length 1 of the summed outer products of two maps of one image."""
    products = np.zeros((a.shape[2], b.shape[2]))
    for row in range(a.shape[0]):
        for column in range(a.shape[1]):
            for i in range(a.shape[2]):
                for j in range(b.shape[2]):
                    products[i, j] += a[row, column, i] * b[row, column, j]
    rooted = np.sign(products) * np.sqrt(np.abs(products))
    return rooted.reshape(-1) / np.sqrt(np.sum(rooted**2))


def covariance_root(x, iterations=None):
    """Upper triangle of the root of the channels' covariance, of one map `(height, width, channels)`.

    Exact, or what Newton-Schulz iterations make of it: each acts on every eigenvalue by itself.
    """
    height, width, channels = x.shape
    mean, covariance = np.zeros(channels), np.zeros((channels, channels))
    for row in range(height):
        for column in range(width):
            mean += x[row, column] / (height * width)
    for row in range(height):
        for column in range(width):
            for i in range(channels):
                for j in range(channels):
                    deviations = (x[row, column, k] - mean[k] for k in (i, j))
                    covariance[i, j] += np.prod(list(deviations)) / (height * width)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    roots = np.sqrt(np.maximum(eigenvalues, 0.0))
    if iterations is not None:
        total = eigenvalues.sum()
        for k, eigenvalue in enumerate(eigenvalues):
            y, z = eigenvalue / total, 1.0
            for _ in range(iterations):
                y, z = y * (3 - z * y) / 2, z * (3 - z * y) / 2
            roots[k] = np.sqrt(total) * y
    root = (vectors * roots) @ vectors.T
    return np.array([root[i, j] for i in range(channels) for j in range(i, channels)])


def mean_and_deviation(x):
    """Means of the channels of one map, then their standard deviations."""
    means, deviations = [], []
    for channel in range(x.shape[2]):
        values = [x[row, column, channel] for row, column in np.ndindex(x.shape[:2])]
        means.append(sum(values) / len(values))
        squares = [(value - means[-1]) ** 2 for value in values]
        deviations.append((sum(squares) / len(values)) ** 0.5)
    return np.array(means + deviations)


def compact_generalized_non_local(x, theta, phi, g, w_z, gamma, beta, epsilon=1e-5):
    """CGNL on one map; θ, φ, g as `(channels, inner)`, W_z as `(groups, inner, outer)` of a group."""
    height, width, channels = x.shape
    groups, inner, outer = w_z.shape
    positions = [x[row, column] for row in range(height) for column in range(width)]
    z = np.zeros((len(positions), channels))
    for group in range(groups):
        within = slice(group * inner, (group + 1) * inner)
        attention = 0.0
        for position in positions:
            for a, b in zip((position @ phi)[within], (position @ g)[within], strict=True):
                attention += a * b
        y = np.array(
            [attention * (position @ theta)[within] @ w_z[group] for position in positions]
        )
        z[:, group * outer : (group + 1) * outer] = (y - y.mean()) / np.sqrt(y.var() + epsilon)
    return (z * gamma + beta).reshape(x.shape) + x


def one_squeeze_multi_excitation(x, attentions):
    """`(attentions, units)` of one map; of each its three linear maps, `(kernel, bias)`."""
    mean = np.zeros(x.shape[2])
    for row, column in np.ndindex(x.shape[:2]):
        mean += x[row, column] / (x.shape[0] * x.shape[1])
    features = []
    for (reduce, reduce_bias), (gate, gate_bias), (project, project_bias) in attentions:
        gates = np.maximum(mean @ reduce + reduce_bias, 0) @ gate + gate_bias
        gated = np.zeros_like(x)
        for row, column in np.ndindex(x.shape[:2]):
            gated[row, column] = x[row, column] / (1 + np.exp(-gates))
        features.append(gated.mean(axis=(0, 1)) @ project + project_bias)
    return np.array(features)


def multi_attention_multi_class(labels, features):
    """What the anchors of every image cost on average, `(batch,)`, of `(batch, attentions, n)`."""
    anchors = [
        (image, attention)
        for image in range(features.shape[0])
        for attention in range(features.shape[1])
    ]
    f = {a: features[a] / np.sqrt(np.sum(features[a] ** 2)) for a in anchors}
    costs = np.zeros(features.shape[:2])
    for anchor in anchors:
        kinds = {(s, c): [] for s in (True, False) for c in (True, False)}
        for other in anchors:
            if other != anchor:
                same_class = labels[other[0]] == labels[anchor[0]]
                kinds[other[1] == anchor[1], same_class].append(other)
        sasc, sadc = kinds[True, True], kinds[True, False]
        dasc, dadc = kinds[False, True], kinds[False, False]
        for positives, negatives in ((sasc, sadc + dasc + dadc), (sadc, dadc), (dasc, dadc)):
            for p in positives:
                near = f[anchor] @ f[p]
                costs[anchor] += np.log(1 + sum(np.exp(f[anchor] @ f[n] - near) for n in negatives))
    return costs.mean(axis=1)


def part_anchors(image_size, stride):
    """Boxes of three levels as `(row, column, height, width)` of their middles, row by row."""
    boxes = []
    for level, scales in enumerate(([1, 2], [1, 2], [0, 1, 2])):
        step = stride * 2**level
        for row in range(-(-image_size // step)):
            for column in range(-(-image_size // step)):
                for power in scales:
                    for ratio in (0.667, 1.0, 1.5):
                        side = 1.5 * step * 2 ** (power / 3)
                        sides = side / ratio**0.5, side * ratio**0.5
                        boxes.append((step / 2 + row * step, step / 2 + column * step, *sides))
    return np.array(boxes)


def overlap(a, b):
    """Intersection over union of two boxes, `(top, left, bottom, right)`."""
    height = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    width = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return height * width / (sum(areas) - height * width)


def choose_parts(scores, boxes, parts, threshold):
    """Indices that greedy non-maximum suppression keeps, then the best of the others."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    kept = []
    for i in order:
        if all(overlap(boxes[i], boxes[j]) < threshold for j in kept):
            kept.append(i)
    return (kept + [i for i in order if i not in kept])[:parts]


def crop(image, box, size):
    """A box of one image `(height, width, channels)`, corners aligned, zero beyond the border."""
    result = np.zeros((*size, image.shape[2]))
    for k, m in np.ndindex(*size):
        place = [
            box[axis] + n * (box[axis + 2] - box[axis] - 1) / max(size[axis] - 1, 1)
            for axis, n in ((0, k), (1, m))
        ]
        corner = [int(np.floor(x)) for x in place]
        for down, across in np.ndindex(2, 2):
            row, column = corner[0] + down, corner[1] + across
            share = (1 - abs(place[0] - row)) * (1 - abs(place[1] - column))
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                result[k, m] += share * image[row, column]
    return result


def part_ranking(teacher_losses, scores, margin=1.0):
    """What the Navigator's scores of one image's parts cost."""
    cost = 0.0
    for i, j in np.ndindex(len(scores), len(scores)):
        if teacher_losses[j] > teacher_losses[i]:
            cost += max(0.0, margin - scores[i] + scores[j])
    return cost


def contrastive_channel_interaction(
    x_a, x_b, kernel, bias, psi_kernel, psi_bias, scale=1.0, flatten=False, normalize=False
):
    """Z'_A and Z'_B."""

    def describe(y):
        return y.reshape(-1) if flatten else y.mean(axis=(0, 1))

    w_a, w_b = interaction_weights(x_a, scale), interaction_weights(x_b, scale)
    y_a, y_b = describe(mix(w_a, x_a)), describe(mix(w_b, x_b))
    eta = float(np.concatenate([y_a, y_b]) @ psi_kernel[:, 0] + psi_bias[0])
    gamma = float(np.concatenate([y_b, y_a]) @ psi_kernel[:, 0] + psi_bias[0])
    w_ab, w_ba = np.abs(w_a - eta * w_b), np.abs(w_b - gamma * w_a)
    if normalize:
        for w in (w_ab, w_ba):
            for i in range(len(w)):
                w[i] /= sum(w[i])
    z_a = convolve(mix(w_ab, x_a), kernel, bias) + x_a
    z_b = convolve(mix(w_ba, x_b), kernel, bias) + x_b
    return z_a, z_b


def pair_losses(embeddings, same_class, margin):
    """ℓ of every pair, `(pairs,)`."""
    losses = []
    for (e_a, e_b), same in zip(embeddings, same_class, strict=True):
        distance = np.sqrt(np.sum((e_a - e_b) ** 2))
        losses.append(distance**2 if same else max(0.0, margin - distance) ** 2)
    return np.array(losses)


def cross_entropy(logits, label):
    """Softmax cross-entropy of one image."""
    shifted = logits - logits.max()
    return np.log(np.exp(shifted).sum()) - shifted[label]


def training_loss(pairs, labels, parameters, alpha, margin, scale):
    """L = L_soft + α L_cont of a network whose backbone is one 1×1 convolution with bias.

    Args:
        pairs: Images, `(pairs, 2, height, width, 3)`, from 0 to 255.
        labels: Class numbers, `(pairs, 2)`.
        parameters: Dict of the arrays named below.
        alpha: α.
        margin: β.
        scale: s.

    Returns:
        `(L, L_soft, L_cont)`.
    """
    p = parameters
    classification, embeddings = [], []
    for pair, pair_labels in zip(pairs, labels, strict=True):
        features = [image / 255.0 @ p["backbone_kernel"] + p["backbone_bias"] for image in pair]
        for x, label in zip(features, pair_labels, strict=True):
            z = self_channel_interaction(x, p["phi_kernel"], p["phi_bias"], scale).mean(axis=(0, 1))
            logits = z @ p["classifier_kernel"] + p["classifier_bias"]
            classification.append(cross_entropy(logits, label))
        contrasted = contrastive_channel_interaction(
            *features, p["phi_kernel"], p["phi_bias"], p["psi_kernel"], p["psi_bias"], scale
        )
        embedded = [z.mean(axis=(0, 1)) @ p["embedding_kernel"] for z in contrasted]
        embeddings.append([e / np.sqrt(np.sum(e**2)) for e in embedded])
    same_class = [a == b for a, b in labels]
    soft = np.mean(classification)
    contrastive = np.mean(pair_losses(np.array(embeddings), same_class, margin))
    return soft + alpha * contrastive, soft, contrastive


def gradient(function, parameters, step=1e-5):
    """Central differences of `function(parameters)` for every number in a dict of arrays."""
    gradients = {}
    for name, array in parameters.items():
        gradients[name] = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            changed = {key: value.copy() for key, value in parameters.items()}
            changed[name][index] = array[index] + step
            above = function(changed)
            changed[name][index] = array[index] - step
            gradients[name][index] = (above - function(changed)) / (2 * step)
    return gradients


def assert_close(actual, expected, relative=1e-4, absolute=1e-6):
    """To `relative` of the expected tensor's maximum, with an absolute floor."""
    actual, expected = np.asarray(actual, "float64"), np.asarray(expected, "float64")
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    tolerance = relative * np.abs(expected).max() + absolute
    worst = np.abs(actual - expected).max()
    assert worst <= tolerance, f"differs by {worst:.3g}, allowed {tolerance:.3g}"
