"""A data set of many photographs in few large files, and back."""

import contextlib
import hashlib
import io
import json
import os
import warnings

import numpy as np

from cin_keras.checks import check_choice, check_int, check_path, short
from cin_keras.data.decoding import UnreadableImage
from cin_keras.data.records import Records
from cin_keras.data.samples import Samples, check_samples, fingerprint, state_of
from cin_keras.data.stores import file_state, is_remote, open_file
from cin_keras.files import NOT_WHOLE, remove_partial, whole_file
from cin_keras.progress import progress_bar
from cin_keras.text import first_few

INDEX = "shards.json"
FORMAT = "cin_keras.data.shards 1"
_RECORD_HEADER, _RECORD_FOOTER = 12, 4  # bytes, of a TFRecord
_BESIDE = ("boxes", "bottom_strips", "crops")


def write_shards(samples, folder, *, images_per_shard=5000, on_error="raise", seed=0):
    """Puts photographs into TFRecord files, for data sets of too many files or in object stores.

    The files of the photographs go in as they are, in random order, so that any shard is a random
    part, each as a `tf.train.Example` of `image/encoded`, `image/class/label` and
    `image/filename`: whatever reads TFRecords reads them. Beside them lie `train.npz`, one entry an
    image, with which `from_shards` knows labels and places without reading a shard, and
    `shards.json`. Every file appears whole or not at all; the same call goes on where an earlier one
    was broken off, and writes all anew where a local photograph, or a box, a crop or parts of one, have changed
    since. (Whether an object of a store has changed is not asked.)

    Args:
        samples: `Samples`, or a dict from `"train"`, `"val"` and `"test"` to `Samples` of the same
            classes, such as `find_splits` returns.
        folder: Str or path of the folder, which is made if need be; also an address that
            `tf.io.gfile` can write, `gs://bucket/folder`.
        images_per_shard: Int ≥ 1. 100 to 200 MB a file suit object stores. Defaults to 5000.
        on_error: `"raise"`, or `"skip"` to leave out files that cannot be read, with a warning
            that names them. (Whether they can be decoded, `verify_images` finds out.) Defaults to
            `"raise"`.
        seed: Int ≥ 0, of the order. Defaults to 0.

    Returns:
        `folder` as a str.

    Raises:
        ValueError: If the folder holds anything else; for arguments out of range; if a photograph
            cannot be read.

    Example:

    >>> import tempfile
    >>> cars = cin_keras.data.drawn_cars(images_per_class=2, image_size=32)
    >>> folder = write_shards(cars, tempfile.mkdtemp() + "/shards", images_per_shard=10)
    >>> from_shards(folder)
    Samples(12 classes, 24 images, 2–2 a class)
    """
    splits = samples if isinstance(samples, dict) else {"train": samples}
    for split, part in splits.items():
        check_samples(part)
        check_choice("split", split, ("train", "val", "test"))
    if len({part.class_names for part in splits.values()}) != 1:
        raise ValueError(
            "`samples` must be Samples, or a dict of several of the same classes. "
            f"Received: samples={short(samples)}"
        )
    images_per_shard = check_int("images_per_shard", images_per_shard, least=1)
    check_choice("on_error", on_error, ("raise", "skip"))
    first = next(iter(splits.values()))
    about = {
        "format": FORMAT,
        "samples": fingerprint(*splits.values()),
        "images_per_shard": images_per_shard,
        "seed": check_int("seed", seed, least=0),
        "class_names": list(first.class_names),
        "hierarchy": first.hierarchy and {k: list(v) for k, v in first.hierarchy.items()},
        "shards": None,
        "states": None,
    }
    folder = _address(folder)
    finished = _begin(folder, about)
    shards, states = {}, {}
    for split, part in splits.items():
        order = np.random.default_rng(seed).permutation(len(part))
        pieces = np.split(order, range(images_per_shard, len(part), images_per_shard))
        for number, indices in enumerate(pieces):
            name = f"{split}-{number:05}-of-{len(pieces):05}.tfrecord"
            shards.setdefault(split, {})[name] = indices
            states[name] = _state(part, indices)
    if finished and states == finished["states"]:
        left_out = sum(len(part) - _count(folder, split) for split, part in splits.items())
        if left_out and on_error == "skip":
            warnings.warn(
                f"{left_out} files were left out when {folder} was written.", stacklevel=2
            )
        if not left_out or on_error == "skip":
            return folder
    # Not finished any more, until all is written.
    _write(f"{folder}/{INDEX}", json.dumps(about).encode())
    for split, part in splits.items():
        root = _root(part)
        with progress_bar(len(part), "image") as bar:
            for name, indices in shards[split].items():
                _write_shard(part, indices, f"{folder}/{name}", root, on_error, bar, states[name])
        _write_index(folder, split, shards[split])
    about["states"] = states
    about["shards"] = {
        split: {name: _size(f"{folder}/{name}") for name in names}
        for split, names in shards.items()
    }
    _write(f"{folder}/{INDEX}", json.dumps(about, indent=1).encode())
    for names in shards.values():
        for name in names:
            _remove(f"{folder}/{name}.npz")
    return folder


def from_shards(folder, split="train"):
    """Lists the photographs that `write_shards` put into a folder; nothing is decoded.

    A pipeline reads each where it lies: pairs are drawn from all shards, whatever their order. Of a
    local file that is one read at its place; of an object store, one request an image, many at a
    time.

    Args:
        folder: Str or path of the folder, or its address: `gs://bucket/folder`, or what else
            `tf.io.gfile` reads.
        split: Str, one of those that were written. Defaults to `"train"`.

    Returns:
        `Samples`, whose `encoded` are `cin_keras.data.records.Records`. Their paths are shard and
        name, such as `"shards/train-00000-of-00004.tfrecord/cat/1.jpg"`, which errors name.

    Raises:
        FileNotFoundError: If there is no such folder, or a shard is missing.
        ValueError: If the folder was not finished, has no such split, `shards.json` is damaged, or a
            shard has another size than it had.

    Example:

    ```python
    pairs = cin_keras.data.pair_dataset(cin_keras.data.from_shards("gs://birds/shards"))
    ```
    """
    folder = _address(folder)
    about = _about(folder)
    if about is None:
        if _size(f"{folder}/{INDEX}") is not None:
            raise ValueError(
                f"{folder}/{INDEX} is damaged, or another program's. Write the shards anew, into "
                "another folder."
            )
        raise FileNotFoundError(f"No shards. Received: folder={folder!r}")
    if about["shards"] is None:
        raise ValueError(
            f"The shards in {folder} are not finished: call write_shards again, as before."
        )
    if split not in about["shards"]:
        raise ValueError(
            f"{folder} has the splits {', '.join(map(repr, about['shards']))}. "
            f"Received: split={split!r}"
        )
    shards = about["shards"][split]
    for name, size in shards.items():
        found = _size(f"{folder}/{name}")
        if found is None:
            raise FileNotFoundError(f"A shard is missing: {folder}/{name}")
        if found != size:
            raise ValueError(
                f"{folder}/{name} is damaged: it has {found} bytes, and had {size}. Write the "
                "shards anew."
            )
    if _size(f"{folder}/{split}.npz") is None:
        raise FileNotFoundError(f"The index of the shards is missing: {folder}/{split}.npz")
    index = _load(f"{folder}/{split}.npz")
    names = index["names"].tobytes().decode("utf-8", "surrogateescape").split("\0")
    numbers = index["file_numbers"]
    files = [f"{folder}/{name}" for name in shards]
    parts = json.loads(index["parts"].tobytes()) if "parts" in index else None
    return Samples(
        [f"{files[number]}/{name}" for number, name in zip(numbers.tolist(), names)],
        index["labels"],
        about["class_names"],
        encoded=Records(files, numbers, index["offsets"], index["sizes"]),
        parts=parts,
        hierarchy=about["hierarchy"],
        max_pixels=int(index["max_pixels"]),
        **{name: index[name] for name in _BESIDE if name in index},
    )


def shard_splits(folder):
    """The splits in a folder of shards.

    Args:
        folder: Str or path, or an address.

    Returns:
        List of str, or `None` where no shards are, finished or not.

    Example:

    >>> shard_splits("nowhere")
    """
    about = _about(_address(folder))
    return about and list(about["shards"] or ["train"])


# === Writing ===


def _address(folder):
    """A folder as a str, without a slash at the end of an address, where it would be part of a name."""
    check_path("folder", folder)
    folder = str(folder)
    return folder.rstrip("/") if is_remote(folder) else folder


def _count(folder, split):
    """How many photographs of a split there are."""
    return len(_load(f"{folder}/{split}.npz")["labels"])


def _begin(folder, about):
    """Makes the folder, or finds the one that an earlier call with the same arguments began."""
    before = _about(folder)
    if before is not None:
        same = {**before, "shards": None, "states": None} == json.loads(json.dumps(about))
        if not same:
            raise ValueError(
                f"{folder} holds the shards of other photographs, or in files of another size or "
                "order: choose another folder, or remove it."
            )
        return before if before["shards"] and _are_whole(folder, before["shards"]) else None
    if is_remote(folder):
        from tensorflow.io import gfile

        there = gfile.listdir(folder) if gfile.exists(folder) else []
    else:
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise ValueError(f"`folder` must be a folder. Received: folder={folder!r}, a file")
        os.makedirs(folder, exist_ok=True)
        there = os.listdir(folder)
    if there:
        raise ValueError(
            f"`folder` must be new or empty. Received: folder={folder!r}, where "
            f"{first_few(sorted(there))} is"
        )
    _write(f"{folder}/{INDEX}", json.dumps(about).encode())


def _are_whole(folder, shards):
    """Whether all files of a finished folder are there, undamaged or as large as they were."""
    try:
        for split in shards:
            _load(f"{folder}/{split}.npz")
    except (FileNotFoundError, ValueError):
        return False
    sizes = {name: size for names in shards.values() for name, size in names.items()}
    return all(_size(f"{folder}/{name}") == size for name, size in sizes.items())


def _state(samples, indices):
    """A str that changes with some samples, their photographs as in `state_of`, boxes and the like."""
    samples = samples.subset(indices)
    beside = [getattr(samples, name) for name in (*_BESIDE, "parts")]
    own = json.dumps([state_of(samples), samples.max_pixels, beside], default=_plain)
    return hashlib.sha256(own.encode()).hexdigest()[:12]


def _write_shard(samples, indices, path, root, on_error, bar, state):
    """One shard and, after it, its part of the index, unless both are there, in this state.

    One that an earlier call has left files out of is written anew, where `on_error` is "raise".
    """
    import tensorflow as tf

    if _size(path) is not None and _size(f"{path}.npz") is not None:
        there = _load(f"{path}.npz")
        left_out = len(indices) - len(there["labels"])
        same = there.get("state") == np.array(state)
        if same and (not left_out or on_error == "skip"):
            if left_out:
                was = f"{left_out} files were left out when {path} was written."
                warnings.warn(was, stacklevel=3)
            bar.update(len(indices))
            return
    kept, names, offsets, sizes, skipped = [], [], [], [], []
    with _whole(path) as partial, tf.io.TFRecordWriter(str(partial)) as writer:
        begin = 0
        for i in indices.tolist():
            bar.update()
            try:
                content = samples.encoded_bytes(i)
            except UnreadableImage as error:
                if on_error == "raise":
                    raise
                skipped.append(str(error))
                continue
            name = os.path.relpath(samples.paths[i], root) if root else samples.paths[i]
            record = _example(content, int(samples.labels[i]), name)
            writer.write(record)
            kept.append(i)
            names.append(name)
            offsets.append(begin + _RECORD_HEADER + record.find(content))
            sizes.append(len(content))
            begin += _RECORD_HEADER + len(record) + _RECORD_FOOTER
    if skipped:
        warnings.warn(f"{len(skipped)} files are left out: {first_few(skipped)}.", stacklevel=3)
    arrays = {"labels": samples.labels[kept], "offsets": offsets, "sizes": sizes}
    arrays |= {n: getattr(samples, n)[kept] for n in _BESIDE if getattr(samples, n) is not None}
    if samples.parts is not None:
        parts = [samples.parts[i] for i in kept]
        arrays["parts"] = _as_bytes(json.dumps(parts, default=_plain))
    arrays["names"] = _as_bytes("\0".join(names))
    arrays["max_pixels"], arrays["state"] = samples.max_pixels, state
    _save(f"{path}.npz", arrays)


def _write_index(folder, split, shards):
    """Puts the parts of the index together."""
    parts = [_load(f"{folder}/{name}.npz") for name in shards]
    if not any(len(part["labels"]) for part in parts):
        raise ValueError(f"None of the photographs of {split!r} could be read.")
    arrays = {
        name: np.concatenate([part[name] for part in parts])
        for name in ("labels", "offsets", "sizes", *_BESIDE)
        if name in parts[0]
    }
    arrays["file_numbers"] = np.repeat(np.arange(len(parts)), [len(p["labels"]) for p in parts])
    names = b"\0".join(part["names"].tobytes() for part in parts if len(part["labels"]))
    arrays["names"] = np.frombuffer(names, np.uint8)
    arrays["max_pixels"] = parts[0]["max_pixels"]
    if "parts" in parts[0]:
        lists = [json.loads(part["parts"].tobytes()) for part in parts]
        arrays["parts"] = _as_bytes(json.dumps([item for items in lists for item in items]))
    _save(f"{folder}/{split}.npz", arrays)


def _example(content, label, name):
    """A serialized `tf.train.Example`."""
    import tensorflow as tf

    name = name.encode("utf-8", "surrogateescape")
    values = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[content])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        "image/filename": tf.train.Feature(bytes_list=tf.train.BytesList(value=[name])),
    }
    return tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString()


def _root(samples):
    """The folder that holds all photographs, or `None` where they are in memory."""
    if samples.encoded is not None:
        return None
    return os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in samples.paths])


def _as_bytes(text):
    return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)


def _plain(value):
    return value.tolist()


# === Files, and objects of a store, which appear whole by themselves ===


def _about(folder):
    """What `shards.json` says, or `None` where it is not there or another's."""
    try:
        with open_file(f"{folder}/{INDEX}") as file:
            about = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError:
        if is_remote(folder):
            raise
        return None
    known = isinstance(about, dict) and about.get("format") == FORMAT
    return about if known and isinstance(about.get("shards", ""), dict | None) else None


def _whole(path):
    if is_remote(path):
        return contextlib.nullcontext(path)
    remove_partial(path)
    return whole_file(path)


def _write(path, content):
    if is_remote(path) and _size(path) is not None:
        _remove(path)  # not every file system of TensorFlow's replaces what is there
    with _whole(path) as partial, open_file(partial, "wb") as file:
        file.write(content)


def _save(path, arrays):
    content = io.BytesIO()  # of objects, not all can be sought in
    np.savez(content, **arrays)
    _write(path, content.getvalue())


def _load(path):
    with open_file(path) as file:
        content = io.BytesIO(file.read())
    try:
        with np.load(content) as arrays:
            return dict(arrays)
    except (*NOT_WHOLE, ValueError) as error:
        raise ValueError(f"{path} is damaged. Write the shards anew.") from error


def _size(path):
    """Bytes of a file, or `None` where there is none."""
    if not is_remote(path):
        return os.path.getsize(path) if os.path.isfile(path) else None
    try:
        return file_state(path)[0]
    except FileNotFoundError:
        return None


def _remove(path):
    if not is_remote(path):
        os.remove(path)
        return
    import tensorflow as tf

    tf.io.gfile.remove(path)
