"""Servers on loopback: a web server with several tempers, an FTP server and an S3-compatible store."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.config import Data
from bench.data.sources import remote


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.01)


@pytest.fixture
def settings(tmp_path: Path) -> Data:
    """Settings with a cache of their own and short time-outs."""
    return Data(cache=str(tmp_path / "cache"), timeout=1.0, retries=2)


@dataclass
class Web:
    """A web server. `files` are served under their names; the first part of a path says in what temper."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    tag: str = "1"  # the entity tag of all files
    requests: list[str] = field(default_factory=list)  # `METHOD path`, in order
    failures: dict[str, int] = field(default_factory=dict)  # how often a path has failed so far

    @property
    def gets(self) -> int:
        return sum(request.startswith("GET") for request in self.requests)


@pytest.fixture
def web() -> Iterator[Web]:
    """Paths: /fine/F, /twice/F (500 twice, then fine), /dies/F (half of it), /dies-once/F, /slow/F, /always/F (500).

    /secret/F answers 403; what is not there 404.
    """
    state = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = self.path.partition("?")[0]
            state.requests.append(f"{self.command} {path}")
            _, temper, name = path.split("/", 2)
            data = state.files.get(name)
            if data is None:
                return self.send_error(404)
            if temper == "secret":
                return self.send_error(403)
            if temper == "always" or (temper == "twice" and body and self.failed(path, 2)):
                return self.send_error(500)
            if temper == "slow" and body:
                threading.Event().wait(3)
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{state.tag}"')
            self.end_headers()
            if body:
                dies = temper == "dies" or (temper == "dies-once" and self.failed(path, 1))
                self.wfile.write(data[: len(data) // 2] if dies else data)
                self.close_connection = True
            return None

        def failed(self, path: str, times: int) -> bool:
            state.failures[path] = state.failures.get(path, 0) + 1
            return state.failures[path] <= times

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that hangs up on a slow answer is no error of the test."""

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()


@dataclass
class Ftp:
    """An FTP server that serves a folder to one user."""

    url: str
    folder: Path
    user: str = "reader"
    password: str = "open-sesame"


@pytest.fixture
def ftp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ftp]:
    """The user's password lies in ~/.netrc, as FTP programs have it."""
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import FTPServer

    folder = tmp_path / "ftp"
    folder.mkdir()
    authorizer = DummyAuthorizer()
    authorizer.add_user(Ftp.user, Ftp.password, str(folder), perm="elr")
    handler = type("Handler", (FTPHandler,), {"authorizer": authorizer, "auth_failed_timeout": 0})
    server = FTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"timeout": 0.05}, daemon=True)
    thread.start()
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login {Ftp.user} password {Ftp.password}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield Ftp(f"ftp://127.0.0.1:{server.address[1]}", folder)
    server.close_all()
    thread.join(5)


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """The address of an S3-compatible server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@dataclass
class Store:
    """A bucket of its own on the S3-compatible server."""

    url: str
    endpoint: str

    def put(self, name: str, data: bytes) -> None:
        """Store an object."""
        import boto3

        client = boto3.client("s3", endpoint_url=self.endpoint)
        client.put_object(Bucket=self.url.removeprefix("s3://"), Key=name, Body=data)


@pytest.fixture
def s3(s3_url: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Store:
    """Credentials are in the environment, as S3's tools have them."""
    import boto3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "loopback-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "loopback-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = "".join(c for c in request.node.name.lower() if c.isalnum())[:40]
    boto3.client("s3", endpoint_url=s3_url).create_bucket(Bucket=bucket)
    return Store(f"s3://{bucket}", s3_url)
