import pytest

from cin_keras.data import find_data_set, find_layout, find_splits, oxford_iiit_pet
from tests.data.small_sets import write_files, write_oxford_iiit_pet


@pytest.fixture
def folder(tmp_path):
    return write_oxford_iiit_pet(tmp_path / "oxford-iiit-pet")


def test_train_and_test(folder):
    train = oxford_iiit_pet(folder)
    assert train.class_names == ("Abyssinian", "american bulldog")
    assert train.labels.tolist() == [0, 1]
    assert train.paths[1] == str(folder / "images" / "american_bulldog_3.jpg")
    test = oxford_iiit_pet(folder.parent, "test")
    assert test.class_names == train.class_names
    assert test.labels.tolist() == [1, 0] and test.read(0).size == (4, 4)


def test_it_is_found(folder):
    write_files(folder, *(f"images/Abyssinian_{i}.jpg" for i in range(30, 40)))
    with open(folder / "annotations" / "trainval.txt", "a") as file:
        file.writelines(f"Abyssinian_{i} 1 1 1\n" for i in range(30, 40))
    for root in (folder, folder.parent):
        assert find_layout(root) == "oxford_iiit_pet"
        assert find_data_set(root, "test").paths == oxford_iiit_pet(folder, "test").paths
        assert find_splits(root)["test"].labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    "lines, message",
    [
        ("Abyssinian_1 one 1 1", "and the number of its class. Received: 'Abyssinian_1 one 1 1'"),
        ("Abyssinian 1 1 1", "lines of a photograph such as Abyssinian_100"),
        ("Abyssinian_1 2 1 1", "gives american_bulldog_1 the class 2, which 'Abyssinian' has"),
        ("Abyssinian_77 1 1 1", "1 of the 1 photographs .* are not in .*: Abyssinian_77.jpg"),
        ("Abyssinian_1", "Line 1 of .* must hold two entries"),
    ],
)
def test_contradictions(folder, lines, message):
    (folder / "annotations" / "trainval.txt").write_text(lines)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        oxford_iiit_pet(folder)


def test_what_is_missing(folder, tmp_path):
    (folder / "annotations" / "test.txt").unlink()
    with pytest.raises(FileNotFoundError, match="Missing file: .*test.txt"):
        oxford_iiit_pet(folder)
    with pytest.raises(ValueError, match="`split` must be 'train' or 'test'. Received: split='val"):
        oxford_iiit_pet(folder, "val")
    with pytest.raises(FileNotFoundError, match="No folder for Oxford-IIIT Pet"):
        oxford_iiit_pet(tmp_path / "nowhere")
