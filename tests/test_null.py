"""`wmark bench null`: where its pictures come from, what it reads, and whether its statistics can be believed."""

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import wmark
from wmark import Sampling, WmarkError
from wmark.benchmarks import null, null_readings, null_removed, null_search
from wmark.benchmarks.null_readings import Readings, Subject, null_keys, synthetics
from wmark.benchmarks.null_sources import (
    KINDS,
    Package,
    Rule,
    Sources,
    distinct,
    excluded,
    fetch,
    known_in,
    read_sources,
    tomllib,
)
from wmark.benchmarks.null_statistics import (
    Products,
    clopper_pearson,
    fixed_keys,
    kolmogorov,
    mean_direction,
    over_keys,
    p_values,
    principal_directions,
    unit,
)
from wmark.detectors.plan import plan
from wmark.detectors.reading import KeyGroup, prepare, read_as_planted
from wmark.detectors.statistic import hypercone_log10_p
from wmark.images import perceptual_hash
from wmark.images.synthetic import SYNTHETIC, synthetic
from wmark.inversion.chain import recover
from wmark.inversion.recovery import FAST
from wmark.models.latent_diffusion import LatentDiffusion
from wmark.watermark.patterns import Pattern

ROOT = Path(wmark.__file__).parent


def drawn(number, size=(320, 280)):
    return synthetic("shapes", number, size)


def encoded(image, suffix=".png"):
    content = io.BytesIO()
    image.save(content, {".png": "PNG", ".jpg": "JPEG"}[suffix])
    return content.getvalue()


def tar_of(files):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def deb_of(files):
    def member(name, data):
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        return header + data + b"\n" * (len(data) % 2)

    parts = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": tar_of(files)}
    return b"!<arch>\n" + b"".join(member(name, data) for name, data in parts.items())


def wheel_of(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


FILES = {f"share/pictures/{i}.png": encoded(drawn(i)) for i in range(4)} | {
    "share/pictures/small.png": encoded(drawn(4, (200, 400))),
    "share/pictures/flat.png": encoded(Image.new("RGB", (300, 300), "teal")),
    "share/pictures/broken.png": b"\x89PNG",
    "share/pictures/logo.png": encoded(drawn(5)),
    "share/readme.txt": b"no picture",
}
ARCHIVES = {
    "debian": ("art_1_all.deb", deb_of({f"./{name}": data for name, data in FILES.items()})),
    "npm": ("art-1.tgz", tar_of(FILES)),
    "pypi": ("art-1-py3-none-any.whl", wheel_of(FILES)),
}


def one_package(registry, **changes):
    digest = hashlib.sha256(ARCHIVES[registry][1]).hexdigest()
    rule = Rule("drawing", ("pictures/*",), ("logo*",))
    package = Package(registry, "art", "1", digest, "CC0-1.0", (rule,))
    return Sources(("http://localhost stable",), (replace(package, **changes),))


class Client:
    """Stands for the registries' clients: leaves the archive where it is to be, and notes what it was asked."""

    def __init__(self, registry):
        self.registry, self.asked = registry, []

    def __call__(self, command, folder):
        self.asked.append(list(map(str, command)))
        if "update" not in command:
            name, content = ARCHIVES[self.registry]
            (folder / name).write_bytes(content)
        return ""


@pytest.mark.parametrize(("registry", "asked"), [("debian", "art=1"), ("npm", "art@1"), ("pypi", "art==1")])
def test_pictures_of_a_package_are_fetched_once(registry, asked, tmp_path):
    client = Client(registry)
    pictures = fetch(one_package(registry), tmp_path, client)
    assert sorted(p.member for p in pictures) == [f"share/pictures/{i}.png" for i in range(4)]
    assert client.asked[-1][-1] == asked
    assert all(hashlib.sha256(p.file.read_bytes()).hexdigest() == p.hash for p in pictures)
    assert pictures[0].size == (280, 320)

    def offline(command, folder):
        raise AssertionError("it was fetched already")

    assert fetch(one_package(registry), tmp_path, offline) == pictures
    assert not list((tmp_path / "archives").iterdir())
    pictures[0].file.unlink()
    assert fetch(one_package(registry), tmp_path, client) == pictures


def test_limits_count_usable_pictures_and_the_first_rule_counts(tmp_path):
    rules = (Rule("map", ("pictures/1.png",)), Rule("drawing", ("*.png",), limit=2))
    pictures = fetch(one_package("npm", pictures=rules), tmp_path, Client("npm"))
    assert sorted(p.kind for p in pictures) == ["drawing", "drawing", "map"]
    assert next(p for p in pictures if p.kind == "map").member == "share/pictures/1.png"


def test_an_archive_that_was_altered_is_refused(tmp_path):
    with pytest.raises(WmarkError, match=r"art-1\.tgz has the SHA-256 [0-9a-f]{64}, but 0{64} is listed"):
        fetch(one_package("npm", sha256="0" * 64), tmp_path, Client("npm"))
    assert not list((tmp_path / "index").iterdir())


@pytest.mark.parametrize("registry", ARCHIVES)
def test_a_damaged_archive_is_refused(registry, tmp_path, monkeypatch):
    name, content = ARCHIVES[registry]
    monkeypatch.setitem(ARCHIVES, registry, (name, content[: len(content) // 2]))
    with pytest.raises(WmarkError, match="is damaged"):
        fetch(one_package(registry), tmp_path, Client(registry))


def test_without_a_network_the_sentence_names_the_package(tmp_path, monkeypatch):
    def offline(command, folder):
        raise WmarkError("npm failed: ENOTFOUND")

    with pytest.raises(
        WmarkError, match=r"art 1 of npm cannot be fetched \(npm failed: ENOTFOUND\): check the network, or copy"
    ):
        fetch(one_package("npm"), tmp_path, offline)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WmarkError, match=r"npm is needed to fetch packages"):
        fetch(one_package("npm"), tmp_path)


def test_the_shipped_list_has_nothing_of_the_training():
    sources = read_sources()
    training = tomllib.loads((ROOT / "training" / "sources.toml").read_text())["packages"]
    taken = {rules["name"] for rules in training} | {r["larger"]["package"] for r in training if "larger" in r}
    assert not taken & {package.name for package in sources.packages}
    assert {rule.kind for package in sources.packages for rule in package.pictures} == set(KINDS)
    assert len({(p.registry, p.name) for p in sources.packages}) == len(sources.packages)
    assert all(len(p.sha256) == 64 and p.licence and p.version for p in sources.packages)
    hashes, likenesses = excluded()
    assert len(hashes) == len(likenesses) > 200


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (('kind = "map"', 'kind = "mood"'), "art has pictures of kind 'mood': choose one of photograph"),
        (('"npm"', '"conda"'), "art is of 'conda', which is not one of debian, npm, pypi"),
        (('version = "1"', ""), "is no list of packages"),
        (("[[packages.pictures]]", "[[pictures]]"), "is no list of packages"),
        (("]]", ""), "is no list of packages"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(change, error, tmp_path):
    text = """debian = ["http://localhost stable"]
[[packages]]
registry = "npm"
name = "art"
version = "1"
sha256 = "00"
licence = "MIT"
[[packages.pictures]]
kind = "map"
files = ["*.png"]
"""
    path = tmp_path / "list.toml"
    path.write_text(text)
    assert read_sources(path).packages[0].pictures == (Rule("map", ("*.png",)),)
    path.write_text(text.replace(*change))
    with pytest.raises(WmarkError, match=error):
        read_sources(path)


def photograph(number, size=320):
    """Something with structure everywhere, as a photograph has it."""
    coarse = np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def test_pictures_that_look_like_a_training_picture_or_each_other_are_left_out(tmp_path, monkeypatch):
    shown = {"a.png": encoded(photograph(1)), "b.jpg": encoded(photograph(1, 400), ".jpg")}
    shown |= {"c.png": encoded(photograph(2)), "d.png": encoded(photograph(3))}
    monkeypatch.setitem(ARCHIVES, "npm", ("art-1.tgz", tar_of(shown)))
    pictures = fetch(one_package("npm", pictures=(Rule("photograph", ("*",)),)), tmp_path / "data", Client("npm"))
    assert len(pictures) == 4

    dataset = tmp_path / "dataset"
    dataset.mkdir()
    webp = io.BytesIO()
    photograph(2, 256).save(webp, "WEBP", quality=70)
    with zipfile.ZipFile(dataset / "pictures-000.zip", "w") as shard:
        shard.writestr(f"{'ab' * 32}.webp", webp.getvalue())
    entry = {"hash": "ab" * 32, "shard": "pictures-000.zip"}
    (dataset / "manifest.json").write_text(json.dumps({"pictures": [entry]}))
    listed = tmp_path / "excluded.txt"
    listed.write_text(known_in(dataset))
    left = list(distinct(pictures, excluded(listed)))
    assert sorted(p.member for p in left) in (["a.png", "d.png"], ["b.jpg", "d.png"])
    assert [p.hash for p in left] == sorted(p.hash for p in left)
    assert [p.hash for p in distinct(left)] == [p.hash for p in left]
    assert [p.hash for p in distinct(left, bits=127)] == [left[0].hash]
    with pytest.raises(WmarkError, match="is not a prepared dataset"):
        known_in(tmp_path)


def test_a_perceptual_hash_outlives_scaling_and_compression():
    jpeg = Image.open(io.BytesIO(encoded(photograph(5, 500), ".jpg")))
    assert (perceptual_hash(photograph(5)) != perceptual_hash(jpeg)).sum() <= 8
    assert (perceptual_hash(photograph(5)) != perceptual_hash(photograph(6))).sum() > 30


@pytest.mark.parametrize("kind", SYNTHETIC)
def test_a_synthetic_picture_is_told_by_its_number(kind):
    first, again, other = (np.asarray(synthetic(kind, number, (80, 96))) for number in (1, 1, 2))
    assert first.shape == (80, 96, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def sphere(count, dimension, seed):
    return unit(np.random.default_rng(seed).normal(size=(count, dimension)))


def test_tabulated_p_values_are_the_exact_ones():
    cosines = np.linspace(-0.4, 0.4, 101)
    assert np.allclose(np.log10(p_values(cosines, 300)), hypercone_log10_p(cosines, 300), atol=1e-5)
    assert np.allclose(p_values(np.array([-1.0, 0.0, 1.0]), 8), [1, 0.5, 0], atol=1e-6)


def test_uniform_p_values_are_rejected_as_often_as_they_should():
    values = np.random.default_rng(0).uniform(size=(400, 2000))
    assert abs((kolmogorov(values) < 0.05).mean() - 0.05) < 0.015
    seen = fixed_keys(values)
    assert abs(seen["ratio"] - 1) < 0.05
    assert abs(seen["share"] - 0.01) < 0.001
    across = over_keys(values)
    assert abs(across["pictures_rejected"] - 0.05) < 0.03
    row = across["share_below"]["0.01"]
    assert row["low"] < 0.01 < row["high"]
    assert row["high"] - row["low"] == pytest.approx(4 * row["standard_error"], rel=0.1)


def test_a_shared_direction_spoils_fixed_keys_and_one_projection_mends_them():
    dimension, shared = 500, sphere(1, 500, 1)
    readings = unit(sphere(2000, dimension, 2) + 0.35 * shared)
    learning, tested = readings[:1600], readings[1600:]
    products = Products(tested, sphere(1000, dimension, 3))
    before = fixed_keys(products.p_values())
    assert before["rejected_one_sign"] > 0.7
    assert before["rejected"] > 0.1
    # Over keys nothing is wrong: the test is exact for each picture.
    assert over_keys(products.p_values())["pictures_rejected"] < 0.12
    for directions in (mean_direction(learning), principal_directions(learning, 1), principal_directions(learning, 5)):
        after = fixed_keys(products.p_values(directions))
        assert after["rejected_one_sign"] < 0.085
        assert after["rejected"] < 0.075
        assert after["ratio"] < 1.1
    some = np.arange(100, 200)
    assert np.allclose(products.p_values(shared, some), products.p_values(shared)[some])


def test_principal_directions_are_orthonormal_and_the_first_is_the_strongest():
    readings = sphere(60, 40, 4) + 0.5 * sphere(1, 40, 5)
    directions = principal_directions(readings, 4)
    assert np.allclose(directions @ directions.T, np.eye(4), atol=1e-5)
    power = np.square(readings @ directions.T).sum(axis=0)
    assert np.all(np.diff(power) < 0)
    assert abs(float(mean_direction(readings)[0] @ directions[0])) > 0.9


def test_clopper_and_pearson():
    assert clopper_pearson(0, 10) == (0.0, pytest.approx(0.3085, abs=1e-4))
    assert clopper_pearson(10, 10) == (pytest.approx(0.6915, abs=1e-4), 1.0)
    assert clopper_pearson(3, 20) == (pytest.approx(0.0321, abs=1e-4), pytest.approx(0.3789, abs=1e-4))


@pytest.fixture(scope="module")
def small(small_pipeline):
    """A model with random weights and the smallest latents that a disc fits into with ease."""
    pipeline = small_pipeline("epsilon")
    pipeline.unet.register_to_config(sample_size=40)
    return LatentDiffusion.from_pipeline(pipeline, "small")


def test_readings_are_what_the_detector_compares_keys_with(small, tmp_path):
    pattern = Pattern.of()
    tall = Subject("drawing", "ff" * 32, lambda: drawn(7, (300, 160)))
    subjects = [*synthetics(2, small.native_size), tall]
    readings = Readings(small, pattern, tmp_path)
    coordinates = unit(readings.of(FAST, subjects))
    keys = null_keys(5, pattern)
    for subject, row in zip(subjects, coordinates, strict=True):
        noise = prepare(recover(small, FAST, readings.pixels(subject)[None]), pattern)
        canvas = readings.detector.canvases(tuple(noise.shape[-2:]), pattern)[0].size
        (standings,) = read_as_planted(noise, KeyGroup(keys), canvas)
        shown = [float(row @ key.direction) * len(row) ** 0.5 for key in keys]
        held = standings[0].dimension
        expected = [standing.cosine * held**0.5 for standing in standings]
        assert shown == pytest.approx(expected, abs=0.01 if held == len(row) else 0.1)


def test_readings_are_kept_and_added_to(small, tmp_path, monkeypatch):
    subjects = synthetics(3, small.native_size)
    first = Readings(small, Pattern.of(), tmp_path).of(FAST, subjects[:4])
    asked = []
    monkeypatch.setattr(null_readings, "recover", lambda *a: asked.append(len(a[2])) or recover(*a))
    both = Readings(small, Pattern.of(), tmp_path).of(FAST, subjects)
    assert sum(asked) == len(subjects) - 4
    assert np.array_equal(both[:4], first)
    shard = next(tmp_path.rglob("*.npz"))
    shard.write_bytes(b"PK")
    with pytest.raises(WmarkError, match=r"\.npz is damaged: delete it"):
        Readings(small, Pattern.of(), tmp_path).of(FAST, subjects)


def test_a_search_pays_for_at_least_what_it_is_worth(small, tmp_path, monkeypatch):
    subjects = synthetics(1, small.native_size)
    readings = Readings(small, Pattern.of(), tmp_path)
    looks = plan([FAST], "full", 1e-6, patterns=[Pattern.of()])
    row, guided = null_search.searched(readings, looks, subjects, 2, tmp_path)
    assert guided["look"] == "fast, where a pilot leads"
    assert (guided["searches"], guided["trials"]) == (600, 12)
    assert guided["share_below"]["0.1"] <= 0.15
    assert row["searches"] == 6
    assert row["trials"] > row["effective_trials"] > 1000
    assert row["share_below"]["0.01"] <= 0.2

    def again(*_):
        raise AssertionError("it was searched already")

    monkeypatch.setattr(null_search, "recover", again)
    assert null_search.searched(readings, looks, subjects, 2, tmp_path) == [row, guided]


def test_the_whole_benchmark_at_the_smallest_size(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(null, "read_sources", lambda: one_package("npm"))
    monkeypatch.setattr(null_removed, "FEWEST", 2)
    monkeypatch.setattr(null_removed, "TESTED", 2)
    fetch(one_package("npm"), tmp_path / "data", Client("npm"))
    extent = null.Extent(images=4, own=4, synthetic=4, keys=50, searched=0)
    places = {"data": tmp_path / "data", "training": None, "out": tmp_path}
    result = null.run(small, extent, effort="fast", **places, sampling=Sampling(2))
    assert result["pictures"]["kinds"] == {"drawing": 4, "model": 4, "flat": 4, "shapes": 4, "noise": 4}
    assert result["pictures"]["licences"] == {"CC0-1.0": 4}
    assert {row["tested"] for row in result["results"]} >= {"real", "drawing"}
    pictures = {row["tested"]: row["pictures"] for row in result["results"]}
    apart = [pictures[f"real, {bits} bits apart"] for bits in null.APART]
    assert 4 >= apart[0] >= apart[-1] >= 1
    assert apart == sorted(apart, reverse=True)
    assert {"nothing", "mean of real", "mean of model", "mean of synthetic", "means of the real kinds"} <= {
        row["removed"] for row in result["results"]
    }
    across = result["over_keys"]["fast"]["real"]
    assert 0.3 < across["share_below"]["0.1"]["share"] / 0.1 < 3
    header = (tmp_path / "data" / "pictures.csv").read_text().splitlines()
    assert header[0] == "package,version,archive,member,width,height,licence,kind,hash"
    assert len(header) == 5
    assert {"null.csv", "null.json", "null.png"} <= {path.name for path in tmp_path.iterdir()}
    assert "fast, 4 of real, over 50 keys: share below 0.1:" in capsys.readouterr().out
    assert null.run(small, extent, effort="fast", **places, sampling=Sampling(2))["results"] == result["results"]
