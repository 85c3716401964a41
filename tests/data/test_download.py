import errno
import hashlib
import http.server
import io
import os
import re
import shutil
import threading
import time

import pytest

from cin_keras.data import DownloadError, cub_200_2011, download, stanford_cars
from cin_keras.data.download import ARCHIVES, Archive, fetch
from tests.data.small_sets import write_cub_200_2011, write_stanford_cars
from tests.data.test_unpack import write_archive

pytestmark = pytest.mark.one_backend

CONTENT = os.urandom(200_000)
SIZE = len(CONTENT)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `content`; each request takes the next of `behaviours`, then all go well.

    Attributes:
        behaviours: List of dicts: `status` instead of the content; `stop_after` so many bytes;
            `stall_after` so many bytes; `ignore_range`; `content` from now on; `wrong_range`;
            `no_length`.
        requests: The Range headers of the requests so far.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.behaviours, self.requests = CONTENT, [], []
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
        self.end_headers()
        count = behaviour.get("stop_after", behaviour.get("stall_after", total))
        self.wfile.write(server.content[begin : begin + count])
        self.wfile.flush()
        if "stall_after" in behaviour:
            server.released.wait(30)
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("urllib.request._opener", None)
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
    assert "1/1" in capsys.readouterr().out
    assert get(server, path) == path
    assert server.requests == [None]
    assert get(server, tmp_path / "unchecked", size=None, md5=None).read_bytes() == CONTENT


def test_broken_connections_are_resumed_where_they_stopped(server, tmp_path):
    server.behaviours = [{"stop_after": 70_000}, {"stop_after": 50_000}, {"status": 503}]
    path = get(server, tmp_path / "file.tgz")
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=70000-", "bytes=120000-", "bytes=120000-"]


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
    # The size is not known, and the server has a shorter file by now.
    part.write_bytes(CONTENT + b"more")
    assert get(server, tmp_path / "b", size=None).read_bytes() == CONTENT
    part.rename(tmp_path / "c.part")
    assert get(server, tmp_path / "c", size=None).read_bytes() == CONTENT
    assert server.requests[2:] == ["bytes=200004-", None]


@pytest.mark.parametrize("status", [404, 403, 410])
def test_what_the_server_refuses_is_not_asked_for_again(server, tmp_path, status):
    server.behaviours = [{"status": status}]
    with pytest.raises(DownloadError, match=f"cannot be had: the server says {status}"):
        get(server, tmp_path / "file.tgz")
    assert len(server.requests) == 1


def test_no_server(server, tmp_path):
    server.url = "http://127.0.0.1:9/file.tgz"
    with pytest.raises(DownloadError, match="2 attempts; the last: ConnectionRefusedError"):
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


def test_stanford_cars_says_where_to_get_it(tmp_path):
    with pytest.raises(DownloadError) as caught:
        download("stanford_cars", tmp_path / "cars")
    message = str(caught.value)
    for needed in ("gone", "Kaggle", "cars_train", "devkit", "cars_test_annos_withlabels.mat"):
        assert needed in message
    assert f"put all four into {tmp_path / 'cars'}." in message
    write_stanford_cars(tmp_path / "cars")
    assert len(stanford_cars(download("stanford_cars", tmp_path / "cars"))) == 6


def test_no_such_data_set(tmp_path):
    with pytest.raises(ValueError, match="`name` must be 'cub_200_2011', .*Received: 'imagenet'"):
        download("imagenet", tmp_path)


@pytest.mark.parametrize("name", sorted(ARCHIVES))
def test_what_is_published(name):
    archive = ARCHIVES[name]
    assert archive.url.startswith("https://")
    assert archive.size > 1e9 and re.fullmatch("[0-9a-f]{32}", archive.md5)
