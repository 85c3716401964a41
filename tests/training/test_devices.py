import argparse

import pytest

from cin_keras.training import devices_of

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize("distribute", [False, True])
def test_one_device_is_its_own_chief(capsys, distribute):
    with devices_of(argparse.Namespace(distribute=distribute)) as devices:
        assert (devices.count, devices.is_chief, devices.shard) == (1, True, None)
        print("heard")
    out = capsys.readouterr().out
    assert out.endswith("heard\n") and out.startswith("Devices(") == distribute


def test_a_mistake_is_one_sentence(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}}')
    with pytest.raises(SystemExit, match="error: Over several hosts, use PyTorch"):
        with devices_of(argparse.Namespace(distribute=True)):
            pass
