"""`tunebench serve`: the report page on this machine, made anew when results change, with how far sweeps are.

It listens on the loopback interface alone and answers only requests that name it, so that no page of the web can read
the results through the reader's browser.
"""

import argparse
import hashlib
import json
import re
import sys
import threading
import webbrowser
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.launch.progress import Progress
from bench.records.find import expand, listing
from bench.report.arguments import CONDITIONS, add_arguments, carry_out, command
from bench.report.page.render import Origin, report
from bench.report.selection import UsageError
from bench.status import look

DESCRIPTION = """Show the report page in the browser: it is made anew whenever results change, and says how far the
sweeps are that run now. Only this machine can reach it. Ctrl-C ends it."""
EXAMPLES = """examples:
  tunebench serve                                   results/runs on http://127.0.0.1:8321
  tunebench serve --open --where task=pydoc
  ssh -L 8321:127.0.0.1:8321 HOST tunebench serve   from another machine
"""
PORT = 8321
NAMES = ("127.0.0.1", "localhost", "[::1]")


class Site:
    """The page and its version, made anew when the files of the results have changed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._version = ""
        self._page = b""

    def version(self) -> str:
        """A hash of the names, sizes and times of all records."""
        found = listing(self._options.results).files
        return hashlib.sha256(repr(found).encode(errors="surrogateescape")).hexdigest()[:16]

    def page(self) -> bytes:
        """The page of the results as they are now."""
        with self._lock:
            version = self.version()
            if version != self._version:
                found = carry_out(self._options, empty=True)
                self._page = report(found.table, Origin(found.roots, found.damaged), version).encode()
                self._version = version
            return self._page

    def sweeps(self) -> list[str]:
        """How far each sweep is that runs now: a line for itself, and one for each run at work."""
        roots = [Path(path) for root in self._options.results for path in expand(root)]
        folders = dict.fromkeys(folder for root in roots for folder in (root, root.parent, root.parent.parent))
        found = [(name, progress) for folder in folders for name, progress, alive in look(folder) if alive]
        return [line for name, progress in found for line in _lines(name, progress)]


def _lines(hardware: str, progress: Progress) -> list[str]:
    done = progress.before + sum(progress.ended.values())
    lines = [f"{hardware}: {done} of {progress.before + progress.total} runs done · {progress.command}"]
    for row in progress.rows:
        step = f" · {row.step} of {row.steps}" if row.step is not None else ""
        loss = f" · loss {row.loss:.3f}" if row.step is not None and row.loss is not None else ""
        lines.append(f"  {row.run_id}: {row.phase}{step}{loss}")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C; returns 0, or 2 for a request that cannot be met."""
    options = _parser().parse_args(argv)
    try:
        server = _server(options)
    except ValueError as error:
        print(f"tunebench serve: {error}", file=sys.stderr)
        return 2
    address = f"http://127.0.0.1:{server.server_port}/"
    print(f"serving {address} - Ctrl-C ends it", file=sys.stderr, flush=True)
    if options.open:
        webbrowser.open(address)
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print(file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command("serve", DESCRIPTION, f"{EXAMPLES}\n{CONDITIONS}")
    add_arguments(parser)
    parser.add_argument("--port", type=int, default=PORT, help=f"default: {PORT}; 0: any that is free")
    parser.add_argument("--open", action="store_true", help="show it in the browser")
    return parser


def _server(options: argparse.Namespace) -> ThreadingHTTPServer:
    site = Site(options)
    site.page()  # what is wrong with the arguments is said now
    if not 0 <= options.port < 2**16:
        raise UsageError(f"--port must be from 0 to 65535, got {options.port}")
    try:
        return ThreadingHTTPServer(("127.0.0.1", options.port), _handler(site))
    except OSError as error:
        raise UsageError(f"port {options.port} cannot be used ({error.strerror}); --port takes another") from error


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers `/` with the page and `/status` with its version and the sweeps."""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if re.sub(r":\d+$", "", self.headers.get("Host", "")) not in NAMES:
                self.send_error(HTTPStatus.FORBIDDEN, "this server answers to localhost alone")
            elif path == "/":
                self._answer("text/html", site.page())
            elif path == "/status":
                self._answer("application/json", json.dumps(_status(site)).encode())
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: object) -> None:
            """Nothing: a line for each look would hide what matters."""

    return Handler


def _status(site: Site) -> dict[str, object]:
    return {"version": site.version(), "sweeps": site.sweeps()}
