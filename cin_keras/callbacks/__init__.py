"""Training callbacks: runs that survive an interruption, and files that are always whole."""

from cin_keras.callbacks.interrupt import InterruptBetweenBatches
from cin_keras.callbacks.keep_best import KeepBest
from cin_keras.callbacks.save_history import SaveHistory
from cin_keras.callbacks.stop_on_non_finite import NonFiniteLoss, StopOnNonFinite
from cin_keras.callbacks.training_state import SaveTrainingState
