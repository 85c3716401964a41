import pytest

from cin_keras.training.devices import on_devices


@pytest.mark.parametrize("several", [False, True])
def test_one_device_is_its_own_chief(capsys, several):
    with on_devices(several) as devices:
        assert (devices.count, devices.is_chief, devices.shard) == (1, True, None)
        print("heard")
    out = capsys.readouterr().out
    assert out.endswith("heard\n") and out.startswith("Devices(") == several


def test_a_mistake_is_one_sentence(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}}')
    with pytest.raises(SystemExit, match="error: Over several hosts, use JAX, or PyTorch"):
        with on_devices(True):
            pass
