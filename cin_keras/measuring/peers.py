"""The paper's long form in plain PyTorch, as the public toolbox computes it, to be timed beside ours.

`W = softmax(−X Xᵀ)`, `Y = W X` and `φ`, a convolution, over the maps; of a pair two more products by
`|W_A − η W_B|` and two more convolutions, with the same `φ`; then the spatial means. Our own code,
of the arithmetic alone (Hawkeye-FineGrained/Hawkeye, `model/methods/CIN.py`): scale, `ψ` and `h` are
those of `cin_keras.CIN`, so that equal weights give equal numbers.
"""

import keras

MOMENTUM = 0.9


def check_peers():
    """Raises ValueError on another backend than PyTorch."""
    if keras.backend.backend() != "torch":
        raise ValueError(
            "The peers are written in PyTorch: use KERAS_BACKEND=torch. "
            f"Received: the backend {keras.backend.backend()}"
        )


class LongForm:
    """A CIN of the same weights in plain PyTorch: what `time_tasks` needs of a model.

    Args:
        model: `cin_keras.CIN` with SCI and CCI, as made by default but for sizes and weights. Its
            backbone is used as it is, not a copy; the other weights are copied.
        learning_rate: Float > 0, of plain descent with momentum 0.9. Defaults to 0.01.

    Raises:
        ValueError: On another backend than PyTorch.

    Example:

    ```python
    peer = LongForm(cin_keras.CIN(200))  # KERAS_BACKEND=torch
    peer.predict_on_batch(images)
    ```
    """

    contrast_name = "cci"

    def __init__(self, model, learning_rate=0.01):
        check_peers()
        import torch

        def parameter(variable):
            return torch.nn.Parameter(variable.value.detach().clone())

        self.backbone = model.backbone
        self.contrastive_loss, self.alpha = model.contrastive_loss, model.alpha
        kernel, bias = (parameter(variable) for variable in model.interaction.phi.weights)
        self.phi = torch.nn.Parameter(kernel.detach().permute(3, 2, 0, 1).contiguous()), bias
        self.psi = [parameter(variable) for variable in model.contrast.psi.weights]
        self.h = parameter(model.embedding.kernel)
        self.classifier = [parameter(variable) for variable in model.classifier.weights]
        own = [*self.phi, *self.psi, self.h, *self.classifier]
        weights = [variable.value for variable in self.backbone.trainable_variables]
        self.optimizer = torch.optim.SGD([*weights, *own], learning_rate, momentum=MOMENTUM)

    def predict_on_batch(self, images):
        """Logits of images, an array."""
        import torch

        with torch.no_grad():
            maps = self._maps(images, training=False)
            z = self._restore(self._weights(maps) @ maps.flatten(2), maps)
            return self._classify(z).cpu().numpy()

    def train_on_batch(self, pair, labels, return_dict=True):
        """One step on a pair batch; `{"loss": ...}`, before it."""
        loss = self.loss(pair, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.item()}

    def loss(self, pair, labels):
        """The loss of a pair batch, a tensor: cross-entropy and the contrastive term."""
        import torch

        a, b = labels
        maps = self._maps(keras.ops.concatenate(pair), training=True)
        weights = self._weights(maps)
        y = weights @ maps.flatten(2)
        logits = self._classify(self._restore(y, maps))
        described = y.mean(dim=2)
        (x_a, x_b), (w_a, w_b), (y_a, y_b) = (part.chunk(2) for part in (maps, weights, described))
        contrasted = []
        for x, own, others, seen in (
            (x_a, w_a, w_b, (y_a, y_b)),
            (x_b, w_b, w_a, (y_b, y_a)),
        ):
            eta = torch.cat(seen, dim=1) @ self.psi[0] + self.psi[1]
            z = self._restore((own - eta[:, :, None] * others).abs() @ x.flatten(2), x)
            contrasted.append(torch.nn.functional.normalize(z.mean(dim=(2, 3)) @ self.h))
        same = (a == b).to(torch.float32)
        contrastive = self.contrastive_loss(same, torch.stack(contrasted, dim=1))
        together = torch.cat([a, b]).long()
        return torch.nn.functional.cross_entropy(logits, together) + self.alpha * contrastive

    def _maps(self, images, training):
        """`X`, `(batch, channels, height, width)`."""
        maps = self.backbone(images, training=training)
        is_last = keras.config.image_data_format() == "channels_last"
        return maps.permute(0, 3, 1, 2).contiguous() if is_last else maps

    def _weights(self, maps):
        x = maps.flatten(2)
        return (-(x @ x.transpose(1, 2))).softmax(dim=-1)

    def _restore(self, mixed, maps):
        """`φ(mixed) + X`."""
        import torch

        return torch.nn.functional.conv2d(mixed.view_as(maps), *self.phi, padding="same") + maps

    def _classify(self, z):
        kernel, bias = self.classifier
        return z.mean(dim=(2, 3)) @ kernel + bias
