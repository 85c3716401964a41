"""Which weights are φ's, ψ's and the Navigator's, whatever a user's own layers around are called."""

ROLES = ("phi", "psi", "navigator")


def give_role(layer, role):
    """Marks the weights of a built layer as those of `role`, one of `ROLES`."""
    for weight in layer.weights:
        weight.role = role
