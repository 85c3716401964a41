"""What a model's predictions are worth: numbers, figures, and a page that a person can read."""

from cin_keras.evaluation import figures
from cin_keras.evaluation.accuracy import (
    accuracy_in_words,
    evaluate_predictions,
    wilson_interval,
)
from cin_keras.evaluation.calibration import (
    calibrated,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from cin_keras.evaluation.report import write_report
from cin_keras.evaluation.results import write_results
from cin_keras.evaluation.retrieval import recall_at_1
