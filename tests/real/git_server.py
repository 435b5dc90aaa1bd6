"""Real git repositories, served over HTTP by git's own `http-backend`."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.servers import need_program


@dataclass
class GitServer:
    """Bare repositories below `folder`. `password`: what it wants of a user `reader`; empty for a stranger."""

    folder: Path
    password: str = ""
    answers: list[int] = field(default_factory=list)
    server: ThreadingHTTPServer = field(init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def repository(self, name: str) -> GitWork:
        """A new repository of this name, with a folder to work in."""
        bare, work = self.folder / f"{name}.git", self.folder / name
        run(self.folder, "init", "--quiet", "--bare", "--initial-branch", "main", str(bare))
        run(bare, "config", "uploadpack.allowFilter", "true")
        run(self.folder, "init", "--quiet", "--initial-branch", "main", str(work))
        run(work, "remote", "add", "origin", str(bare))
        return GitWork(work, f"{self.url}/{name}.git")


@dataclass
class GitWork:
    """A repository's working folder, and the address under which it is served."""

    folder: Path
    url: str

    def commit(self, files: Mapping[str, bytes]) -> str:
        """Commit these files and push; the commit."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        run(self.folder, "add", "--all")
        run(self.folder, "commit", "--quiet", "--message", "a change")
        run(self.folder, "push", "--quiet", "origin", "HEAD:main")
        return run(self.folder, "rev-parse", "HEAD").strip()


def run(folder: Path, *arguments: str) -> str:
    """What git answers, with nobody's settings."""
    who = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org"}
    who |= {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org"}
    environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, check=True, text=True)
    return done.stdout


@contextmanager
def git_server(folder: Path, password: str = "") -> Iterator[GitServer]:
    """A server that runs meanwhile."""
    need_program("git", "git")
    made = GitServer(folder, password)

    class Handler(BaseHTTPRequestHandler):
        """One request, as a web server hands it to a CGI program."""

        def do_GET(self) -> None:
            self.answer(b"")

        def do_POST(self) -> None:
            self.answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def answer(self, body: bytes) -> None:
            said = "Basic " + base64.b64encode(f"reader:{made.password}".encode()).decode()
            if made.password and self.headers.get("Authorization") != said:
                self.finish_with(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"")
                return
            if self.path.startswith("/elsewhere/"):
                self.finish_with(302, {"Location": self.path.removeprefix("/elsewhere")}, b"")
                return
            path, _, query = self.path.partition("?")
            environment = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(made.folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_GLOBAL": "/dev/null",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            }
            done = subprocess.run(
                ["git", "http-backend"], input=body, env=environment, capture_output=True, check=True
            ).stdout
            head, _, content = done.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
            status = int(headers.pop("Status", "200").split()[0])
            self.finish_with(status, headers, content)

        def finish_with(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
            made.answers.append(status)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    made.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        thread.join()
        made.server.server_close()
