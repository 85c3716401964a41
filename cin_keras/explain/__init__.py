"""What a trained `CIN` looks at: maps of its channels and of its decisions, drawn and scored."""

from cin_keras.explain.class_contrast import ClassContrast, class_contrast, class_contrast_map
from cin_keras.explain.overlay import overlay, upsample
