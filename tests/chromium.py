"""Headless Chromium, driven by its DevTools protocol (https://chromedevtools.github.io)."""

import base64
import contextlib
import itertools
import json
import pathlib
import shutil
import subprocess
import time
import urllib.request

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


def find_chromium():
    """The command of a Chromium that starts; without one the test is skipped."""
    for name in NAMES:
        if shutil.which(name):
            answer = subprocess.run([name, "--version"], capture_output=True, text=True)
            if answer.returncode == 0:
                return name
    pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed and starts")


class Page:
    """A page of a browser.

    Attributes:
        asked_for: List of str, every address that it has asked for.
        complaints: List of str, exceptions of its scripts.
    """

    def __init__(self, socket):
        self.socket = socket
        self.numbers = itertools.count(1)
        self.asked_for, self.complaints = [], []
        for domain in ("Page", "Network", "Runtime", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """Calls a method of the protocol and returns its result."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("method") == "Network.requestWillBeSent":
                self.asked_for.append(message["params"]["request"]["url"])
            if message.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(message["params"]))
            if message.get("id") == number:
                assert "error" not in message, (method, message)
                return message["result"]

    def open(self, address):
        self.call("Page.navigate", url=address)

    def value_of(self, expression):
        """The value of an expression of JavaScript."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def wait_for(self, expression, seconds=60):
        """The value of an expression once it is true."""
        end = time.monotonic() + seconds
        while not (value := self.value_of(expression)):
            assert time.monotonic() < end, (expression, self.value_of("document.body.innerText"))
            time.sleep(0.1)
        return value

    def choose_file(self, selector, path):
        """Gives a file (str) to a field of a form."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def picture(self, path):
        """Writes what is seen to a PNG file."""
        found = self.call("Page.captureScreenshot", format="png")
        pathlib.Path(path).write_bytes(base64.b64decode(found["data"]))


@contextlib.contextmanager
def browser(command, folder, size="1300,1300"):
    """A `Page` of a browser that runs as long as the `with` block."""
    websocket = pytest.importorskip("websocket", reason="websocket-client is not installed")
    user = pathlib.Path(folder) / "user"
    flags = [*FLAGS, f"--window-size={size}", f"--user-data-dir={user}"]
    flags += ["--remote-debugging-port=0", "--remote-allow-origins=*", "about:blank"]
    with subprocess.Popen([command, *flags], stderr=subprocess.DEVNULL) as process:
        try:
            port = _first_line(user / "DevToolsActivePort")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=30) as answer:
                pages = [each for each in json.load(answer) if each["type"] == "page"]
            socket = websocket.create_connection(pages[0]["webSocketDebuggerUrl"], timeout=60)
            with contextlib.closing(socket):
                yield Page(socket)
        finally:
            process.terminate()


def _first_line(path, seconds=60):
    """Of a file that another process is about to write."""
    end = time.monotonic() + seconds
    while not path.exists() or "\n" not in path.read_text():
        assert time.monotonic() < end, f"{path} was not written"
        time.sleep(0.05)
    return path.read_text().splitlines()[0]
