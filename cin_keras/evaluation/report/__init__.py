"""`report.html`: a page that says what a model was trained on and what it can do."""

from cin_keras.evaluation.report.page import write_report
