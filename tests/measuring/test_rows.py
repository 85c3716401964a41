import pytest

from cin_keras.measuring.rows import NTS_ROWS, OF_THE_PAPER, RATES, ROWS, SHARES, own_settings
from cin_keras.models import TRAINING_RATES


def test_rows_of_the_paper_are_asked_for_without_a_name():
    assert set(OF_THE_PAPER) < set(ROWS)
    assert {"plain", "SE", "CIN", "MAMC", *NTS_ROWS} <= set(OF_THE_PAPER)
    assert not {"CIN, own φ", "plain, decay"} & set(OF_THE_PAPER)


OF_ALL = {name: rate for name, rate in TRAINING_RATES.items() if name != "navigator"}


@pytest.mark.parametrize("row", RATES)
def test_rates_of_a_row_are_for_descent(row):
    assert own_settings(row, "mobilenet")["rates"] == OF_ALL | RATES[row]
    assert own_settings(row, "small")["rates"] == OF_ALL


def test_only_nts_has_a_navigator():
    assert own_settings("NTS+CIN", "mobilenet")["rates"] == TRAINING_RATES
    assert own_settings("CIN", "mobilenet")["rates"] == OF_ALL


@pytest.mark.parametrize("backbone", ["mobilenet", "small"])
def test_shares_of_the_recipe_hold_for_every_network(backbone):
    for row, recipe in SHARES.items():
        found = own_settings(row, backbone)
        assert found["recipe"] == recipe and found["arguments"] == ROWS["plain"]
    assert ("recipe" in own_settings("bilinear", backbone)) == (backbone != "small")
    assert "recipe" not in own_settings("CIN", backbone)
