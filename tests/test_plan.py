from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from wmark import Detector, Key, ModelError, Pattern, WmarkError
from wmark.attacks import find_damage
from wmark.detectors.plan import HINT, Look, every_reading, plan, read_plan, write_plan
from wmark.detectors.reading import KeyGroup, read_as_planted
from wmark.detectors.statistic import hypercone_log10_p
from wmark.images import to_pixels, to_unit
from wmark.inversion.chain import recover
from wmark.inversion.recovery import EXACT, FAST, READER, Recovery
from wmark.inversion.whitening import whiten
from wmark.models.reader import Reader, ReaderNet, Shape

MIXED = replace(EXACT, name="reader+exact", beside=0.4)


@pytest.fixture(scope="module")
def reader():
    torch.manual_seed(0)
    return Reader(ReaderNet(Shape(width=8, dilations=(1,))), plan=write_plan(every_reading([READER, MIXED], HINT)))


def names(effort, align="auto", kinds=("disc",), **options):
    patterns = [Pattern.of(kind) for kind in kinds]
    return [look.name for look in plan(effort, align, 1e-6, patterns=patterns, **options).looks]


def test_a_reader_is_the_first_look_and_brings_its_own_plan(reader):
    told = ["reader/identity", "reader/search", "reader+exact/identity", "reader+exact/search"]
    assert names("auto", reader=reader) == told
    assert names("auto", "off", reader=reader) == told[::2]
    assert names("auto", "full", reader=reader) == told[1::2]
    assert names("fast", reader=reader) == told[:2]
    assert names("exact", reader=reader) == names("exact") == ["exact/identity", "exact/search"]
    assert names("fast") == ["fast/identity", "fast/search"]
    assert names("auto")[0] == "latent/identity"
    assert names([FAST], reader=reader) == ["fast/identity", "fast/search"]


def test_where_a_pilot_leads_is_looked_at_after_the_first_search(reader):
    found = names("auto", reader=reader, pilots=True)
    assert found[:4] == ["reader/identity", "reader/search", "reader/again", "reader/parts"]
    assert names("fast", "full", pilots=True) == ["fast/search", "fast/again", "fast/parts"]
    assert names("auto", "off", pilots=True) == names("auto", "off")
    assert [name for name in names("auto", pilots=True) if name.endswith("parts")] == ["fast/parts"]


def test_turned_colours_are_looked_at_last_where_the_reader_knows_them(reader):
    knows = replace(reader, turning={"weight": torch.zeros(4, 4, 3, 3), "bias": torch.zeros(4)})
    for effort in ("auto", "fast"):
        assert names(effort, reader=knows) == [*names(effort, reader=reader), "turned/identity"]
        assert names(effort, "full", reader=knows, pilots=True)[-1] == "turned/identity"
        assert names(effort, "off", reader=knows) == names(effort, "off", reader=reader)
    for effort in ("exact", [FAST]):
        assert names(effort, reader=knows) == names(effort)
    assert names("auto", kinds=["ring", "disc"], reader=knows) == names("auto", kinds=["ring", "disc"], reader=reader)
    with pytest.raises(WmarkError, match="nothing but a reader"):
        replace(FAST, turned=True)


def test_rings_are_read_from_inversions(reader):
    assert names("auto", kinds=["ring"], reader=reader) == ["fast/identity", "exact/identity"]
    assert names("auto", kinds=["ring", "disc"], reader=reader) == [
        *("fast/identity", "fast/search", "exact/identity", "exact/search")
    ]


def test_a_plan_that_cannot_be_read_is_refused(reader):
    assert read_plan(reader.plan) == every_reading([READER, MIXED], HINT)
    for entries in ([], [{}], reader.plan[:1], [{**reader.plan[0], "recovery": {"name": "x", "diffusion": "y"}}]):
        with pytest.raises(ModelError, match="wmark tune"):
            plan("auto", "auto", 1e-6, patterns=[Pattern.of()], reader=replace(reader, plan=entries))
    with pytest.raises(WmarkError, match="'heroic' is not one of"):
        plan("heroic", "auto", 1e-6, patterns=[Pattern.of()])


def test_what_shows_no_hint_is_not_looked_at_again_and_what_does_is(model, ring, marked, unmarked, monkeypatch):
    looked = []

    def watched(model, recovery, images, known):
        looked.append((recovery.name, len(images)))
        return recover(model, recovery, images, known)

    monkeypatch.setattr("wmark.detectors.following.recover", watched)
    looks = (Look(Recovery("first", steps=1), "identity"), Look(Recovery("second", steps=2), "identity", HINT))
    monkeypatch.setattr("wmark.detectors.plan.WITHOUT_READER", looks)
    inverting = replace(model, reader=None)
    worn = find_damage("jpeg:10")(marked, seed=0)
    verdicts = Detector(inverting, ring.key("one"), align="off", fpr=1e-300).verify([worn, unmarked])
    assert looked == [("first", 2), ("second", 1)]
    assert [verdict.looks_allowed for verdict in verdicts] == [2, 2]
    assert verdicts[1].look == "first/identity"


def test_an_inversion_is_read_beside_the_reader(model, reader, marked):
    images = to_pixels(marked)[None]
    with pytest.raises(ModelError, match="has no learned reader"):
        recover(replace(model, reader=None), READER, images)
    learned = replace(model, reader=reader)
    said, inverted = recover(learned, READER, images), recover(learned, FAST, images)
    with torch.no_grad():
        assert torch.equal(said.reading, reader(model.encode(to_unit(images))))
    assert torch.equal(inverted.reading, whiten(inverted.noise))
    mixed = recover(learned, replace(FAST, beside=0.4), images)
    expected = said.reading / said.reading.square().mean().sqrt() + 0.4 * inverted.reading
    assert torch.cosine_similarity(mixed.reading.flatten(), expected.flatten(), dim=0) > 0.99999


def test_what_unmarked_readings_share_is_projected_out_and_the_test_stays_exact():
    """A key that happens to stand close to the mean would be close to every picture."""
    generator = torch.Generator().manual_seed(0)
    key, mean = Key.derive(b"k" * 32, "k", Pattern.of()), torch.randn(4, 64, 64, generator=generator)
    readings = mean + 0.5 * torch.randn(40, 4, 64, 64, generator=generator)
    group = KeyGroup([key] + [Key.derive(b"k" * 32, f"k{i}", Pattern.of()) for i in range(300)])

    def p_values(common):
        rows = read_as_planted(readings, group, (64, 64), common)
        cosines = np.array([[standing.cosine for standing in row] for row in rows])
        return 10 ** hypercone_log10_p(cosines, group.pattern.dimension)

    biased, mended = p_values(None), p_values(mean[None])
    assert np.median([kstest(column, "uniform").pvalue for column in biased.T]) < 1e-6
    failing = np.mean([kstest(column, "uniform").pvalue < 0.05 for column in mended.T])
    assert failing < 0.1
    assert all(kstest(row, "uniform").pvalue > 1e-4 for row in mended)
