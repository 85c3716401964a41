import base64
import errno
import hashlib
import http.server
import io
import os
import re
import shutil
import tarfile
import threading
import time

import pytest
import urllib3
from kagglesdk import kaggle_env

from cin_keras.data import DownloadError, cub_200_2011, download, stanford_cars
from cin_keras.data.downloads import download as module
from cin_keras.data.downloads.download import ARCHIVES, Archive
from cin_keras.data.downloads.fetch import fetch
from tests.data.downloads.test_unpack import write_archive
from tests.data.small_sets import write_cub_200_2011, write_stanford_cars

CONTENT = os.urandom(200_000)
SIZE = len(CONTENT)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `content`; each request takes the next of `behaviours`, then all go well.

    Attributes:
        behaviours: List of dicts: `status` instead of the content; `stop_after` so many bytes;
            `stall_after` so many bytes; `ignore_range`; `content` from now on; `wrong_range`;
            `no_length`; `md5`, another than the content's in the header of Google's storage.
        requests: The Range headers of the requests so far.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.behaviours, self.requests = CONTENT, [], []
        self.refusal = None  # a status with which Kaggle's interface answers
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/file.tgz"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        behaviour = server.behaviours.pop(0) if server.behaviours else {}
        server.requests.append(self.headers.get("Range"))
        server.content = behaviour.get("content", server.content)
        if "status" in behaviour:
            self.send_error(behaviour["status"])
            return
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        begin = int(asked[1]) if asked and "ignore_range" not in behaviour else 0
        total = len(server.content)
        if begin >= total and asked:
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        if begin:
            shown = begin + behaviour.get("wrong_range", 0)
            self.send_header("Content-Range", f"bytes {shown}-{total - 1}/{total}")
        if "no_length" not in behaviour:
            self.send_header("Content-Length", str(total - begin))
        # What Kaggle's storage says, too.
        self.send_header("Accept-Ranges", "bytes")
        md5 = behaviour.get("md5", hashlib.md5(server.content).digest())
        self.send_header("x-goog-hash", f"md5={base64.b64encode(md5).decode()}")
        self.end_headers()
        count = behaviour.get("stop_after", behaviour.get("stall_after", total))
        self.wfile.write(server.content[begin : begin + count])
        self.wfile.flush()
        if "stall_after" in behaviour:
            server.released.wait(30)
        self.close_connection = True

    def do_POST(self):
        """The two calls of Kaggle's interface that a download takes."""
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refusal:
            self.send_error(self.server.refusal)
        elif self.path == "/api/v1/datasets.DatasetApiService/GetDataset":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"currentVersionNumber": 3}')
        elif self.path == "/api/v1/datasets.DatasetApiService/DownloadDataset":
            self.send_response(302)
            self.send_header("Location", self.server.url)
            self.end_headers()
        else:
            self.send_error(404)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


def get(server, path, size=SIZE, md5=MD5, **kwargs):
    arguments = {"timeout": 10.0, "pause": 0.0, "verbose": 0, **kwargs}
    return fetch(server.url, path, size, md5, **arguments)


def test_a_file(server, tmp_path, capsys):
    path = get(server, tmp_path / "new" / "file.tgz", verbose=1)
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["file.tgz"]
    assert "200k/200k" in capsys.readouterr().err
    assert get(server, path) == path
    assert server.requests == [None]


def test_broken_connections_are_resumed_where_they_stopped(server, tmp_path):
    server.behaviours = [{"stop_after": 70_000}, {"stop_after": 50_000}, {"status": 503}]
    path = get(server, tmp_path / "file.tgz")
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=70000-", "bytes=120000-", "bytes=120000-"]


def test_an_end_that_tls_does_not_expect_is_resumed(server, tmp_path, monkeypatch):
    """As urllib3 raises it of a connection that is cut, which no server on loopback speaks."""
    read, cut = urllib3.HTTPResponse.read1, [True]

    def broken(self, *args, **kwargs):
        if cut.pop() if cut else False:
            raise urllib3.exceptions.SSLError("EOF occurred in violation of protocol")
        return read(self, *args, **kwargs)

    monkeypatch.setattr(urllib3.HTTPResponse, "read1", broken)
    assert get(server, tmp_path / "file.tgz").read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_as_many_breaks_as_it_takes_while_it_gets_further(server, tmp_path):
    server.behaviours = [{"stop_after": 10_000}] * 15
    assert get(server, tmp_path / "file.tgz", attempts=2).read_bytes() == CONTENT
    assert len(server.requests) == 16


def test_a_second_run_goes_on(server, tmp_path):
    server.behaviours = [{"stop_after": 70_000}, {"status": 500}, {"status": 429}]
    with pytest.raises(DownloadError, match=r"3 attempts; the last: the server says 429 .*70,000"):
        get(server, tmp_path / "file.tgz", attempts=3)
    assert os.listdir(tmp_path) == ["file.tgz.part"]
    assert get(server, tmp_path / "file.tgz").read_bytes() == CONTENT
    assert server.requests[3:] == ["bytes=70000-"]


def test_a_stall_is_given_up_and_resumed(server, tmp_path):
    server.behaviours = [{"stall_after": 70_000}, {"stall_after": 0}]
    assert get(server, tmp_path / "file.tgz", timeout=0.3).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=70000-", "bytes=70000-"]


def test_nothing_but_stalls(server, tmp_path):
    server.behaviours = [{"stall_after": 0}] * 2
    with pytest.raises(DownloadError, match="2 attempts; the last: no byte came for 0.2 s"):
        get(server, tmp_path / "file.tgz", timeout=0.2, attempts=2)


def test_the_pauses_between_attempts_grow(server, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    server.behaviours = [{"status": 500}] * 9
    with pytest.raises(DownloadError):
        get(server, tmp_path / "file.tgz", pause=1.0, attempts=9)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_server_that_ignores_ranges(server, tmp_path):
    server.behaviours = [{"stop_after": 70_000}, {"ignore_range": True}]
    assert get(server, tmp_path / "file.tgz").read_bytes() == CONTENT
    server.behaviours = [{"stop_after": 70_000, "ignore_range": True}] * 4
    with pytest.raises(DownloadError, match="closed after 70,000 of 200,000 bytes"):
        get(server, tmp_path / "other.tgz", attempts=3)


def test_a_server_that_sends_another_range(server, tmp_path):
    server.behaviours = [{"stop_after": 70_000}, {"wrong_range": 5}]
    assert get(server, tmp_path / "file.tgz").read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_no_length(server, tmp_path):
    server.behaviours = [{"no_length": True, "stop_after": 70_000}]
    assert get(server, tmp_path / "file.tgz").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=70000-"]


def test_content_that_changes_midway_is_downloaded_anew(server, tmp_path):
    # The first part is of another file of the same size.
    server.content = os.urandom(len(CONTENT))
    server.behaviours = [{"stop_after": 70_000}, {"content": CONTENT}]
    assert get(server, tmp_path / "file.tgz").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=70000-", None]


def test_content_that_is_not_the_published_one(server, tmp_path):
    server.content = bytes(len(CONTENT))
    with pytest.raises(DownloadError, match=f"not the file that was published: its MD5 .*{MD5}"):
        get(server, tmp_path / "file.tgz")
    server.behaviours = [{"stop_after": 70_000}]
    with pytest.raises(DownloadError, match="not the file that was published: its MD5"):
        get(server, tmp_path / "file.tgz")
    # Begun anew once only.
    server.requests.clear()
    server.behaviours = [{"stop_after": 70_000}, {}] * 4
    with pytest.raises(DownloadError, match="not the file that was published: its MD5"):
        get(server, tmp_path / "file.tgz")
    assert server.requests == [None, "bytes=70000-"] * 2
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [CONTENT + b"more", CONTENT[:-1]])
def test_another_size(server, tmp_path, content):
    server.content = content
    with pytest.raises(DownloadError, match=f"offers {len(content):,} bytes, not 200,000"):
        get(server, tmp_path / "file.tgz")
    assert len(server.requests) == 1


def test_more_than_the_published_size_without_a_length(server, tmp_path):
    server.behaviours = [{"no_length": True, "content": CONTENT + b"x" * 5_000_000}]
    with pytest.raises(DownloadError, match="not the file that was published: it has .* bytes"):
        get(server, tmp_path / "file.tgz")
    assert os.listdir(tmp_path) == []


def test_a_part_that_is_too_long_or_whole(server, tmp_path):
    part = tmp_path / "file.tgz.part"
    part.write_bytes(CONTENT + b"more")
    assert get(server, tmp_path / "file.tgz").read_bytes() == CONTENT
    assert server.requests == [None]
    (tmp_path / "file.tgz").rename(part)
    assert get(server, tmp_path / "file.tgz").read_bytes() == CONTENT
    assert server.requests == [None]
    # For a while the server has a file that is shorter than the part.
    part.write_bytes(CONTENT[:70_000])
    part.rename(tmp_path / "b.part")
    server.behaviours = [{"content": CONTENT[:100]}, {"content": CONTENT}]
    assert get(server, tmp_path / "b").read_bytes() == CONTENT
    assert server.requests[1:] == ["bytes=70000-", None]


@pytest.mark.parametrize("status", [404, 403, 410])
def test_what_the_server_refuses_is_not_asked_for_again(server, tmp_path, status):
    server.behaviours = [{"status": status}]
    with pytest.raises(DownloadError, match=f"cannot be had: the server says {status}"):
        get(server, tmp_path / "file.tgz")
    assert len(server.requests) == 1


def test_no_server(server, tmp_path):
    server.url = "http://127.0.0.1:9/file.tgz"
    with pytest.raises(DownloadError, match="2 attempts; the last: .*Connection refused"):
        get(server, tmp_path / "file.tgz", attempts=2)


def test_a_file_of_that_name_with_other_content(server, tmp_path):
    (tmp_path / "file.tgz").write_bytes(b"mine")
    with pytest.raises(DownloadError, match="file.tgz is not http.*it has 4 bytes.*Remove it"):
        get(server, tmp_path / "file.tgz")
    assert (tmp_path / "file.tgz").read_bytes() == b"mine"
    assert server.requests == []


def test_no_place_for_it(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DownloadError, match="Cannot write .*file/file.tgz.part"):
        get(server, tmp_path / "file" / "file.tgz")
    usage = shutil.disk_usage(tmp_path)._replace(free=199_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match="too full: .* 200,000 bytes more, 199,999 are free"):
        get(server, tmp_path / "file.tgz")
    assert server.requests == []


def test_a_full_disk_keeps_what_is_there(server, tmp_path, monkeypatch):
    class FullAfter(io.FileIO):
        def write(self, block):
            if self.tell() + len(block) > 70_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(block)

    monkeypatch.setattr("builtins.open", lambda path, mode: FullAfter(path, mode))
    server.behaviours = [{"stop_after": 70_000}]
    with pytest.raises(DownloadError, match="Cannot write .*part .No space left on device.*there"):
        get(server, tmp_path / "file.tgz")
    monkeypatch.undo()
    have = (tmp_path / "file.tgz.part").read_bytes()
    assert 0 < len(have) <= 70_000 and have == CONTENT[: len(have)]
    assert get(server, tmp_path / "file.tgz").read_bytes() == CONTENT


def test_ctrl_c_keeps_what_is_there(server, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    server.behaviours = [{"stop_after": 70_000}]
    monkeypatch.setattr(time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path / "file.tgz")
    assert (tmp_path / "file.tgz.part").read_bytes() == CONTENT[:70_000]


# === whole data sets ===


@pytest.fixture
def birds(server, tmp_path, monkeypatch):
    """The server has a small CUB-200-2011, packed as the original is."""
    source = write_cub_200_2011(tmp_path / "source" / "CUB_200_2011")
    (source.parent / "attributes.txt").write_text("1 has_bill_shape::curved")
    archive = shutil.make_archive(tmp_path / "packed", "gztar", source.parent)
    serve(server, monkeypatch, open(archive, "rb").read())
    return tmp_path / "data" / "birds"


def serve(server, monkeypatch, content):
    server.content = content
    md5 = hashlib.md5(content).hexdigest()
    archive = Archive(server.url, len(content), md5, "CUB_200_2011")
    monkeypatch.setitem(ARCHIVES, "cub_200_2011", archive)


def quick(data_dir, **kwargs):
    return download("cub_200_2011", data_dir, pause=0.0, **{"verbose": 0, **kwargs})


def test_a_data_set_is_downloaded_once(server, birds, capsys):
    server.behaviours = [{"stop_after": 1000}, {"stall_after": 300}]
    assert quick(birds, verbose=1, timeout=0.3) == birds
    out = capsys.readouterr().out
    assert f"Downloading {server.url}" in out and f"Unpacking it into {birds}" in out
    assert len(cub_200_2011(birds)) == 4
    assert os.listdir(birds.parent) == ["birds"]
    assert not (birds / "attributes.txt").exists()
    requests = len(server.requests)
    assert quick(str(birds)) == birds
    assert len(server.requests) == requests == 3


def test_never_half_installed(server, birds):
    server.behaviours = [{"stop_after": 1000}, {"status": 404}]
    with pytest.raises(DownloadError, match="404"):
        quick(birds)
    assert os.listdir(birds.parent) == ["file.tgz.part"]
    quick(birds)
    assert server.requests[-1] == "bytes=1000-"
    assert os.listdir(birds.parent) == ["birds"]


def test_an_archive_that_is_there_already_is_used(server, birds):
    birds.parent.mkdir()
    (birds.parent / "file.tgz").write_bytes(server.content)
    quick(birds)
    assert server.requests == []
    assert len(cub_200_2011(birds)) == 4


@pytest.mark.parametrize(
    "member", ["../evil", ("CUB_200_2011/l", b"2", "/etc"), ("CUB_200_2011/null", b"3", "")]
)
def test_a_hostile_archive_installs_nothing(server, tmp_path, monkeypatch, member):
    archive = write_archive(tmp_path / "evil.tgz", "CUB_200_2011/images.txt", member)
    serve(server, monkeypatch, archive.read_bytes())
    with pytest.raises(ValueError, match="Refused to unpack .*file.tgz"):
        quick(tmp_path / "data" / "birds")
    assert os.listdir(tmp_path / "data") == ["file.tgz"]
    assert sorted(os.listdir(tmp_path)) == ["data", "evil.tgz"]


def test_the_folder_that_we_are_in(server, birds, monkeypatch):
    birds.mkdir(parents=True)
    monkeypatch.chdir(birds.parent)
    assert quick("birds") == birds
    monkeypatch.chdir(birds)
    assert quick(".") == birds


def test_a_folder_with_something_else(server, birds):
    birds.mkdir(parents=True)
    (birds / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="birds is there already and holds something else"):
        quick(birds)
    assert server.requests == []
    (birds / "mine.txt").unlink()
    assert len(cub_200_2011(quick(birds))) == 4


def test_no_such_data_set(tmp_path):
    with pytest.raises(ValueError, match="`name` must be 'cub_200_2011', .*Received: 'imagenet'"):
        download("imagenet", tmp_path)


@pytest.mark.parametrize("name", sorted(ARCHIVES))
def test_what_is_published(name):
    archive = ARCHIVES[name]
    assert archive.url.startswith("https://")
    assert archive.size > 1e9 and re.fullmatch("[0-9a-f]{32}", archive.md5)


# === Kaggle ===


@pytest.fixture
def cars(server, tmp_path, monkeypatch):
    """Kaggle's interface, on this machine, has a small Stanford Cars."""
    source = write_stanford_cars(tmp_path / "source" / "stanford_cars")
    server.content = open(pack(source), "rb").read()
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    place = server.url.rpartition("/")[0]
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, place)
    # kagglehub looks through the stack for notebooks, which takes half a second from within pytest.
    monkeypatch.setattr("kagglehub.clients.get_user_agent", lambda: "kagglehub")
    small = "somebody/cars", {"train": 6, "test": 4}
    monkeypatch.setattr(module, "CARS_ON_KAGGLE", small)
    return tmp_path / "data" / "cars"


def pack(folder):
    return shutil.make_archive(folder.parent.with_name("packed"), "zip", folder.parent)


def quick_cars(data_dir, **kwargs):
    return download("stanford_cars", data_dir, pause=0.0, **{"verbose": 0, **kwargs})


def test_stanford_cars_come_from_kaggle_once(server, cars, tmp_path, capsys):
    assert quick_cars(cars, verbose=1) == cars
    assert "Downloading somebody/cars from Kaggle" in capsys.readouterr().out
    assert [len(stanford_cars(cars, split)) for split in ("train", "test")] == [6, 4]
    assert os.listdir(cars.parent) == ["cars"], "nothing is left beside it"
    assert not (tmp_path / "cache").exists() and not (tmp_path / "home").exists()
    assert quick_cars(cars) == cars and len(server.requests) == 1
    out, err = capsys.readouterr()
    assert out == err == ""


def test_kaggle_is_resumed_where_it_stopped(server, cars, tmp_path, capfd):
    # kagglehub writes a MiB at a time.
    source = tmp_path / "source" / "stanford_cars"
    (source / "noise").write_bytes(os.urandom(3 * 2**20))
    server.content = open(pack(source), "rb").read()
    server.behaviours = [{"stop_after": 5 * 2**19}, {"status": 503}]
    with pytest.raises(DownloadError, match="somebody/cars cannot be had from Kaggle .2 attempts"):
        quick_cars(cars, attempts=2)
    assert os.listdir(cars.parent) == [".cars.download"]
    assert len(stanford_cars(quick_cars(cars))) == 6
    assert server.requests == [None, None, None, f"bytes={2 * 2**20}-"]
    assert os.listdir(cars.parent) == ["cars"]
    assert capfd.readouterr() == ("", "")


def test_what_kaggle_has_is_checked(server, cars, monkeypatch):
    server.behaviours = [{"md5": b"another content."}] * 2
    with pytest.raises(DownloadError, match="its MD5 sum is not the one that the server gives"):
        quick_cars(cars, attempts=2)
    for content, match in [
        (b"PK, and nothing more", "from Kaggle is damaged .ValueError: Unsupported archive"),
        (server.content[:-1000], "from Kaggle is damaged"),
    ]:
        server.behaviours = [{"content": content}]
        with pytest.raises(DownloadError, match=match):
            quick_cars(cars)
    assert os.listdir(cars.parent) == []


def test_a_tar_archive_of_kaggle_takes_filters(server, cars, tmp_path, monkeypatch):
    with open(write_archive(tmp_path / "a.tar.gz", "a/1.jpg"), "rb") as file:
        server.content = file.read()

    def extract_all(self, path, members=None, *, numeric_owner=False):
        raise AssertionError

    monkeypatch.setattr("tarfile.TarFile.extractall", extract_all)
    with pytest.raises(TypeError if hasattr(tarfile, "data_filter") else DownloadError):
        quick_cars(cars)
    monkeypatch.delattr("tarfile.data_filter", raising=False)
    with pytest.raises(DownloadError, match="tar archive, .* 3.11.4 on; it was removed. Use a newer"):
        quick_cars(cars)
    assert os.listdir(cars.parent) == []
    monkeypatch.setattr("kagglehub.dataset_download", lambda handle: None + 1)
    with pytest.raises(TypeError, match="unsupported operand"):
        quick_cars(cars)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda source: (source / "cars_train" / "00001.jpg").unlink(), "00001.jpg"),
        (lambda source: shutil.rmtree(source / "devkit"), "cars_meta.mat"),
        (lambda source: shutil.rmtree(source), "cars_meta.mat"),
    ],
)
def test_a_copy_that_lacks_something_is_not_installed(server, cars, tmp_path, change, match):
    source = tmp_path / "source" / "stanford_cars"
    change(source)
    (source.parent / "note.txt").write_text("what was here")
    server.content = open(pack(source), "rb").read()
    with pytest.raises(DownloadError, match=f"on Kaggle is not what was published: .*{match}"):
        quick_cars(cars)
    assert os.listdir(cars.parent) == []


def test_fewer_photographs_than_were_published(cars, monkeypatch):
    large = "somebody/cars", {"train": 6, "test": 8041}
    monkeypatch.setattr(module, "CARS_ON_KAGGLE", large)
    with pytest.raises(DownloadError, match="it has 4 photographs for test, not 8,041"):
        quick_cars(cars)


@pytest.mark.parametrize("status", [404, 500])
def test_without_kaggle_it_says_where_to_get_them(server, cars, status):
    server.refusal = status
    with pytest.raises(DownloadError) as caught:
        quick_cars(cars, attempts=2)
    message = str(caught.value)
    assert f"the server says {status}" in message
    for needed in ("gone", "Kaggle", "cars_train", "devkit", "cars_test_annos_withlabels.mat"):
        assert needed in message
    assert f"put all four into {cars}." in message
    server.server_close()
    with pytest.raises(DownloadError, match="2 attempts; the last: .*Connection refused"):
        quick_cars(cars, attempts=2)


def test_a_data_set_on_a_disk_of_kaggle_is_copied(server, cars, tmp_path, monkeypatch):
    mounted = tmp_path / "source"
    monkeypatch.setattr("kagglehub.dataset_download", lambda handle: str(mounted))
    assert len(stanford_cars(quick_cars(cars))) == 6
    assert (mounted / "stanford_cars" / "devkit").is_dir() and os.listdir(cars.parent) == ["cars"]
