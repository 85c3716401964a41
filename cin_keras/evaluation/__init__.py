"""What a model's predictions are worth: numbers, figures, and a page that a person can read."""

from cin_keras.evaluation.accuracy import evaluate_predictions, softmax
from cin_keras.evaluation.confidence import wilson_interval
from cin_keras.evaluation.report import write_report
