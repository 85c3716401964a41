"""Pictures of what was measured: names down the side, panels beside each other."""

from cin_keras.files import save_figure

GREY, ORANGE, GREEN = "#8a8f98", "#d0925a", "#5a9a6e"
BLUE, LIGHT_BLUE = "#2f6f9f", "#74a9c9"


def panels(width, height, count, **kwargs):
    """A figure with panels side by side.

    Args:
        width: Float, in inches.
        height: Float, in inches.
        count: Int, how many panels.
        **kwargs: Of Matplotlib's `Figure.subplots`.

    Returns:
        `(figure, axes)`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    return figure, figure.subplots(1, count, **kwargs)


def name_rows(axis, names):
    """Names down the side, the first on top."""
    axis.set_yticks(range(len(names)), list(names))
    axis.invert_yaxis()


def save_open(figure, path):
    """Saves a figure whose panels are open above and to the right."""
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    return save_figure(figure, path)
