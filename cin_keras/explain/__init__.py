"""What a trained `CIN` or `NTS` looks at: maps of its channels and of its decisions, drawn and scored."""

from cin_keras.explain.channel_maps import ChannelMaps, channel_figure, channel_maps
from cin_keras.explain.channel_ranking import ChannelRanking, channel_ranking, ranking_figure
from cin_keras.explain.chosen_parts import ChosenParts, chosen_parts, parts_figure
from cin_keras.explain.class_contrast import (
    ClassContrast,
    class_contrast,
    class_contrast_figure,
    class_contrast_map,
)
from cin_keras.explain.embedding_contrast import embedding_contrast_map
from cin_keras.explain.grad_cam import grad_cam
from cin_keras.explain.overlay import overlay, upsample
from cin_keras.explain.pair_contrast import PairContrast, pair_contrast, pair_contrast_figure
