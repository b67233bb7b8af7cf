"""The ledger in both databases: numbers are issued once, rows are written once, and nothing is shown that is secret."""

from __future__ import annotations

import os
import sqlite3
import threading

import pytest
from sqlalchemy import text

from wmark.errors import LedgerError
from wmark.ledger import Ledger, Query, Row, Seals, schema
from wmark.ledger.check import check
from wmark.ledger.manifests import LedgerManifests
from wmark.ledger.numbers import IssuerState
from wmark.watermark.counter import Counter
from wmark.watermark.issuer import Issuer
from wmark.watermark.keyring import Keyring
from wmark.watermark.layout import IssuerEntry
from wmark.watermark.patterns import Pattern


def row(number, **known):
    return Row(number, "studio", "", **known)


def test_numbers_are_reserved_then_registered(ledger, place, seals, issuer):
    assert ledger.reserve(3, issuer) == range(1000, 1003)
    assert ledger.reserve(2, issuer) == range(1003, 1005)
    known = {"model": "tiny", "sampler": {"steps": 5}, "file_hash": "ab" * 32, "fingerprint": b"\x00\xff", "width": 512}
    ledger.register(row(1001, **known))
    with Ledger(place, seals) as again:
        found = again.find(1001)
        assert (found.state, found.genuine, found.sampler, found.fingerprint) == (
            "registered", True, {"steps": 5}, b"\x00\xff",
        )  # fmt: skip
        assert again.find(1000).state == "reserved" and again.find(1005) is None
        assert again.issued() == [range(1000, 1005)]
        assert again.reserve(1, issuer) == range(1005, 1006)


def test_a_number_names_one_image(ledger, issuer):
    ledger.reserve(1, issuer)
    ledger.register(row(1000, file_hash="ab" * 32))
    ledger.register(row(1000, file_hash="ab" * 32))  # Whoever was not heard asks again.
    with pytest.raises(LedgerError, match=r"1000 was registered at .* for another image"):
        ledger.register(row(1000, file_hash="cd" * 32))
    with pytest.raises(LedgerError, match="1007 was not reserved by issuer 'studio'"):
        ledger.register(row(1007))
    with pytest.raises(LedgerError, match="1000 was not reserved by issuer 'another'"):
        ledger.register(Row(1000, "another", ""))


def test_several_rows_are_registered_together_or_not_at_all(ledger, issuer):
    ledger.reserve(2, issuer)
    with pytest.raises(LedgerError):
        ledger.register(row(1000), row(1500))
    assert ledger.find(1000).state == "reserved"


def test_issuers_share_no_numbers_and_run_out(ledger, issuer):
    assert ledger.reserve(999, issuer)[-1] == 1998
    with pytest.raises(LedgerError, match="1 numbers left, not 2"):
        ledger.reserve(2, issuer)
    assert ledger.reserve(1, issuer) == range(1999, 2000)
    with pytest.raises(LedgerError, match="share numbers"):
        ledger.reserve(1, IssuerState("other", range(1900, 2100), range(0)))
    with pytest.raises(LedgerError, match="has the numbers from 1000 to 1999"):
        ledger.reserve(1, IssuerState("studio", range(5000, 6000), range(0)))
    for wrong in (range(0), range(2**40, 2**40 + 1), range(5, 9, 2)):
        with pytest.raises(LedgerError, match="cannot have the numbers"):
            ledger.reserve(1, IssuerState("wrong", wrong, wrong))
    for name in ("", "a b", "x" * 65, 5):
        with pytest.raises(LedgerError, match="letters, digits"):
            ledger.reserve(1, IssuerState(name, range(9), range(0)))
    assert [state.name for state in ledger.issuers()] == ["studio"]


def test_a_counter_that_was_set_back_issues_nothing_twice(ledger, issuer):
    ledger.reserve(5, issuer)
    with ledger.writing() as connection:
        connection.execute(text("UPDATE wmark_issuers SET next = 1001"))
    assert ledger.reserve(1, issuer) == range(1005, 1006)


STUDIO = IssuerEntry("studio", 1000, 1000, created="")


@pytest.fixture
def counter(tmp_path, seals):
    counter = Counter(tmp_path / "numbers", seals.keyring)
    counter.begin(STUDIO)
    return counter


def test_a_counter_beside_the_ledger_keeps_numbers_from_being_repeated(ledger, counter, tmp_path, seals):
    source = ledger.beside(counter)
    assert source.reserve(3, STUDIO) == range(1000, 1003)
    counter.reserve(2, STUDIO)  # Whoever was killed before the ledger heard of it.
    assert source.reserve(1, STUDIO) == range(1005, 1006)
    assert [row.number for row in ledger.search()] == list(range(1000, 1006))
    with Ledger(tmp_path / "begun-anew.sqlite", seals, create=True) as lost:
        assert lost.beside(counter).reserve(1, STUDIO) == range(1006, 1007)
        assert lost.issued() == [range(1000, 1007)] and not [finding for finding in check(lost) if finding.wrong]


def test_a_counter_that_was_put_back_is_brought_up_to_the_ledger(ledger, counter):
    ledger.reserve(7, STUDIO)
    assert ledger.reserve(2, STUDIO, counter) == range(1007, 1009)
    assert counter.next(STUDIO) == 1009
    assert ledger.reserve(2, STUDIO, counter) == range(1009, 1011)


def test_names_of_an_issuer_come_from_the_ledger_and_are_sealed_by_its_own_file(tmp_path):
    ring = Keyring(bytes(range(32)), Pattern.of())
    ring.add_names()
    entry = ring.add_issuer("fleet", 1000)
    own = Seals.of(ring.names("fleet"))
    with Ledger(tmp_path / "x.sqlite", own, create=True) as ledger:
        identities = Issuer(ring.names("fleet"), ledger).issue(2)
        assert [identity.number for identity in identities] == list(entry.numbers[:2])
        with pytest.raises(LedgerError, match="the secret of issuer 'main' is not here"):
            ledger.reserve(1, ring.names("main").issuers[0])
    with Ledger(tmp_path / "x.sqlite", Seals.of(ring.names())) as ledger:
        assert [row.genuine for row in ledger.search()] == [True, True]


def test_threads_that_begin_at_once_get_numbers_of_their_own(place, seals, issuer):
    taken, start = [], threading.Barrier(4)

    def work():
        start.wait()
        with Ledger(place, seals, create=True) as ledger:
            for _ in range(5):
                taken.extend(ledger.reserve(3, issuer))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(1000, 1060))


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ("UPDATE wmark_images SET file_hash = 'ff' WHERE number = 1000", 1000),
        ("UPDATE wmark_images SET sampler = '{' WHERE number = 1000", 1000),
        ("UPDATE wmark_images SET registered = NULL WHERE number = 1000", 1000),
        ("UPDATE wmark_images SET seal = '' WHERE number = 1001", 1001),
        (
            "UPDATE wmark_images SET (file_hash, registered, reserved, sampler, seal) = (SELECT file_hash, registered, "
            "reserved, sampler, seal FROM wmark_images WHERE number = 1001) WHERE number = 1000",
            1000,
        ),
    ],
)
def test_a_row_that_was_changed_or_swapped_is_seen(ledger, issuer, change, number):
    ledger.reserve(2, issuer)
    ledger.register(row(1000, file_hash="ab", sampler={}), row(1001, file_hash="cd", sampler={}))
    with ledger.writing() as connection:
        connection.execute(text(change))
    assert [found.number for found in ledger.search() if not found.genuine] == [number]
    with pytest.raises(LedgerError):
        ledger.register(row(number, file_hash="ef"))


def test_without_its_secret_a_row_is_read_but_not_judged_and_not_written(ledger, place, issuer):
    ledger.reserve(1, issuer)
    with Ledger(place) as plain:
        assert plain.find(1000).genuine is None
        with pytest.raises(LedgerError, match="without a keyring"):
            plain.reserve(1, issuer)
    stranger = Seals(ledger.keyring, lambda name: None)
    with Ledger(place, stranger) as other:
        assert other.find(1000).genuine is None
        with pytest.raises(LedgerError, match="the secret of issuer 'studio' is not here"):
            other.reserve(1, issuer)
    assert ledger.issued() == [range(1000, 1001)]


def test_a_ledger_is_of_one_keyring(ledger, place):
    other = Seals("f" * 16, lambda issuer: None)
    with pytest.raises(LedgerError, match=f"is of keyring {ledger.keyring}, not of"):
        Ledger(place, other)


def test_an_issuer_seals_no_rows_of_another(ring, seals):
    mine, yours = (Row(5, name, "2030-01-01T00:00:00Z") for name in ("a", "b"))
    assert seals.genuine(mine, seals.seal(mine)) and not seals.genuine(yours, seals.seal(mine))
    assert seals.prompt_hash("a", "x") != seals.prompt_hash("b", "x") != seals.prompt_hash("b", "y")


def test_search(ledger, issuer):
    ledger.reserve(4, issuer)
    ledger.reserve(1, IssuerState("other", range(9), range(0)))
    for i, day in enumerate(("01", "02", "03")):
        time = f"2030-01-{day}T00:00:00Z"
        ledger.register(row(1000 + i, registered=time, file_hash=f"{i}f" * 32, prompt_hash=f"p{i}"))

    def numbers(**query):
        return [found.number for found in ledger.search(Query(**query))]

    assert numbers(since="2030-01-02", until="2030-01-03") == [1001]
    assert numbers(file_hash="2F2") == [1002] and numbers(file_hash="2f3") == []
    assert numbers(issuer="other") == [0] and numbers(state="reserved") == [0, 1003]
    assert numbers(prompt_hashes=("p0", "p2")) == [1000, 1002]
    assert numbers(issuer="studio", state="registered", since="2030-01-02T00:00:00Z") == [1001, 1002]


def test_a_ledger_of_an_earlier_version_is_brought_up_and_one_of_a_later_refused(place, seals, issuer, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", schema.STEPS[:1])
        with Ledger(place, seals, create=True) as first:
            first.reserve(1, issuer)
            first.register(row(1000, file_hash="ab"))
    with Ledger(place, seals) as second:
        LedgerManifests(second).store("mark", b"manifest")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", (*schema.STEPS, ("ALTER TABLE wmark_images ADD COLUMN extra TEXT",)))
        with Ledger(place, seals) as second:
            assert second.find(1000).genuine
            with second.reading() as connection:
                assert schema.fact(connection, "schema") == "3"
                assert connection.scalar(text("SELECT count(*) FROM wmark_images WHERE extra IS NULL")) == 1
        Ledger(place, seals).close()
    with pytest.raises(LedgerError, match="schema 3, later than this wmark's 2: update wmark"):
        Ledger(place, seals)


def test_the_file_and_its_logs_are_their_owners(tmp_path, seals, issuer):
    old = os.umask(0)
    try:
        with Ledger(tmp_path / "new" / "x.sqlite", seals, create=True) as ledger:
            ledger.reserve(1, issuer)
            modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()}
    finally:
        os.umask(old)
    assert modes == {"x.sqlite": 0o600, "x.sqlite-wal": 0o600, "x.sqlite-shm": 0o600}
    (tmp_path / "new" / "x.sqlite").chmod(0o640)
    with pytest.raises(LedgerError, match=r"open to other users \(mode 0640\): run `chmod 600`"):
        Ledger(tmp_path / "new" / "x.sqlite", seals)


def test_what_is_no_ledger_is_refused_and_left_alone(tmp_path, seals):
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE t (x)")
    other.close()
    (tmp_path / "text").write_text("not a database, whatever its length" * 100)
    (tmp_path / "empty").touch()
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    os.mkfifo(tmp_path / "pipe", 0o600)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(LedgerError, match="a database, but no ledger"):
        Ledger(tmp_path / "other.sqlite", seals, create=True)
    with pytest.raises(LedgerError, match="damaged or no ledger"):
        Ledger(tmp_path / "text", seals, create=True)
    with pytest.raises(LedgerError, match="holds nothing yet"):
        Ledger(tmp_path / "empty", seals)
    with pytest.raises(LedgerError, match="is a pipe"):
        Ledger(tmp_path / "pipe", seals, create=True)
    with pytest.raises(LedgerError, match="does not exist"):
        Ledger(tmp_path / "missing", seals)
    with pytest.raises(LedgerError, match="does not exist"):
        Ledger(tmp_path / "missing", create=True)
    assert {path.name for path in tmp_path.iterdir()} == {*before, "pipe"}
    assert (tmp_path / "other.sqlite").read_bytes() == before["other.sqlite"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:sesame@localhost:x/db",
        "postgresql://me:sesame@localhost",
        "mysql://me:sesame@localhost/db",
        "postgresql://me:sesame@127.0.0.1:1/db?password=sesame",
    ],
)
def test_errors_do_not_hold_the_password(url, seals):
    pytest.importorskip("psycopg")
    with pytest.raises(LedgerError) as raised:
        Ledger(url, seals)
    shown = f"{raised.value} {raised.value.__cause__} {raised.value.__context__}"
    assert "sesame" not in shown


def test_a_server_that_refuses_is_one_sentence_without_the_password(database, seals):
    with pytest.raises(LedgerError, match="password authentication failed") as raised:
        Ledger(database.replace("sesame", "wrongword"), seals)
    assert "wrongword" not in str(raised.value) and "ledger postgresql://wmark@127.0.0.1" in str(raised.value)
    with Ledger(database, seals, create=True) as ledger:
        assert "sesame" not in repr(ledger) + repr(ledger.place) + str(vars(ledger))
