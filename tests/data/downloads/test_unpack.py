import io
import os
import shutil
import tarfile

import pytest

from cin_keras.data.downloads import unpack as module
from cin_keras.data.downloads.unpack import unpack


def write_archive(path, *members, mode="w:gz"):
    """Members are names (files of that content), or `(name, type, target of the link)`."""
    with tarfile.open(path, mode) as tar:
        for member in members:
            name, kind, target = member if isinstance(member, tuple) else (member, None, "")
            info = tarfile.TarInfo(name)
            info.type = kind or tarfile.REGTYPE
            info.linkname = target
            content = name.encode() if kind is None else b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def tree(folder):
    return {
        os.path.relpath(os.path.join(parent, name), folder).replace(os.sep, "/")
        for parent, _, files in os.walk(folder)
        for name in files
    }


@pytest.mark.parametrize("mode", ["w:gz", "w", "w:bz2"])
def test_a_sound_archive(tmp_path, mode):
    archive = write_archive(
        tmp_path / "a.tar", "attributes.txt", ("birds", tarfile.DIRTYPE, ""), "birds/a/1.jpg",
        "./birds/b/2.jpg", ("birds/again.jpg", tarfile.SYMTYPE, "a/1.jpg"),
        ("birds/b/up.jpg", tarfile.SYMTYPE, "../a/1.jpg"), ("birds/c", tarfile.SYMTYPE, "b"),
        ("birds/hard.jpg", tarfile.LNKTYPE, "birds/b/2.jpg"), mode=mode,
    )  # fmt: skip
    assert unpack(archive, tmp_path / "new" / "all", verbose=0) == tmp_path / "new" / "all"
    assert "attributes.txt" in tree(tmp_path / "new" / "all")
    (tmp_path / "empty").mkdir()
    unpack(archive, tmp_path / "empty", top="birds", verbose=0)
    folder = tmp_path / "empty"
    assert tree(folder) == {"a/1.jpg", "b/2.jpg", "again.jpg", "b/up.jpg", "hard.jpg"}
    assert (folder / "b" / "up.jpg").read_text() == "birds/a/1.jpg"
    assert (folder / "c" / "2.jpg").read_text() == (folder / "hard.jpg").read_text()
    assert set(os.listdir(tmp_path)) == {"a.tar", "new", "empty"}


LINK, HARD, FOLDER = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


@pytest.mark.parametrize(
    "members, message",
    [
        (["../evil"], "'../evil' leads out of the folder"),
        (["a/../../evil"], "leads out of the folder"),
        (["a/../b"], "leads out of the folder"),
        ([("..", FOLDER, "")], "leads out of the folder"),
        (["/tmp/cin_keras_evil"], "leads out of the folder"),
        (["//evil"], "leads out of the folder"),
        (["C:/evil"], "leads out of the folder"),
        (["..\\evil"], "leads out of the folder"),
        ([("l", LINK, "/etc/passwd")], "'l' is a link to an absolute path"),
        ([("l", LINK, "../outside")], "is a link to '../outside', which is no file or folder"),
        ([("a/l", LINK, "x/../../../outside")], "which is no file or folder"),
        ([("l", HARD, "../outside")], "is a link to '../outside', which is no file or folder"),
        ([("l", HARD, "/etc/passwd")], "is a link to an absolute path"),
        (["a/1", ("l", HARD, "a")], "which is no file or folder of the archive"),
        ([("l", LINK, "")], "is a link to '', which is no file or folder of the archive"),
        ([("l", LINK, "gone")], "which is no file or folder of the archive"),
        ([("l", LINK, "l")], "which is no file or folder of the archive"),
        (["a/1", ("k", LINK, "a"), ("l", LINK, "k")], "'l' is a link to 'k', which is no file"),
        (
            ["a/1", ("k", LINK, "a"), ("l", LINK, "k/..")],
            "'l' is a link to 'k/..', which is no file",
        ),
        ([("l", LINK, "."), "l/evil"], "'l' stands in it twice"),
        ([("l", LINK, "/tmp"), "l/cin_keras_evil"], "'l' stands in it twice"),
        ([("l", LINK, "/tmp/evil"), "l"], "'l' stands in it twice"),
        (["l/evil", ("l", LINK, "/tmp")], "'l' stands in it twice"),
        (["a/1", ("k", LINK, "a"), ("k/2", LINK, "1")], "'k/2' lies in what is no folder"),
        (["a", "a/b"], "'a/b' lies in what is no folder"),
        (["a", "./a"], "'./a' stands in it twice"),
        ([("null", tarfile.CHRTYPE, "")], "'null' is a special file"),
        ([("disk", tarfile.BLKTYPE, "")], "is a special file"),
        ([("pipe", tarfile.FIFOTYPE, "")], "is a special file"),
    ],
)
def test_a_hostile_archive_is_refused_whole(tmp_path, members, message):
    (tmp_path / "outside").write_text("mine")
    archive = write_archive(tmp_path / "a.tar", "good/1.jpg", *members)
    with pytest.raises(ValueError, match=message):
        unpack(archive, tmp_path / "data" / "birds", verbose=0)
    assert os.listdir(tmp_path / "data") == []
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "data", "outside"]
    assert (tmp_path / "outside").read_text() == "mine"
    assert not os.path.exists("/tmp/cin_keras_evil")


def test_modes_that_grant_too_much_are_dropped(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("program")
        info.mode, info.uid, info.gid = 0o6777, 12345, 12345
        tar.addfile(info)
    unpack(tmp_path / "a.tar", tmp_path / "data", verbose=0)
    status = os.stat(tmp_path / "data" / "program")
    assert status.st_mode & 0o6022 == 0
    assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mtime", "inf", "cannot be unpacked, it is damaged or no archive .OverflowError"),
        ("mtime", "nan", "cannot be unpacked, it is damaged or no archive .ValueError"),
        ("size", "-1024", "Refused to unpack .*: its member '1.jpg' has a size of -1,024 bytes"),
    ],
)
def test_numbers_that_are_none(tmp_path, name, value, message):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("1.jpg")
        info.pax_headers = {name: value}
        tar.addfile(info)
    with pytest.raises(ValueError, match=message):
        unpack(tmp_path / "a.tar", tmp_path / "data", verbose=0)
    assert os.listdir(tmp_path) == ["a.tar"]


@pytest.mark.parametrize("keep", [0, 5, 0.3, 0.9])
def test_a_damaged_archive(tmp_path, keep):
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w:gz") as tar:
        for i in range(20):
            info = tarfile.TarInfo(f"a/{i}.jpg")
            info.size = 5000
            tar.addfile(info, io.BytesIO(os.urandom(5000)))
    content = archive.read_bytes()
    archive.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(ValueError, match="a.tar cannot be unpacked, it is damaged or no archive"):
        unpack(archive, tmp_path / "data", verbose=0)
    assert os.listdir(tmp_path) == ["a.tar"]


def test_a_bit_that_flipped(tmp_path):
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo("1.jpg")
        info.size = 5000
        tar.addfile(info, io.BytesIO(os.urandom(5000)))
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or no archive"):
        unpack(archive, tmp_path / "data", verbose=0)
    assert os.listdir(tmp_path) == ["a.tar"]


def test_no_archive(tmp_path):
    (tmp_path / "a.tar").write_text("<html>404</html>")
    with pytest.raises(ValueError, match="damaged or no archive"):
        unpack(tmp_path / "a.tar", tmp_path / "data", verbose=0)
    with pytest.raises(FileNotFoundError):
        unpack(tmp_path / "b.tar", tmp_path / "data", verbose=0)


def test_more_than_fits_on_the_disk(tmp_path, monkeypatch):
    archive = write_archive(tmp_path / "a.tar", "a/1.jpg", "a/22.jpg")
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ValueError, match="does not fit .* 10 bytes free. Received: 15 bytes .*22"):
        unpack(archive, tmp_path / "data", verbose=0)
    assert os.listdir(tmp_path) == ["a.tar"]


def test_what_is_there_is_not_touched(tmp_path):
    archive = write_archive(tmp_path / "a.tar", "a/1.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="data is there already and is not empty"):
        unpack(archive, tmp_path / "data", verbose=0)
    assert os.listdir(tmp_path / "data") == ["mine"]


def test_without_the_folder_wanted(tmp_path):
    archive = write_archive(tmp_path / "a.tar", "a/1.jpg")
    with pytest.raises(ValueError, match=r"a.tar has no folder 'birds', but \['a'\]"):
        unpack(archive, tmp_path / "data", top="birds", verbose=0)
    assert os.listdir(tmp_path) == ["a.tar"]


def test_an_interrupted_run_leaves_nothing_and_a_killed_one_no_trap(tmp_path, monkeypatch):
    archive = write_archive(tmp_path / "a.tar", "a/1.jpg", "a/2.jpg")
    extract = module.tarfile.TarFile.extract  # of the backport, where Python's has no filters

    def interrupted(self, member, *args, **kwargs):
        if member.name == "a/2.jpg":
            raise KeyboardInterrupt
        return extract(self, member, *args, **kwargs)

    monkeypatch.setattr(module.tarfile.TarFile, "extract", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "data", verbose=0)
    assert os.listdir(tmp_path) == ["a.tar"]
    monkeypatch.undo()
    # As `kill -9` would leave it.
    (tmp_path / ".data.unpacking").mkdir()
    (tmp_path / ".data.unpacking" / "old.jpg").write_text("old")
    unpack(archive, tmp_path / "data", verbose=0)
    assert tree(tmp_path / "data") == {"a/1.jpg", "a/2.jpg"}
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "data"]


def test_progress(tmp_path, capsys):
    unpack(write_archive(tmp_path / "a.tar", "a/1.jpg"), tmp_path / "data")
    assert "100%" in capsys.readouterr().err
