"""The rows of the comparison (`recipes/ablation.py`): what each is, and what it needs of its own."""

from cin_keras.models import CIN, NTS, TRAINING_RATES

# The arguments of NTS.
NTS_ROWS = {"NTS": {}, "NTS+CIN": {"interaction": "sci", "contrast": "cci"}}
# Every row is one line: the arguments of CIN.
ROWS = {
    "plain": {"interaction": None, "contrast": None},
    "SE": {"interaction": "squeeze_excite", "contrast": None},
    "non-local": {"interaction": "non_local", "contrast": None},
    "CGNL": {"interaction": "cgnl", "contrast": None},
    "MAMC": {"interaction": "osme", "contrast": "mamc", "alpha": 0.5},
    "bilinear": {"interaction": "bilinear", "contrast": None, "projection_dim": 64},
    "covariance": {"interaction": "covariance", "contrast": None, "projection_dim": 64},
    "mean+deviation": {"interaction": "mean_and_deviation", "contrast": None},
    "phi": {"interaction": "phi", "contrast": None},
    "Pos-SCI": {"interaction": "pos_sci", "contrast": None},
    "SCI": {"interaction": "sci", "contrast": None},
    "SCI+Cont": {"interaction": "sci", "contrast": "embedding"},
    "CIN": {"interaction": "sci", "contrast": "cci"},
    **NTS_ROWS,
}
# What else was tried, of SCI and of the contrast.
VARIANTS = {
    "plain+Cont": {"interaction": None, "contrast": "embedding"},
    "plain+Cont, hardest": {"interaction": None, "contrast": "embedding", "partner": "hardest"},
    "plain+Cont, all pairs": {"interaction": None, "contrast": "embedding", "partner": "all"},
    "covariance+Cont": {"interaction": "covariance", "contrast": "embedding", "projection_dim": 64},
    "SCI, scale 0.03": {"scale": 0.03},
    "SCI, learned scale": {"learnable_scale": True},
    "SCI, cosine": {"similarity": "cosine", "scale": 10.0},
    "SCI, correlation": {"similarity": "correlation", "scale": 10.0},
    "SCI, φ Glorot": {"phi_initializer": "glorot_uniform"},
    "SCI, φ 1×1": {"phi_kernel_size": 1},
    "CIN, α 8": {"contrast": "cci", "alpha": 8.0},
    "CIN, α 0.5": {"contrast": "cci", "alpha": 0.5},
    "CIN, α 0.1": {"contrast": "cci", "alpha": 0.1},
    "CIN, β 1": {"contrast": "cci", "margin": 1.0},
    "CIN, slow ψ": {"contrast": "cci"},
    "CIN, φ 1×1": {"contrast": "cci", "phi_kernel_size": 1},
    "CIN, rows of sum 1": {"contrast": "cci", "normalize_rows": True},
    "CIN, own φ": {"contrast": "cci", "own_phi": True},
    "CIN, φ spared": {"contrast": "cci", "phi_gradient": False},
    "CIN, hardest": {"contrast": "cci", "partner": "hardest"},
    "CIN, all pairs": {"contrast": "cci", "partner": "all"},
}
ROWS |= {row: {"interaction": "sci", "contrast": None, **own} for row, own in VARIANTS.items()}
# What each setting of the recipe gives.
SHARES = {
    "plain, neither": {"weight_decay": 0.0, "label_smoothing": 0.0},
    "plain, decay": {"label_smoothing": 0.0},
    "plain, smoothing": {"weight_decay": 0.0},
}
ROWS |= {row: ROWS["plain"] for row in SHARES}
# For descent: bilinear features have length 1, far less than a spatial mean has, so their classifier
# needs a rate near 10 and long weights, through which the backbone then bears 0.001 and no more: a
# twentieth of the others' rate.
# What Pos-SCI mixes is large everywhere: at the usual rate of φ it breaks down.
# ψ at a tenth of its usual rate stays nearer to zero, where CCI is SCI+Cont.
RATES = {
    "bilinear": {"classifier": 10_000.0},
    "Pos-SCI": {"phi": 0.002},
    "CIN, slow ψ": {"psi": 0.001},
}
DIVISORS = {"bilinear": 20}
RECIPES = {"bilinear": {"weight_decay": 1e-5}}
# Those that are trained where none is named: the paper's comparison, and two poolings beside it.
OF_THE_PAPER = [row for row in ROWS if row not in {*VARIANTS, *SHARES}]


def build_row(row, num_classes, **network):
    """The model of a row.

    Args:
        row: Str, of `ROWS`.
        num_classes: Int ≥ 2.
        **network: Further arguments of `CIN`, or of `NTS`.

    Returns:
        `CIN` or `NTS`, compiled.

    Example:

    >>> from cin_keras.models.small_backbone import small_backbone
    >>> build_row("SCI+Cont", 3, backbone=small_backbone(32), input_shape=(32, 32, 3)).alpha
    2.0
    """
    return (NTS if row in NTS_ROWS else CIN)(num_classes, **network, **ROWS[row])


def own_rates(row, rates, backbone):
    """The learning rates to choose from for a row, given those of all rows.

    Args:
        row: Str, of `ROWS`.
        rates: Sequence of floats > 0.
        backbone: Str; all rows of `"small"` have the same.

    Returns:
        List of floats.

    Example:

    >>> own_rates("bilinear", [0.02, 0.1], "mobilenet")
    [0.001, 0.005]
    """
    return [rate / (1 if backbone == "small" else DIVISORS.get(row, 1)) for rate in rates]


def own_settings(row, backbone):
    """What a run of a row depends on beside the settings of all rows.

    Args:
        row: Str, of `ROWS`.
        backbone: Str. AdamW trains `"small"`, which needs no rates nor decay of a row's own.

    Returns:
        Dict: the `arguments` of the row; the `rates` of its layers, factors on the learning rate;
        and, if it has any, the `recipe`, in place of the weight decay or label smoothing of all.

    Example:

    >>> own_settings("plain, decay", "mobilenet")["recipe"]
    {'label_smoothing': 0.0}
    """
    small = backbone == "small"
    # Results of other rows are from before the Navigator had a rate of its own.
    of_all = {k: v for k, v in TRAINING_RATES.items() if k != "navigator" or row in NTS_ROWS}
    rates = of_all | ({} if small else RATES.get(row, {}))
    recipe = SHARES.get(row) or ({} if small else RECIPES.get(row, {}))
    return {"arguments": ROWS[row], "rates": rates, **({"recipe": recipe} if recipe else {})}
