"""Pictures of a training run and of a model's mistakes, written as PNG files."""

from cin_keras.evaluation.figures.curves import learning_curves
from cin_keras.evaluation.figures.matrix import confusion_matrix
from cin_keras.evaluation.figures.mistakes import worst_mistakes
