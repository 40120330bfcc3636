"""A PostgreSQL server of one's own, for as long as it is needed: on a Unix socket, in a temporary folder."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_START_SECONDS = 60
# Debian keeps the server out of the path, a folder a version.
_DEBIAN = Path("/usr/lib/postgresql")
_UNPRIVILEGED = ("postgres", "nobody")
# The shell's input ends when its owner closes it or dies, however: then the server ends too, at once.
_WHILE_WE_LIVE = 'exec 3<&0; "$@" </dev/null & server=$!; cat <&3 >/dev/null; kill -INT $server; wait $server'


def find_binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, or None where no server is installed; the newest of several."""
    found = shutil.which("initdb")
    if found is not None and (Path(found).parent / "postgres").exists():
        return Path(found).parent
    installed = [path for path in _DEBIAN.glob("*/bin") if (path / "initdb").exists()]
    return max(installed, key=lambda path: float(path.parent.name), default=None)


@contextmanager
def running_server(binaries: Path, durable: bool = False) -> Iterator["Server"]:
    """A server until the body ends; `durable` has it force its log to disk, as one that is in use does."""
    # A socket's path is short, 107 bytes at most, and the server's user must be able to reach it.
    folder = Path(tempfile.mkdtemp(prefix="mailroom-pg-", dir="/tmp"))
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir(mode=0o700)
    user = _user()
    if user is not None:
        for path in (folder, data):
            os.chown(path, user.pw_uid, user.pw_gid)
    try:
        made = (binaries / "initdb", "-D", data, "-U", "mailroom", "-A", "trust", "-E", "UTF8", "--no-sync")
        _run(user, *made, "--locale=C.UTF-8")
        with (folder / "log").open("wb") as log:
            process = _start(user, log, _command(binaries, data, folder, durable))
            try:
                server = Server(folder, process)
                server.wait_until_ready()
                yield server
            finally:
                process.communicate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Server:
    """A running server; whoever can reach its socket is its owner."""

    def __init__(self, folder: Path, process: "subprocess.Popen[bytes]") -> None:
        self._folder = folder
        self._process = process

    def url(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://mailroom@/{database}?host={self._folder}"

    def create_database(self, name: str) -> str:
        """Make an empty database; returns its URL."""
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """Run one statement outside any transaction; its rows, if it has any."""
        import pg8000

        socket = str(self._folder / ".s.PGSQL.5432")
        connection = pg8000.connect("mailroom", unix_sock=socket, database=database)
        try:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def wait_until_ready(self) -> None:
        """Until it takes connections; RuntimeError with its log where it does not."""
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = (self._folder / "log").read_text(errors="replace")
                raise RuntimeError(f"the PostgreSQL server does not start: {log[-2000:]}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            # Its eighth line says how the server is.
            return (self._folder / "data" / "postmaster.pid").read_text().splitlines()[7].strip() == "ready"
        except (FileNotFoundError, IndexError):
            return False


def _command(binaries: Path, data: Path, folder: Path, durable: bool) -> list[str]:
    settings = ["listen_addresses=", f"unix_socket_directories={folder}"]
    if not durable:
        settings += ["fsync=off", "full_page_writes=off"]
    return [str(binaries / "postgres"), "-D", str(data), *(part for s in settings for part in ("-c", s))]


def _user() -> pwd.struct_passwd | None:
    """Whom the server runs as where that cannot be the caller: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError(f"expected one of the users {', '.join(_UNPRIVILEGED)} to run PostgreSQL as")


def _identity(user: pwd.struct_passwd | None) -> dict[str, Any]:
    own = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return {"cwd": "/", **own}


def _run(user: pwd.struct_passwd | None, *command: Any) -> None:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, **_identity(user)
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")


def _start(user: pwd.struct_passwd | None, log: Any, command: Sequence[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        ["/bin/sh", "-c", _WHILE_WE_LIVE, "sh", *command],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
        **_identity(user),
    )
