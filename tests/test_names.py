"""Names: what is derived, what is planted, and that no number is given twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

import wmark
from wmark.errors import KeyringError
from wmark.watermark.counter import Counter, counter_path
from wmark.watermark.issuer import write_issuer
from wmark.watermark.keyring import Keyring
from wmark.watermark.layout import Layout
from wmark.watermark.noise import named_noise
from wmark.watermark.numbers import NUMBERS
from wmark.watermark.patterns import Pattern
from wmark.watermark.spectrum import read

SMALL = Layout.of(Pattern.of("square", radius=7, channels=(0, 1)))


class Counted:
    """Numbers of nobody's file."""

    def __init__(self, first=0):
        self.next = first

    def reserve(self, count, issuer):
        self.next += count
        return range(self.next - count, self.next)


@pytest.fixture
def named():
    ring = Keyring(bytes(range(32)), Pattern.of())
    ring.add_names(SMALL)
    return ring


@pytest.fixture
def stored(named, tmp_path):
    path = tmp_path / "keyring.json"
    named.save(path)
    Counter(counter_path(path), named.fingerprint).begin(named.named.issuers[0])
    return path


def test_every_number_has_an_address_of_its_own_and_neighbours_share_none(named):
    sections = named.names().sections
    numbers = np.concatenate([np.arange(20_000), NUMBERS - 1 - np.arange(100)])
    digits = sections.digits_of(numbers)
    assert np.array_equal(sections.numbers_of(digits), numbers)
    assert digits.min() == 0
    assert digits.max() == SMALL.digits - 1 == 255
    for column in digits[:20_000].T:
        counts = np.bincount(column, minlength=256)
        assert ((counts - 78.125) ** 2 / 78.125).sum() < 350  # Chi squared, 255 degrees of freedom: p 1e-4.
        assert (column[1:] == column[:-1]).mean() < 0.01


def test_sections_and_name_share_no_coordinate(named):
    sections = named.names().sections
    used = np.concatenate([*sections.addressed, sections.named])
    assert np.array_equal(np.sort(used), np.arange(SMALL.pattern.dimension))
    assert len({len(part) for part in sections.addressed}) == 1


def test_what_is_planted_is_normal_and_is_what_is_read(named):
    names, pattern = named.names(), SMALL.pattern
    noises = torch.stack([named_noise(names, number, 5, (2, 16, 16)) for number in range(200)])
    coordinates = read(noises, pattern).numpy()
    assert np.allclose(coordinates[7], names.coordinates(7))
    assert coordinates.std() == pytest.approx(1, abs=0.01)
    assert noises.std() == pytest.approx(1, abs=0.01)
    assert noises.mean(0).square().mean() == pytest.approx(SMALL.pattern.strength**2 + 1 / 200, abs=0.04)


def test_a_small_canvas_holds_a_part_of_the_same_name(named):
    names = named.names()
    part = SMALL.pattern.fitted((8, 16))
    small = named_noise(names, 3, 0, (2, 8, 16))[None]
    assert np.allclose(read(small, SMALL.pattern).numpy()[0], names.coordinates(3)[part.left])


def test_an_issuer_returns_noises_and_their_identities(named):
    issuer = wmark.Issuer(named.names("main"), Counted())
    noise, identities = wmark.initial_noise(issuer, 2, seed=4, shape=(2, 16, 16))
    assert [one.number for one in identities] == [0, 1]
    assert torch.equal(noise[1], named_noise(named.names(), 1, 5, (2, 16, 16)).float())
    with pytest.raises(KeyringError, match="too few frequencies"):
        wmark.initial_noise(issuer, shape=(2, 1, 1))
    assert issuer.numbers.next == 2


def test_an_issuer_knows_its_own_names_alone(named, tmp_path):
    named.add_issuer("studio", count=1000)
    issuer = write_issuer(named.names("studio"), tmp_path / "studio.json")
    loaded = wmark.Issuer.load(tmp_path / "studio.json")
    number = loaded.issue(1)[0].number
    assert number == named.named.issuers[1].first == 1 << 30
    assert np.array_equal(loaded.names.coordinates(number), named.names().coordinates(number))
    assert issuer.names.secret(number) == named.names().secret(number)
    with pytest.raises(KeyringError, match="number 5 is no issuer's"):
        loaded.names.coordinates(5)
    told = json.loads((tmp_path / "studio.json").read_text())
    assert (tmp_path / "studio.json").stat().st_mode & 0o077 == 0
    assert told["keyring"] == named.fingerprint
    with pytest.raises(KeyringError, match="999 numbers left, not 1000"):
        loaded.issue(1000)


def test_a_keyring_keeps_its_names(named, stored):
    loaded = Keyring.load(stored)
    assert loaded.named == named.named
    assert json.loads(stored.read_text())["schema"] == "wmark-keyring/2"
    assert loaded.names().secret(9) == named.names().secret(9)
    loaded.revoke_issuer("main")
    with pytest.raises(KeyringError, match="issuer 'main' was revoked"):
        wmark.Issuer(loaded.names("main"), Counted())
    with pytest.raises(KeyringError, match="has no names: add them"):
        Keyring.create().names()


@pytest.mark.parametrize("part", ["secret", "shared", "keyring", "issuer"])
def test_an_issuers_file_that_was_edited_is_refused(named, tmp_path, part):
    path = tmp_path / "studio.json"
    named.add_issuer("studio")
    write_issuer(named.names("studio"), path)
    content = json.loads(path.read_text())
    content[part] = (
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" if part != "issuer" else {**content[part], "first": 0}
    )
    path.write_text(json.dumps(content))
    with pytest.raises(KeyringError, match="damaged or was edited"):
        wmark.Issuer.load(path)


def test_a_ledger_can_stand_in_the_counters_place(named):
    class Ledger:
        def reserve(self, count, issuer):
            asked.append((issuer.name, issuer.numbers))
            return range(70, 70 + count)

    asked = []
    issuer = wmark.Issuer(named.names("main"), Ledger())
    assert [one.number for one in issuer.issue(2)] == [70, 71]
    assert asked == [("main", range(1 << 30))]
    stranger = wmark.Issuer(named.names("main"), Counted(1 << 30))
    with pytest.raises(KeyringError, match="are not 1 numbers of issuer 'main'"):
        stranger.issue(1)


def test_numbers_are_not_begun_anew(named, stored):
    issuer = wmark.Issuer.load(stored)
    assert [one.number for one in issuer.issue(3)] == [0, 1, 2]
    assert wmark.Issuer.load(stored).issue(1)[0].number == 3
    counter_path(stored).unlink()
    with pytest.raises(KeyringError, match="is missing: restore it"):
        issuer.issue(1)
    with pytest.raises(KeyringError, match="counts no numbers of issuer 'main'"):
        counter_path(stored).write_text('{"schema": "wmark-numbers/1", "keyring": "x", "issuer": "main", "next": 0}')
        issuer.issue(1)


ISSUE = """
import sys
from wmark.watermark.issuer import Issuer
issuer = Issuer.load(sys.argv[1])
while True:
    for one in issuer.issue(3):
        print(one.number, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills and locks of POSIX")
def test_no_number_is_given_twice_by_processes_that_are_killed(named, stored):
    given = []
    for _ in range(2):
        crowd = [
            subprocess.Popen([sys.executable, "-c", ISSUE, str(stored)], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for one in crowd:
            given += [int(one.stdout.readline()) for _ in range(12)]
        for one in crowd:
            one.send_signal(signal.SIGKILL)
            *whole, _ = one.communicate()[0].split("\n")
            given += [int(line) for line in whole]
    assert len(given) > 40
    assert len(set(given)) == len(given)
    assert wmark.Issuer.load(stored).issue(1)[0].number > max(given)
