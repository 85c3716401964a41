"""A page that a person can read: what a model was trained on, what it can do and what not."""

from cin_keras.report.confidence import wilson_interval
from cin_keras.report.write import write_report
