import pytest

from cin_keras.measuring.costs import per_image
from cin_keras.measuring.systems import systems_table

OWN = {"plain": per_image([0.2], [0.2], 1), "CIN": per_image([0.3], [0.2], 1)}
RESULTS = {name: {"one image": numbers} for name, numbers in OWN.items()}


@pytest.mark.parametrize("published", [None, {"plain": 12.5, "CIN": 20.0}])
def test_a_column_is_there_where_something_is_in_it(published):
    beside = ["", ""] if published is None else [" paper, ms/image | ratio |", " 20.0 | 1.60 |"]
    head, _, _, row = systems_table(RESULTS, published, "plain").splitlines()
    assert head == f"| | one image, ms/image | ratio |{beside[0]}"
    assert row == f"| CIN | 300 (300–300) | 1.50 |{beside[1]}"
