import errno
import io
import os
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
def test_a_folder_of_an_archive(tmp_path, mode):
    archive = write_archive(
        tmp_path / "a.tar", "attributes.txt", ("birds", tarfile.DIRTYPE, ""), "birds/a/1.jpg",
        "./birds/b/2.jpg", ("birds/again.jpg", tarfile.SYMTYPE, "a/1.jpg"), mode=mode,
    )  # fmt: skip
    folder = tmp_path / "new" / "all"
    assert unpack(archive, folder, "birds", verbose=0) == folder
    assert tree(folder) == {"a/1.jpg", "b/2.jpg", "again.jpg"}
    assert (folder / "again.jpg").read_text() == "birds/a/1.jpg"
    (tmp_path / "empty").mkdir()
    unpack(archive, tmp_path / "empty", "birds", verbose=0)
    assert tree(tmp_path / "empty") == tree(folder)
    assert set(os.listdir(tmp_path)) == {"a.tar", "new", "empty"}


@pytest.mark.parametrize(
    "member",
    [
        "../evil",
        "a/../../evil",
        ("l", tarfile.SYMTYPE, "/etc/passwd"),
        ("l", tarfile.SYMTYPE, "../outside"),
        ("l", tarfile.LNKTYPE, "../outside"),
        ("null", tarfile.CHRTYPE, ""),
        ("pipe", tarfile.FIFOTYPE, ""),
    ],
)
def test_a_hostile_archive_is_refused_whole(tmp_path, member):
    (tmp_path / "outside").write_text("mine")
    archive = write_archive(tmp_path / "a.tar", "good/1.jpg", member)
    with pytest.raises(ValueError, match="Refused to unpack .*a.tar, .* download it again"):
        unpack(archive, tmp_path / "data" / "birds", "good", verbose=0)
    assert os.listdir(tmp_path / "data") == []
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "data", "outside"]
    assert (tmp_path / "outside").read_text() == "mine"


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2"])
def test_a_damaged_archive_is_refused_whole(tmp_path, mode):
    archive = write_archive(tmp_path / "a.tar", *(f"a/{i}.jpg" for i in range(500)), mode=mode)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(ValueError, match="Refused to unpack .*a.tar"):
        unpack(archive, tmp_path / "data", "a", verbose=0)
    archive.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="Refused to unpack .*a.tar"):
        unpack(archive, tmp_path / "data", "a", verbose=0)
    assert os.listdir(tmp_path) == ["a.tar"]


def test_modes_that_grant_too_much_are_dropped(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("a/program")
        info.mode, info.uid, info.gid = 0o6777, 12345, 12345
        tar.addfile(info)
    unpack(tmp_path / "a.tar", tmp_path / "data", "a", verbose=0)
    status = os.stat(tmp_path / "data" / "program")
    assert status.st_mode & 0o6022 == 0
    assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())


def test_what_is_there_is_not_touched(tmp_path):
    archive = write_archive(tmp_path / "a.tar", "a/1.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").write_text("mine")
    with pytest.raises(OSError, match="not empty"):
        unpack(archive, tmp_path / "data", "a", verbose=0)
    assert tree(tmp_path) == {"a.tar", "data/mine"}


def test_an_interrupted_run_leaves_nothing_and_a_killed_one_no_trap(tmp_path, monkeypatch):
    archive = write_archive(tmp_path / "a.tar", "a/1.jpg", "a/2.jpg")
    extract = module.tarfile.TarFile.extract  # of the backport, where Python's has no filters

    def interrupted(self, member, *args, **kwargs):
        if member.name == "a/2.jpg":
            raise KeyboardInterrupt
        return extract(self, member, *args, **kwargs)

    monkeypatch.setattr(module.tarfile.TarFile, "extract", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "data", "a", verbose=0)
    assert os.listdir(tmp_path) == ["a.tar"]
    monkeypatch.undo()
    # As `kill -9` would leave it.
    (tmp_path / ".data.unpacking" / "a").mkdir(parents=True)
    (tmp_path / ".data.unpacking" / "a" / "old.jpg").write_text("old")
    unpack(archive, tmp_path / "data", "a", verbose=0)
    assert tree(tmp_path / "data") == {"1.jpg", "2.jpg"}
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "data"]


def test_a_disk_that_is_full_is_named_with_its_folder(tmp_path, monkeypatch):
    archive = write_archive(tmp_path / "a.tar", "birds/1.jpg")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.tarfile, "copyfileobj", full)
    with pytest.raises(OSError, match="new' cannot be written .No space left on device.. Make room"):
        unpack(archive, tmp_path / "new", "birds", verbose=0)
    assert os.listdir(tmp_path) == ["a.tar"]


def test_progress(tmp_path, capsys):
    unpack(write_archive(tmp_path / "a.tar", "a/1.jpg"), tmp_path / "data", "a")
    assert "100%" in capsys.readouterr().err
