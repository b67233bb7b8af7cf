"""`wmark report`: what a run of `wmark audit` left, as one page."""

from __future__ import annotations

from pathlib import Path

import click

from ..files import shown, write_atomically
from .options import OutputFile, json_option
from .terminal import dumps, say

__all__ = ["report"]

PAGE = "report.html"


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=OutputFile(), help="File to write.  [report.html in the run's folder, for its owner alone]"
)
@click.option(
    "--thumbnails",
    "pictures",
    type=click.IntRange(0, 200),
    default=48,
    show_default=True,
    help="Small pictures in the page, from the sources where they can still be read.",
)
@json_option
def report(run, output, pictures, as_json) -> None:
    """Write one page of what `wmark audit` found, from the folder of its RUN, finished or not.

    The page needs nothing but itself: no network, no script from elsewhere. It names keys, so it is for those who hold
    them. With --json all that it shows but pictures is printed, or written to the file.
    """
    from ..audit.run import Run
    from ..progress import progress
    from ..reports.findings import Bounds, findings
    from ..reports.page import content_of, page_of
    from ..reports.thumbnails import thumbnails

    found = findings(Run.load(run), Bounds(pictures=pictures))
    content = content_of(found)
    if as_json:
        if output is None:
            click.echo(dumps(content))
        else:
            write_atomically(output, (dumps(content) + "\n").encode())
        return
    chosen = {row for rows in found.gallery.values() for row in rows}
    small = {}
    with progress(len(chosen), "picture") as bar:
        for row, picture in thumbnails(found.done, {row["row"]: row for row in found.rows if row["row"] in chosen}):
            small[row] = picture
            bar.update(1)
    page = page_of(content, small).encode()
    path = output or run / PAGE
    write_atomically(path, page, mode=None if output else 0o600)
    totals, shards = content["totals"], content["shards"]
    missing = sum(picture.uri is None for picture in small.values())
    say(
        f"{shown(path)}: {totals['images']:,} images, {totals['found']:,} found, {totals['failed']:,} could not be "
        f"looked at; {len(content['rows']):,} rows and {len(small) - missing} pictures are shown"
        + (f", {missing} pictures are there no longer" if missing else "")
    )
    if not content["finished"]:
        say(f"the run is unfinished: {shards['done']:,} of {shards['of']:,} shards are done")
