"""Oxford-IIIT Pet: 7,349 photographs of 37 breeds of cats and dogs.

Parkhi, Vedaldi, Zisserman, Jawahar, "Cats and Dogs", CVPR 2012.
"""

from cin_keras.checks import check_choice
from cin_keras.data.loaders.listings import check_photographs, existing_file, find_folder, read_list
from cin_keras.data.samples import Samples

_LISTS = {"train": "trainval.txt", "test": "test.txt"}


def oxford_iiit_pet(data_dir, split="train"):
    """Lists Oxford-IIIT Pet as its two archives unpack.

    ```
    data_dir/images/Abyssinian_1.jpg …
    data_dir/annotations/trainval.txt, test.txt
    ```

    Args:
        data_dir: Path of the folder that holds the above, or of the one around it, which then has
            it as `oxford-iiit-pet`.
        split: `"train"` (3,680 photographs in the original, the list `trainval.txt`) or `"test"`
            (3,669). Defaults to `"train"`.

    Returns:
        `Samples`: labels from 0 in the order of the lists' class numbers, and class names such as
        `"american bulldog"`, as the names of the files have them.

    Raises:
        ValueError: If `split` is neither, or the lists contradict each other.
        FileNotFoundError: If a list or photograph is missing; it names them.

    Example:

    ```python
    train = cin_keras.data.oxford_iiit_pet("data/oxford-iiit-pet", "train")
    ```
    """
    check_choice("split", split, _LISTS)
    root = find_folder(data_dir, "Oxford-IIIT Pet", "annotations", ["oxford-iiit-pet"])
    names, numbers = {}, {}
    for part, file in _LISTS.items():
        path = existing_file(root / "annotations" / file)
        for image, values in read_list(path).items():
            number, name = values.split()[0], image.rpartition("_")[0].replace("_", " ")
            if not number.isdecimal() or not name:
                raise ValueError(
                    f"{path} must hold lines of a photograph such as Abyssinian_100 and the number "
                    f"of its class. Received: {f'{image} {values}'!r}"
                )
            if names.setdefault(int(number), name) != name:
                raise ValueError(
                    f"{path} gives {image} the class {number}, which {names[int(number)]!r} has"
                )
            if part == split:
                numbers[image] = int(number)
    label_of = {number: label for label, number in enumerate(sorted(names))}
    files = [f"{image}.jpg" for image in numbers]
    list_file = root / "annotations" / _LISTS[split]
    # A few photographs of the archive are in neither list.
    check_photographs(root / "images", files, list_file, all_listed=False)
    return Samples(
        paths=[str(root / "images" / file) for file in files],
        labels=[label_of[number] for number in numbers.values()],
        class_names=[names[number] for number in sorted(names)],
    )
