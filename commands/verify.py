"""`wmark verify`: whether images carry a name or a key, whose, and with what p-value."""

from __future__ import annotations

import math
import os
from functools import cache
from typing import TYPE_CHECKING

import click

from ..detectors.plan import ALIGN
from ..errors import ImageError
from ..files import shown
from ..inversion.recovery import DECODER_INVERSIONS, DIFFUSION_INVERSIONS, EFFORTS, recoveries
from .exits import NOT_FOUND, OK, UNEXPECTED, UNUSABLE, summary, trace
from .keys import active_keys, open_keyring
from .manifests import reads_manifests
from .options import PLOTS, OutputFile, Size, choice, fpr_option, keyring_option, model_options, with_options
from .registering import reads_ledger
from .sources import STANDARD_INPUT, find_sources
from .terminal import complain, dumps, line

if TYPE_CHECKING:
    from ..detectors.detector import Detector
    from ..models.latent_diffusion import LatentDiffusion
    from ..progress import Progress
    from .sources import Source

__all__ = ["verify"]


@click.command()
@click.argument("images", nargs=-1, required=True)
@click.option("--key", "key_id", help="Test this key alone; names and all active keys if not given.")
@keyring_option
@with_options(model_options)
@fpr_option
@click.option(
    "--effort",
    type=choice(EFFORTS),
    default="auto",
    show_default=True,
    help="One call of the encoder, iterated decoder inversion, or one after the other while there is hope.",
)
@click.option(
    "--align",
    type=choice(ALIGN),
    default="auto",
    show_default=True,
    help="Search rotation, scale, mirror and shift: never, where needed, or at once.",
)
@click.option("--decoder-inversion", type=choice(DECODER_INVERSIONS), help="In place of the effort's own.")
@click.option("--iterations", type=click.IntRange(1), help="Iterations of the decoder inversion.")
@click.option(
    "--tuned/--untuned",
    default=True,
    help="Use what `wmark tune` made for the model.  [default: if there is anything]",
)
@click.option("--diffusion-inversion", type=choice(DIFFUSION_INVERSIONS), help="In place of the effort's own.")
@click.option("--inversion-steps", type=click.IntRange(1, 1000), help="Steps of the diffusion inversion.")
@click.option("--size", type=Size(), help="Size the images were generated at; the likely ones are tried if not given.")
@reads_manifests
@reads_ledger
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True)
@click.option(
    "--number",
    "numbers",
    type=click.IntRange(0),
    multiple=True,
    help="Test the name of this image too, whatever the address says; may be given several times.",
)
@click.option(
    "--decoys",
    type=click.IntRange(0),
    default=0,
    help="Keyrings that exist nowhere to test beside the real one: how often they are found is how often chance is.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines.")
@click.option(
    "--debug-scores",
    "scores",
    is_flag=True,
    help="Print every digit, also of images that are not marked. For whoever holds the keys: shown to others, such "
    "numbers teach how to remove the mark.",
)
@click.option("--plot", type=OutputFile(PLOTS), help="Draw the recovered spectrum beside the key's (one image).")
def verify(
    images,
    key_id,
    keyring,
    model,
    dtype,
    device,
    fpr,
    effort,
    align,
    decoder_inversion,
    iterations,
    tuned,
    diffusion_inversion,
    inversion_steps,
    size,
    manifests,
    accounts,
    batch_size,
    numbers,
    decoys,
    as_json,
    scores,
    plot,
) -> int:
    """Say of each image whether it carries a name or a key, whose, and with what p-value.

    IMAGES are files, folders (all images below them), globs in quotes, and - for standard input. Put -- before names
    that begin with a dash.

    Exit code: 0 if every image carries a key, 1 if one does not, 2 if one cannot be used, 70 if one could not be looked
    at for another reason.
    """
    sources = find_sources(images)
    if plot and len(sources) > 1:
        raise click.UsageError("--plot draws one image: name one")
    if plot and sources[0].name == STANDARD_INPUT:
        raise click.UsageError("--plot draws the image of a file: save what comes from standard input first")
    if numbers and key_id is not None:
        raise click.UsageError("--number tests the name of an image, --key a key and nothing else: leave one out")
    ring, path = open_keyring(keyring)
    if plot and plot.exists() and any(os.path.exists(used) and plot.samefile(used) for used in (sources[0].name, path)):
        raise click.UsageError(f"--plot would replace '{shown(plot)}', which is read here: name another file")
    names = ring.names().expecting(numbers) if key_id is None and (ring.named or numbers) else None
    if key_id is not None:
        tested = [ring.key(key_id, allow_revoked=True)]
    else:
        tested = ring.active() if names else active_keys(ring)
    manifests.check()
    parts = (decoder_inversion, iterations, diffusion_inversion, inversion_steps)
    tried = recoveries(effort, *parts, tuned) if any(parts) else effort

    @cache
    def detector() -> Detector:
        from ..detectors.detector import Detector
        from ..models.registry import load_model

        loaded = load_model(model, dtype=dtype, device=device, tuned=tuned)
        return Detector(
            loaded, tested, tried, align=align, fpr=fpr, size=size, keep_evidence=bool(plot), names=names, decoys=decoys
        )

    from ..detectors.batches import verify_files
    from ..progress import progress

    code, keys_by_id = OK, {key.id: key for key in tested} | ({None: names.pilot} if names else {})
    chance: list[float] = []
    with accounts.open(path, names) as known, progress(len(sources), "image") as bar:
        for source, outcome in verify_files(sources, detector, batch_size=batch_size):
            if isinstance(outcome, Exception):
                code = max(code, UNUSABLE if isinstance(outcome, ImageError) else UNEXPECTED)
                report_failure(source, outcome, bar, as_json)
            else:
                code = max(code, OK if outcome.found else NOT_FOUND)
                chance += outcome.decoys
                manifest = manifests.beside(source.name, outcome, known.manifests)
                account = known.account(outcome, source.read)
                told = {"manifest": manifest.to_json(), "ledger": account and account.to_json()}
                row = {"image": source.name, **outcome.to_json(scores=scores), **told}
                remark = "  ".join(one.words for one in (account, manifest) if one and one.words)
                bar.write(dumps(row) if as_json else line(source.name, outcome, remark, scores=scores))
                if not outcome.found:
                    point_out_other_model(source, detector().model, bar)
                if plot:
                    from ..detectors.plot import plot_verdict

                    registered = account and account.picture
                    plot_verdict(source.name, outcome, keys_by_id[outcome.key_id], plot, registered)
            bar.update(1)
    if chance:
        complain(f"decoys: {of_chance(chance, fpr)}")
    return code


def of_chance(log10_p: list[float], fpr: float) -> str:
    """How often keyrings that exist nowhere looked as if they were there, in half a line."""
    rates = [rate for rate in (0.1, 0.01, 0.001) if rate > fpr] + [fpr]
    counts = [f"{sum(p <= math.log10(rate) for p in log10_p)} with p <= {rate:g}" for rate in rates]
    return f"{len(log10_p)} tests of keyrings that exist nowhere, {', '.join(counts)}"


def report_failure(source: Source, error: Exception, bar: Progress, as_json: bool) -> None:
    """Print what is wrong with an image: one sentence, as JSON too if that is what is printed."""
    foreseen = isinstance(error, ImageError)
    sentence = str(error) if foreseen else f"image '{shown(source.name)}': {summary(error)}"
    if as_json:
        bar.write(dumps({"image": source.name, "error": sentence}))
    for one in [] if foreseen else trace(error):
        bar.complain(one)
    bar.complain(f"error: {sentence}")


def point_out_other_model(source: Source, model: LatentDiffusion, bar: Progress) -> None:
    """A mark is found with the model that made the image; say so where the image's record names another."""
    from ..watermark.record import recorded_model

    recorded = recorded_model(source.name)
    if recorded and model.fingerprint and recorded["fingerprint"] not in (None, model.fingerprint):
        bar.complain(
            f"note: by its record, {source.name} was made with {recorded['name']}, other weights than {model.name}"
        )
