from __future__ import annotations

import io
import os
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wmark.audit.shards import divide, read_listing, shard_size, write_listing
from wmark.audit.sources import Stretch, find, members
from wmark.audit.sources.listing import RUN_FILE
from wmark.errors import ImageError

PICTURES = [f"picture {number}".encode() * (1 + number) for number in range(40)]


@pytest.fixture
def names() -> list[str]:
    return [f"{number:03}.jpg" for number in range(len(PICTURES))]


def contents(stretches) -> list[bytes]:
    """All images of stretches, after they were cut into shards and put together again."""
    shards = [*divide(stretches, 7)]
    rows = [shard.row for shard in shards]
    assert rows == [sum(shard.count for shard in shards[:i]) for i in range(len(shards))]
    return [member.content() for shard in shards for stretch in shard.stretches for member in members(stretch)]


def tar(path: Path, names: list[str], mode: str = "w") -> Path:
    """A WebDataset shard: each image beside its caption."""
    with tarfile.open(path, mode) as archive:
        for name, data in zip(names, PICTURES, strict=True):
            for member, content in ((name, data), (name.replace("jpg", "txt"), b"a caption")):
                info = tarfile.TarInfo(f"./{'deep/' * 30}{member}" if name == names[5] else member)  # A long name.
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_tar(tmp_path: Path, names: list[str], mode: str):
    path = tar(tmp_path / f"shard.tar{mode[1:].replace(':', '.')}", names, mode)
    stretches = [*find([str(path)])]
    assert contents(stretches) == PICTURES
    assert len(stretches) == (3 if mode == "w" else 1)
    assert [member.name for member in members(stretches[-1])][-1] == names[-1]


def test_tar_that_breaks_off(tmp_path: Path, names: list[str]):
    path = tar(tmp_path / "shard.tar", names)
    path.write_bytes(path.read_bytes()[:20_000])
    *whole, last, fault = find([str(path)])
    assert fault.kind == "fault" and "is damaged after" in fault.problem and fault.first == last.first + last.count
    good = [member for stretch in (*whole, last) for member in members(stretch)]
    assert [member.content() for member in good[:-1]] == PICTURES[: len(good) - 1]


def test_zip_and_what_is_not_asked_for(tmp_path: Path, names: list[str]):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, data in zip(names, PICTURES, strict=True):
            archive.writestr(f"folder/{name}", data)
            archive.writestr(f"__MACOSX/._{name}", b"no image")
    (stretch,) = find([str(tmp_path)])
    assert contents([stretch]) == PICTURES
    some = [*members(replace(stretch, first=10, count=5), frozenset({3}))]
    assert len(some) == 5 and some[3].content() == PICTURES[13]
    with pytest.raises(ImageError, match="not asked for"):
        some[2].content()


def test_zip_with_a_damaged_member(tmp_path: Path, names: list[str]):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in zip(names, PICTURES, strict=True):
            archive.writestr(name, data)
    path.write_bytes(path.read_bytes().replace(PICTURES[4], b"x" * len(PICTURES[4])))
    (stretch,) = find([str(path)])
    found = [*members(stretch)]
    with pytest.raises(ImageError, match=r"'.*a.zip/004.jpg' cannot be read .*bad crc"):
        found[4].content()
    assert found[5].content() == PICTURES[5]
    path.write_bytes(path.read_bytes()[:300])
    (fault,) = find([str(path)])
    assert fault.kind == "fault" and "not a zip file" in fault.problem


def table(**columns) -> pa.Table:
    return pa.table({"caption": ["words"] * len(PICTURES), **columns})


@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream", "lance"])
def test_tables_with_images(tmp_path: Path, kind: str):
    content = table(image=[{"bytes": data, "path": None} for data in PICTURES])
    path = tmp_path / f"t.{kind.replace('stream', 'arrow')}"
    if kind == "parquet":
        pq.write_table(content, path, row_group_size=9)
    elif kind == "lance":
        pytest.importorskip("lance", reason="tables of Lance need wmark[lance]").write_dataset(content, path)
    else:
        make = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with pa.OSFile(str(path), "wb") as sink, make(sink, content.schema) as writer:
            writer.write_table(content, max_chunksize=9)
    (stretch,) = find([str(tmp_path)])
    assert (stretch.count, stretch.column) == (len(PICTURES), "image")
    assert contents([stretch]) == PICTURES


def test_table_of_paths(tmp_path: Path, names: list[str]):
    for name, data in zip(names, PICTURES, strict=True):
        (tmp_path / name).write_bytes(data)
    pq.write_table(table(path=[*names[:-1], None]), tmp_path / "t.parquet")
    (stretch,) = find([str(tmp_path / "t.parquet")])
    found = [*members(stretch)]
    assert [member.content() for member in found[:-1]] == PICTURES[:-1]
    with pytest.raises(ImageError, match=r"row 39 of '.*' holds no image"):
        found[-1].content()


def test_table_whose_column_is_not_clear(tmp_path: Path):
    path = tmp_path / "t.parquet"
    pq.write_table(table(before=PICTURES, after=PICTURES), path)
    (fault,) = find([str(path)])
    assert fault.problem.endswith("may hold images in any of before, after: name one with --column")
    (stretch,) = find([str(path)], "after")
    assert contents([stretch]) == PICTURES
    (fault,) = find([str(path)], "middle")
    assert "has no column 'middle', but caption, before, after" in fault.problem


def test_table_from_elsewhere_does_not_name_local_files():
    import fsspec

    memory = fsspec.filesystem("memory")
    with memory.open("/far/t.parquet", "wb") as file:
        pq.write_table(pa.table({"path": ["/etc/passwd", "file:///etc/passwd", "near.jpg"]}), file)
    memory.pipe("/far/near.jpg", PICTURES[0])
    (stretch,) = find(["memory://far/t.parquet"])
    first, second, third = members(stretch)
    for member in (first, second):
        with pytest.raises(ImageError):
            member.content()
    assert third.content() == PICTURES[0]
    memory.rm("/far", recursive=True)


def test_urls(names: list[str]):
    import fsspec

    memory = fsspec.filesystem("memory")
    for name, data in zip(names, PICTURES, strict=True):
        memory.pipe(f"/lot/deep/{name}", data)
    memory.pipe("/lot/readme.txt", b"no image")
    assert contents(find(["memory://lot"])) == PICTURES
    assert contents(find(["memory://lot/deep/00*.jpg"])) == PICTURES[:10]
    (fault, missing) = find(["memory://nothing/*.jpg", "memory://nothing.jpg"])
    assert "holds no images" in fault.problem and "does not exist" in missing.problem
    memory.rm("/lot", recursive=True)


def test_folders_are_walked_in_order_and_runs_left_out(tmp_path: Path):
    for name in ("b.png", "a/z.png", "a/y.jpg", ".hidden/x.png", "a/.x.png", "notes.txt", "run/shards/0.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "run" / RUN_FILE).write_text("{}")
    found = [os.path.relpath(stretch.source, tmp_path) for stretch in find([str(tmp_path)])]
    assert found == ["b.png", "a/y.jpg", "a/z.png"]
    faults = [*find([str(tmp_path / ".hidden"), str(tmp_path / "no*.png"), str(tmp_path / "none.png")])][1:]
    assert ["no file matches" in faults[0].problem, "does not exist" in faults[1].problem] == [True, True]


def test_listing_holds_what_shards_are(tmp_path: Path):
    stretches = [
        Stretch(os.fsdecode(b"/a/\xff\n.png"), version="1-2"),
        Stretch("t.parquet", "parquet", count=100, column="image"),
        Stretch("s.tar", "tar", count=16),
        Stretch("s.tar", "tar", first=16, count=16, offset=9000),
        Stretch("x", "fault", problem="no"),
    ]
    shards = [*divide(stretches, 32)]
    assert [shard.count for shard in shards] == [32, 32, 32, 21, 17]
    assert shards[3].stretches[-1] == stretches[2]
    write_listing(tmp_path / "listing.parquet", shards)
    assert [*read_listing(tmp_path / "listing.parquet")] == shards
    assert len({shard.digest for shard in shards}) == 5


def test_shards_are_small_against_the_run():
    assert [shard_size(count) for count in (1, 2_000, 100_000, 10**8)] == [16, 16, 496, 1024]
