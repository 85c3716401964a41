"""How a training run went, epoch by epoch."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cin_keras.files import save_figure

# Colours of Okabe and Ito, which stay apart for colour-blind readers; the line styles and markers
# differ too.
LOSS_STYLES = {
    "loss": ("training, total", "#0072B2", "-", "o"),
    "classification_loss": ("training, classification", "#009E73", "--", "s"),
    "contrastive_loss": ("training, contrastive", "#CC79A7", ":", "D"),
    "val_loss": ("validation", "#D55E00", "-", "^"),
}
ACCURACY_STYLES = {
    "accuracy": ("training", "#0072B2", "-", "o"),
    "val_accuracy": ("validation", "#D55E00", "-", "^"),
}


def learning_curves(history, path):
    """Draws the losses and the accuracies of a training run, epoch by epoch.

    Args:
        history: Dict from str to a list with one number an epoch, as `History.history` of
            `keras.Model.fit`. Drawn are `loss`, `classification_loss`, `contrastive_loss` and
            `val_loss` (any numbers), `accuracy` and `val_accuracy` (0 to 1); any of them may be
            missing, other keys are left out, and NaN leaves a gap.
        path: Str or path, the PNG file to write; its folder is created.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        ValueError: If `history` has none of these keys or no epoch, or the lists differ in
            length.

    Example:

    >>> import tempfile
    >>> history = {"loss": [5.3, 3.1, 1.2], "val_accuracy": [0.1, 0.6, 0.8]}
    >>> learning_curves(history, tempfile.mkdtemp() + "/curves.png").name
    'curves.png'
    """
    curves, epochs = checked_curves(history)
    figure = Figure(figsize=(11, 4.8), dpi=150, layout="constrained")
    figure.get_layout_engine().set(wspace=0.06)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    draw_losses(loss_axes, curves, epochs)
    draw_accuracies(accuracy_axes, curves, epochs)
    return save_figure(figure, path)


def checked_curves(history):
    """The numbers of `learning_curves`, key → array, and how many epochs they cover."""
    curves = {
        key: np.asarray(history[key], "float64")
        for key in (*LOSS_STYLES, *ACCURACY_STYLES)
        if key in history
    }
    lengths = {key: len(values) for key, values in curves.items()}
    if not any(lengths.values()):
        raise ValueError(
            f"`history` must hold at least one epoch of {', '.join(LOSS_STYLES)}, "
            f"{' or '.join(ACCURACY_STYLES)}. Received keys: {list(history)}"
        )
    if len(set(lengths.values())) > 1:
        raise ValueError(
            "The lists in `history` must have one value an epoch (NaN where there is none). "
            f"Received lengths: {lengths}"
        )
    return curves, max(lengths.values())


def draw_losses(axes, curves, epochs):
    """Draws the losses among `curves`, with a title and, beneath, the legend."""
    draw_curves(axes, curves, LOSS_STYLES, epochs)
    axes.set_title("Loss")
    draw_legend(axes)


def draw_accuracies(axes, curves, epochs):
    """Draws the accuracies among `curves` in %, the best on validation images encircled."""
    percent = {key: 100 * values for key, values in curves.items()}
    draw_curves(axes, percent, ACCURACY_STYLES, epochs)
    axes.set_title("Accuracy in %")
    validation = percent.get("val_accuracy", np.array([]))
    if np.isfinite(validation).any():
        best = int(np.nanargmax(validation))
        axes.plot(
            best + 1,
            validation[best],
            linestyle="none",
            marker="o",
            markersize=13,
            markerfacecolor="none",
            markeredgecolor="black",
            markeredgewidth=1.5,
            label=f"best validation: {validation[best]:.2f}% (epoch {best + 1})",
        )
    draw_legend(axes)


def draw_legend(axes):
    """A legend beneath the panel, where no curve can run through it."""
    if axes.lines:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False)


def draw_curves(axes, curves, styles, epochs):
    """Draws those of `curves` (key → values, one an epoch) that `styles` lists."""
    for key, (label, colour, line, marker) in styles.items():
        if key in curves:
            axes.plot(
                np.arange(1, epochs + 1),
                curves[key],
                label=label,
                color=colour,
                linestyle=line,
                marker=marker,
                markersize=5 if epochs <= 30 else 2.5,
                linewidth=1.6,
            )
    if not axes.lines:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color="0.4")
        axes.set_yticks([])
    axes.set_xlabel("epoch")
    axes.set_xlim(0.5, epochs + 0.5)
    axes.xaxis.set_major_locator(
        MaxNLocator(nbins=12, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
