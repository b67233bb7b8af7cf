"""What `check` sees, and what `merge` brings together and leaves out; on files, and once on a server."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest
from sqlalchemy import text

from wmark.errors import LedgerError
from wmark.ledger import Ledger, Row, Seals
from wmark.ledger.check import check
from wmark.ledger.merge import merge
from wmark.ledger.numbers import IssuerState
from wmark.watermark.secret import Secret

BROKEN = {
    "seal": "UPDATE wmark_images SET model = 'another' WHERE number = 1002",
    "missing": "DELETE FROM wmark_images WHERE number = 1001",
    "counter": "UPDATE wmark_issuers SET next = 1003",
    "range": "UPDATE wmark_issuers SET first = 1002, stop = 1900",
}


@pytest.fixture
def filled(ledger, issuer):
    """Five numbers, the first four of them registered."""
    ledger.reserve(5, issuer)
    ledger.register(*(Row(1000 + i, "studio", "", file_hash=f"{i}" * 64) for i in range(4)))
    return ledger


def kinds(ledger):
    return [finding.kind for finding in check(ledger) if finding.wrong]


def test_a_sound_ledger_is_sound_and_tells_what_was_never_finished(filled):
    (only,) = check(filled)
    assert (only.kind, only.wrong, only.number) == ("unfinished", False, 1004)


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_wrong_is_seen(filled, kind):
    with filled.writing() as connection:
        connection.execute(text(BROKEN[kind]))
    assert kind in kinds(filled)


def test_rows_of_unknown_issuers_are_seen(tmp_path, seals, issuer):
    with Ledger(tmp_path / "x.sqlite", seals, create=True) as ledger:
        ledger.reserve(2, issuer)
        with sqlite3.connect(tmp_path / "x.sqlite") as connection:  # Who writes past us has no rules to keep.
            connection.execute("UPDATE wmark_images SET issuer = 'nobody' WHERE number = 1001")
        assert kinds(ledger) == ["unknown issuer", "seal"]


@pytest.mark.parametrize("taken", [(1000,), (1004,), (1001, 1002), (1000, 1001, 1002, 1003, 1004)])
def test_rows_that_were_taken_away_are_missed(filled, taken):
    with filled.writing() as connection:
        connection.execute(text(f"DELETE FROM wmark_images WHERE number IN ({', '.join(map(str, taken))})"))
    (missing,) = [finding for finding in check(filled) if finding.kind == "missing"]
    assert missing.number == taken[0]
    assert str(taken[-1]) in missing.sentence


def test_a_file_under_two_numbers_is_seen(filled):
    filled.register(Row(1004, "studio", "", file_hash="0" * 64))
    (twice,) = check(filled)
    assert (twice.kind, twice.number) == ("duplicate", 1000)


def test_damage_of_the_file_is_seen(tmp_path, seals, issuer):
    path = tmp_path / "x.sqlite"
    with Ledger(path, seals, create=True) as ledger:
        ledger.reserve(500, issuer)
    data = bytearray(path.read_bytes())
    start = data.rindex(b"2026") if b"2026" in data else len(data) // 2
    data[start - 3000 : start] = bytes(3000)
    path.write_bytes(data)
    try:
        with Ledger(path, seals) as ledger:
            assert set(kinds(ledger)) & {"storage", "seal", "missing"}
    except LedgerError as error:
        assert "damaged" in str(error)


@pytest.fixture
def other(tmp_path, seals):
    with Ledger(tmp_path / "other.sqlite", seals, create=True) as opened:
        yield opened


def test_what_is_new_is_added_and_a_second_time_nothing(filled, other):
    other.reserve(3, IssuerState("fleet", range(5000, 6000), range(0)))
    other.register(Row(5001, "fleet", "", prompt="a sea", fingerprint=b"x"))
    outcome = merge(filled, other)
    assert (outcome.added, outcome.finished, outcome.known, outcome.conflicts) == (3, 0, 0, ())
    assert merge(filled, other).known == 3
    assert filled.find(5001) == other.find(5001) and filled.find(5001).genuine
    assert filled.issued() == [range(1000, 1005), range(5000, 5003)]
    assert kinds(filled) == []


def test_a_copy_that_went_on_is_brought_back(filled, other, issuer):
    merge(other, filled)
    other.register(Row(1004, "studio", "", file_hash="4" * 64))
    other.reserve(2, issuer)
    outcome = merge(filled, other)
    assert (outcome.added, outcome.finished, outcome.known) == (2, 1, 4)
    assert filled.find(1004).state == "registered"
    assert filled.reserve(1, issuer) == range(1007, 1008)
    assert merge(other, filled).added == 1


def test_what_disagrees_is_reported_and_left(filled, other, issuer):
    merge(other, filled)
    with filled.writing() as connection:
        connection.execute(text("UPDATE wmark_images SET model = 'x' WHERE number = 1000"))
    other.register(Row(1004, "studio", "", file_hash="a" * 64))
    filled.register(Row(1004, "studio", "", file_hash="b" * 64))
    outcome = merge(filled, other)
    assert outcome.added == outcome.finished == 0
    seal, file = outcome.conflicts
    assert seal == "number 1000: its row here does not carry its seal"
    assert file == f"number 1004: registered for file {'b' * 64} here and {'a' * 64} there"
    assert filled.find(1004).file_hash == "b" * 64
    assert "1000: its row there" in merge(other, filled).conflicts[0]


def test_numbers_that_were_issued_twice_are_reported(filled, other, issuer):
    other.reserve(1, issuer)
    with other.writing() as connection:
        other.put(connection, replace(other.row(connection, 1000), reserved="2020-01-01T00:00:00Z"))
    (conflict,) = merge(filled, other).conflicts
    assert conflict.startswith("number 1000: reserved at") and conflict.endswith("so issued twice")


def test_issuers_that_disagree_are_left_out_with_their_rows(filled, other):
    other.reserve(1, IssuerState("studio", range(7000, 8000), range(0)))
    other.reserve(1, IssuerState("rival", range(1500, 1600), range(0)))
    outcome = merge(filled, other)
    assert outcome.added == 0 and len(outcome.conflicts) == 2
    assert "has the numbers from 1000 to 1999 here and 7000 to 7999 there" in " ".join(outcome.conflicts)
    assert len(list(filled.search())) == 5


def test_ledgers_of_two_keyrings_are_not_merged(filled, tmp_path):
    strange = Seals("f" * 16, lambda issuer: Secret(bytes(32)))
    path = tmp_path / "strange.sqlite"
    with Ledger(path, strange, create=True) as stranger, pytest.raises(LedgerError, match="nothing is merged"):
        merge(filled, stranger)
