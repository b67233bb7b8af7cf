"""Ledgers of both databases: each test of storage runs on a file and on a server of its own."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from wmark.ledger import Ledger, Seals
from wmark.ledger.numbers import IssuerState
from wmark.watermark.secret import Secret

PASSWORD = "sesame/open"


@pytest.fixture(scope="session")
def seals(ring):
    """Those of a keyring with any number of issuers."""
    secret = Secret(bytes(32))
    return Seals(ring.fingerprint, lambda issuer: secret.derive(str(issuer).encode()))


@pytest.fixture
def issuer():
    """An issuer of a thousand numbers."""
    return IssuerState("studio", range(1000, 2000), range(1000, 1000))


def server_programs() -> Path | None:
    """The folder of PostgreSQL's server, which Debian keeps off the path."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


@contextlib.contextmanager
def running_server(programs: Path):
    """A server of PostgreSQL in a temporary folder, as another user if we are root, which it refuses to run as."""
    user = {}
    if os.geteuid() == 0:
        names = {entry.pw_name: entry for entry in pwd.getpwall()}
        entry = names.get("postgres") or names["nobody"]
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    folder = Path(tempfile.mkdtemp(prefix="wmark-postgresql-"))
    try:
        (folder / "password").write_text(PASSWORD)
        if user:
            for path in (folder, folder / "password"):
                os.chown(path, user["user"], user["group"])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = {"check": True, "capture_output": True, "cwd": folder, "timeout": 60, **user}
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", "wmark", "-A", "scram-sha-256", "--pwfile", "password",
             "--no-sync", "-E", "UTF8"], **options
        )  # fmt: skip
        settings = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
        control = [programs / "pg_ctl", "-D", folder / "data", "-l", folder / "log", "-w"]
        subprocess.run([*control, "-o", settings, "start"], **{**options, "capture_output": False})
        try:
            yield f"postgresql://wmark:{PASSWORD.replace('/', '%2F')}@127.0.0.1:{port}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server():
    """The URL of a server of PostgreSQL, without a database."""
    pytest.importorskip("psycopg", reason="PostgreSQL's driver is missing: pip install 'wmark[postgresql]'")
    programs = server_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is missing: apt install postgresql")
    with running_server(programs) as url:
        yield url


@pytest.fixture
def database(server):
    """The URL of a new, empty database."""
    import psycopg

    name = f"ledger_{next(COUNTER)}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{server}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


COUNTER = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where a new ledger may be, in either database."""
    return str(tmp_path / "x.ledger.sqlite") if request.param == "sqlite" else request.getfixturevalue("database")


@pytest.fixture
def ledger(place, seals):
    with Ledger(place, seals, create=True) as opened:
        yield opened
