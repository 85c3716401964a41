import pytest
from scipy.stats import binomtest

from cin_keras.evaluation import wilson_interval

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize(
    "right, images", [(0, 1), (1, 1), (7, 12), (0, 40), (40, 40), (1329, 1635)]
)
def test_the_interval_is_that_of_scipy(right, images):
    expected = binomtest(right, images).proportion_ci(0.95, method="wilson")
    low, high = wilson_interval(right, images)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= right / images <= high <= 1


def test_certainty_is_never_claimed():
    assert wilson_interval(0, 0) == (0, 1)
    low, high = wilson_interval(10, 10)
    assert high == 1 and low == pytest.approx(1 - wilson_interval(0, 10)[1]) and low < 0.75
    assert wilson_interval(0, 10)[0] == 0


@pytest.mark.parametrize("right, images", [(-1, 3), (4, 3), (1, 0)])
def test_impossible_numbers_are_refused(right, images):
    with pytest.raises(ValueError, match=f"Received: right={right}, images={images}"):
        wilson_interval(right, images)
