import numpy as np
import pytest

from cin_keras.explain import embedding_contrast_map
from cin_keras.gallery.embedder import Embedder
from cin_keras.models import Whitening
from tests.explain.networks import explained_cin, images_of
from tests.explain.test_class_contrast import INTERACTIONS
from tests.reference import assert_close


@pytest.mark.every_backend
@pytest.mark.parametrize("whitened", [True, False])
@pytest.mark.parametrize("interaction", INTERACTIONS)
def test_the_map_shares_out_the_difference_of_the_cosines(interaction, whitened, untraced):
    model, images = explained_cin(interaction), images_of()
    if whitened:
        rng, width = np.random.default_rng(0), model.dropout.output.shape[-1]
        model.whitening = Whitening(rng.normal(size=width), rng.normal(size=(width, 4)))
    embed = Embedder(model, image_size=images.shape[1])
    own, others = embed(images), embed(images_of(seed=1))
    maps = embedding_contrast_map(model, images, np.roll(own, 1, axis=0), others)
    assert maps.shape == (3, 4, 4) and maps.dtype == np.float32
    expected = np.sum(own * (np.roll(own, 1, axis=0) - others), axis=1)
    assert_close(maps.mean(axis=(1, 2), dtype="float64"), expected, 1e-3, absolute=1e-4)
    maps = embedding_contrast_map(model, images, own)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), 1, atol=1e-4)


def test_what_does_not_fit():
    model, images = explained_cin(), images_of()
    with pytest.raises(ValueError, match=r"`others` must be finite numbers of shape \(3, 6\)"):
        embedding_contrast_map(model, images, np.zeros((3, 6)), np.zeros((3, 5)))
    with pytest.raises(ValueError, match="`embeddings` must be finite"):
        embedding_contrast_map(model, images, np.full((3, 6), np.nan))
    with pytest.raises(ValueError, match="embedding_contrast_map needs a map.*'osme'"):
        embedding_contrast_map(explained_cin("osme"), images, np.zeros((3, 6)))
