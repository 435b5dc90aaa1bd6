"""A real Roundup ticket system on this machine, for the local application and for the tests.

The classic template on SQLite, with three users (`admin`, the person `operator`, and `paydown` with the least role that
Paydown needs), the keyword that hands an issue to Paydown, and our detector. Set-up is idempotent; a tracker that is
already there keeps its issues and is started with the address and the receiver of the day.
"""

from __future__ import annotations

import configparser
import grp
import json
import os
import pwd
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from local.processes import Service, ServiceError, free_port, url_answers

NAME = "paydown"
QUEUE = "automation"
AUTOMATION_USER = "paydown"
PERSON = "operator"
UNPRIVILEGED = "nobody"

SCHEMA_BEGINS = "\n#\n# Paydown: "
SCHEMA = """
#
# Paydown: read issues, write messages on them, change their status, open issues; nothing else.
#
db.security.addRole(name="Automation", description="Paydown's own user")
db.security.addPermissionToRole("Automation", "Web Access")  # Roundup lets nobody log in without it
db.security.addPermissionToRole("Automation", "Rest Access")
for cl in "issue", "msg", "keyword", "status", "priority":
    db.security.addPermissionToRole("Automation", "View", cl)
p = db.security.addPermission(name="View", klass="user", properties=("id", "username"), description="See who wrote")
db.security.addPermissionToRole("Automation", p)
p = db.security.addPermission(name="Edit", klass="issue", properties=("messages", "status"), description="Report")
db.security.addPermissionToRole("Automation", p)
p = db.security.addPermission(name="Create", klass="msg", properties=("content", "messageid"), description="Comment")
db.security.addPermissionToRole("Automation", p)
p = db.security.addPermission(name="Create", klass="issue", properties=("title", "messages"), description="Ask")
db.security.addPermissionToRole("Automation", p)


def wrote_it(db, userid, itemid):
    return db.msg.get(itemid, "creator") == userid


p = db.security.addPermission(
    name="Edit", klass="msg", properties=("content",), check=wrote_it, description="Bring a comment up to date"
)
db.security.addPermissionToRole("Automation", p)
"""

INITIAL_DATA = f"""
import json
import os

passwords = {{
    name: type(adminpw)(value, config=db.config)
    for name, value in json.loads(os.environ["PAYDOWN_ROUNDUP_PASSWORDS"]).items()
}}
user.set(user.lookup("admin"), password=passwords["admin"])
user.create(username="{PERSON}", password=passwords["{PERSON}"], address="{PERSON}@localhost", roles="User")
user.create(username="{AUTOMATION_USER}", password=passwords["{AUTOMATION_USER}"],
            address="{AUTOMATION_USER}@localhost", roles="Automation")
db.getclass("keyword").create(name="{QUEUE}")
"""


@dataclass(frozen=True)
class Receiver:
    """Who is told about issues: the ingress' address, the secret that signs, the tracker's name in the inventory."""

    url: str
    secret: str = field(repr=False)
    tracker: str = "helpdesk"


@dataclass
class Roundup:
    """One tracker in the folder `home`. `python` is an interpreter that has Roundup installed."""

    home: Path
    receiver: Receiver
    python: str = sys.executable
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """Where the tracker answers; ends with a slash."""
        return f"http://127.0.0.1:{self.port}/{NAME}/"

    @property
    def tracker(self) -> Path:
        """Roundup's own tracker home."""
        return self.home / "tracker"

    @cached_property
    def passwords(self) -> dict[str, str]:
        """The passwords by user name: random, made at set-up, kept in `passwords.json`."""
        path = self.home / "passwords.json"
        if not path.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            made = {user: secrets.token_hex(16) for user in ("admin", PERSON, AUTOMATION_USER)}
            path.touch(mode=0o600)
            path.write_text(json.dumps({**made, "secret_key": secrets.token_hex(32)}))
        return {str(name): str(value) for name, value in json.loads(path.read_text()).items()}

    @property
    def credentials(self) -> dict[str, str]:
        """What the secret of this tracker holds in Secrets Manager."""
        return {"username": AUTOMATION_USER, "password": self.passwords[AUTOMATION_USER]}

    def set_up(self) -> None:
        """Make the tracker if it is not there; bring its settings and our detector up to date."""
        if not (self.home / "complete").exists():
            shutil.rmtree(self.tracker, ignore_errors=True)
            self.home.mkdir(parents=True, exist_ok=True)
            self._admin("install", "classic", "sqlite")
            _append(self.tracker / "initial_data.py", INITIAL_DATA)
            # Its job is to send mail, and there is no mail server here.
            (self.tracker / "detectors" / "nosyreaction.py").unlink()
            self._configure()
            # Every local user sees the arguments of a command: the real password travels in the environment.
            self._admin("initialise", secrets.token_hex(16))
            (self.home / "complete").touch()
        self._configure()
        if os.getuid() == 0:
            account = pwd.getpwnam(UNPRIVILEGED)
            for path in (self.tracker, *self.tracker.rglob("*")):
                os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)

    def service(self) -> Service:
        """The server, ready to be started. Roundup refuses to run as root, so root starts it as `nobody`."""
        server = [self.python, "-m", "roundup.scripts.roundup_server", "-n", "127.0.0.1", "-p", str(self.port)]
        before: list[str] = []
        if os.getuid() == 0:
            before, user = self._as_nobody()
            server += user
        bypass = ",".join(filter(None, [os.environ.get("no_proxy"), "127.0.0.1,localhost"]))
        return Service(
            "Roundup",
            [*before, *server, f"{NAME}={self.tracker}"],
            self.home / "roundup.log",
            ready=lambda: url_answers(f"{self.url}rest/"),
            environment={"no_proxy": bypass, "PYTHONDONTWRITEBYTECODE": "1"},
            directory=self.home,
        )

    def _as_nobody(self) -> tuple[list[str], list[str]]:
        """(what goes before the command, options for the server) to run as `nobody`.

        A home of root's that is closed to others hides the interpreter or the tracker from `nobody`: the server then
        keeps one capability, to read and search everywhere, and no other.
        """
        account = pwd.getpwnam(UNPRIVILEGED)
        group = grp.getgrgid(account.pw_gid).gr_name
        if all(map(_open_to_all, (Path(self.python).resolve(), Path(self.python).parent, self.tracker))):
            return [], ["-u", account.pw_name, "-g", group]
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise ServiceError(
                f"Roundup runs as {account.pw_name}, who may not enter {self.tracker} or {self.python}; "
                "install util-linux for setpriv, or run this as an ordinary user"
            )
        keep = "+dac_read_search"
        identity = [f"--reuid={account.pw_name}", f"--regid={group}", "--clear-groups"]
        return [setpriv, *identity, "--inh-caps", keep, "--ambient-caps", keep, "--no-new-privs"], []

    def _admin(self, *command: str) -> None:
        environment = {**os.environ, "PAYDOWN_ROUNDUP_PASSWORDS": json.dumps(self.passwords)}
        done = subprocess.run(  # noqa: S603 -- our own command
            [self.python, "-m", "roundup.scripts.roundup_admin", "-i", str(self.tracker), *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServiceError(f"roundup-admin {command[0]} failed: {done.stderr or done.stdout}")

    def _configure(self) -> None:
        # The role of Paydown's user too: a tracker of an earlier version has one that allows less.
        schema = self.tracker / "schema.py"
        schema.write_text(schema.read_text().partition(SCHEMA_BEGINS)[0] + SCHEMA)
        _write_ini(
            self.tracker / "config.ini",
            {
                "main": {
                    "database": "db",
                    "admin_email": "admin@localhost",
                    # The passwords are random and long, so slow hashes would only make each request slow.
                    "password_pbkdf2_default_rounds": "1000",
                },
                "tracker": {"name": "Tickets of the local application", "web": self.url, "email": "tickets@localhost"},
                "web": {"secret_key": self.passwords["secret_key"]},
                "rdbms": {"backend": "sqlite"},
                "mail": {"domain": "localhost", "host": "localhost"},
            },
        )
        shutil.copyfile(
            Path(__file__).parent / "roundup_detector.py", self.tracker / "detectors" / "roundup_detector.py"
        )
        _write_ini(
            self.tracker / "detectors" / "config.ini",
            {
                "statusauditor": {"chatting_requires_two_users": "no"},
                "paydown": {
                    "url": self.receiver.url,
                    "secret": self.receiver.secret,
                    "tracker": self.receiver.tracker,
                    "queue": QUEUE,
                    "automation_user": AUTOMATION_USER,
                    "python": self.python,
                },
            },
        )


def installed() -> bool:
    """Whether this interpreter has Roundup."""
    return find_spec("roundup") is not None


def _open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents) if folder.is_dir())


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def _write_ini(path: Path, sections: dict[str, dict[str, str]]) -> None:
    config = configparser.ConfigParser()
    for section, options in sections.items():
        config[section] = {name: value.replace("%", "%%") for name, value in options.items()}
    path.touch(mode=0o600)
    path.chmod(0o600)
    with path.open("w") as file:
        config.write(file)
