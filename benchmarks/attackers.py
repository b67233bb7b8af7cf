"""`wmark bench attackers`: what somebody forges or removes who holds a marked picture and a model, on real pictures.

Against one fixed key and against names, through the detector with the defaults of `wmark verify`; named pictures are
registered in a ledger, which says of each forgery whether it is the registered picture. What is done by another model
stands beside what is done by the one that made the pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..errors import WmarkError
from ..ledger.transplant import COMPARISON
from ..models.latent_diffusion import LatentDiffusion
from ..watermark.patterns import Pattern
from .attackers_made import ATTACKS, Attack, Extent, Holder
from .attackers_plot import plot
from .attackers_victims import AGAINST, Victim, Victims, victims
from .corpus import Corpus
from .output import Columns, Rows, provenance, tabulate, write_results
from .quality import psnr

__all__ = ["run"]

OWN, PROXY = "the model", "another"


def share(field: str) -> Callable[[dict], str]:
    return lambda r: "" if r[field] is None else f"{r[field]:.0%}"


def exponent(field: str) -> Callable[[dict], str]:
    return lambda r: "" if r[field] is None else f"{r[field]:.1f}"


COLUMNS: Columns = {
    "attack": "{attack}",
    "by": "{by}",
    "against": "{against}",
    "setting": "{setting}",
    "pictures": "{pictures}",
    "presence or series": share("present"),
    "identity": share("identified"),
    "another's": share("other"),
    "told as transplant": share("flagged"),
    "past zero": share("inverted"),
    "log10 p: presence": exponent("presence"),
    "identity, median": exponent("identity"),
    "PSNR": exponent("psnr"),
    "remark": "{remark}",
}
GONE: Columns = {
    "attack": "{attack}",
    "by": "{by}",
    "against": "{against}",
    "pictures": "{pictures}",
    "presence and series gone at": lambda r: least(r["presence_gone"]),
    "identity gone at": lambda r: least(r["identity_gone"]),
}


def least(levels: list[float | None]) -> str:
    """PSNRs at which a mark was gone, the median where it was gone in all pictures."""
    there = [level for level in levels if level is not None]
    if len(there) < len(levels):
        return f"{len(there)} of {len(levels)} pictures"
    return f"{np.median(there):.0f} dB"


def run(
    model: LatentDiffusion,
    extent: Extent = Extent(),  # noqa: B008  A frozen value.
    *,
    another: LatentDiffusion | None = None,
    attacks: Sequence[str] = (),
    fpr: float,
    seed: int,
    out: Path,
) -> dict:
    """Attack, print the tables and write `attackers.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        model: The model that makes and verifies the pictures, and that attackers have.
        extent: How much is attacked.
        another: Another model that attackers have in its place; None leaves out what they do with it.
        attacks: Names of those carried out; none stands for all.
        fpr: False-positive rate of each statement.
        seed: Seed of prompts, noise and attackers.
        out: Folder of the results.

    Raises:
        WmarkError: If the other model is the same, or there is no attack of a name.
    """
    if another and another.fingerprint == model.fingerprint:
        raise WmarkError(f"{another.name} is {model.name}, not another model: name one of other weights")
    carried_out = find_attacks(attacks)
    settings = dict(fpr=fpr, seed=seed, sampling=asdict(model.usual))
    settings |= dict(imprinting=asdict(extent.imprinting), pattern=repr(Pattern.of()), comparison=COMPARISON)
    about = provenance(model, **settings, extent=asdict(extent), another=another and another.fingerprint)
    fingerprints = {model.fingerprint: OWN, **({another.fingerprint: PROXY} if another else {})}
    with victims(Corpus(model, model.usual, out), extent.images, fpr, seed) as held:
        settings |= dict(model=about["model"], basis=asdict(held.detectors["names"].basis))
        kept = Rows(out / "attackers.jsonl", settings, ("index", "against", "attack", "by", "asked"))
        for victim in tqdm(held.each, unit="picture", disable=None):
            own, *proxies = (holding(by, victim, held, extent) for by in (model, another) if by)
            for attack in carried_out:
                if not attack.oracle or victim.index < extent.oracle_images:
                    for holder in [own, *proxies] if attack.proxy else [own]:
                        attempt(kept, attack, holder, held)

    rows = [{**row, "by": fingerprints[row["by"]]} for row in kept.rows.values() if row["by"] in fingerprints]
    summary, gone = list(summarised(rows, extent)), list(removed(rows, extent))
    result = {**about, "results": summary, "gone": gone, "rows": rows}
    write_results(out / "attackers", COLUMNS, summary, result)
    plot(out / "attackers.png", summary)
    print(tabulate(COLUMNS, summary), tabulate(GONE, gone), sep="\n\n")
    if not another:
        print("\nno other model was named (--another): what an attacker does with a proxy is left out")
    return result


def find_attacks(names: Sequence[str]) -> list[Attack]:
    """The attacks of some names, or all.

    Raises:
        WmarkError: If there is none of a name.
    """
    known = {attack.name: attack for attack in ATTACKS}
    if unknown := [name for name in names if name not in known]:
        raise WmarkError(f'no attack is called "{unknown[0]}"; there are {", ".join(known)}')
    return [known[name] for name in names or known]


def holding(by: LatentDiffusion, victim: Victim, held: Victims, extent: Extent) -> Holder:
    """Somebody who has a model and a picture."""
    return Holder(by, victim, held.patterns[victim.against], lambda x: held.verdict(victim.against, x), extent)


def attempt(kept: Rows, attack: Attack, holder: Holder, held: Victims) -> None:
    """Attack one picture and write down what is said of the outcome, unless that was done."""
    victim = holder.victim
    key = {"index": victim.index, "against": victim.against, "attack": attack.name, "by": holder.model.fingerprint}
    if all((*key.values(), asked) in kept for asked in attack.settings(holder.extent)):
        return
    for made in attack.make(holder):
        far = {"psnr": min(psnr(made.like, made.picture), 99.0) if made.like else None}
        kept.add({**key, "asked": made.asked, **held.judged(victim, made.picture), **far, **made.about})


def summarised(rows: list[dict], extent: Extent) -> Iterator[dict]:
    """A row for each attack, model, kind of mark and setting; replays under all prompts together."""
    for attack in ATTACKS:
        every = attack.settings(extent)
        settings = [[asked] for asked in every] if attack.unit else [every]
        for by in (OWN, PROXY):
            for against in AGAINST:
                for asked in settings:
                    of = chosen(rows, attack, by, against, extent, asked)
                    if of:
                        yield {"attack": attack.name, "by": by, "against": against, **told(of, attack, asked)}


def chosen(
    rows: list[dict], attack: Attack, by: str, against: str, extent: Extent, asked: Sequence[float]
) -> list[dict]:
    images = extent.oracle_images if attack.oracle else extent.images
    wanted = (attack.name, by, against)
    found = [r for r in rows if (r["attack"], r["by"], r["against"]) == wanted and r["asked"] in asked]
    return [r for r in found if r["index"] < images]


def told(of: list[dict], attack: Attack, asked: Sequence[float]) -> dict:
    """Shares and medians of what was said."""

    def median(field: str) -> float | None:
        values = [row[field] for row in of if row.get(field) is not None]
        return float(np.median(values)) if values else None

    named = [row for row in of if row["against"] == "names"]
    flags = [bool(row["transplant"]) for row in named if row["identified"]]
    remark = ""
    if "cosine_after" in of[0]:
        remark = f"cosine {median('cosine_before'):.2f} to {median('cosine_after'):.2f}"
    if "seed_deviations" in of[0]:
        remark = f"the seed's noise at {median('seed_deviations'):.1f} standard deviations"
    return {
        "setting": f"{asked[0]:g} {attack.unit}" if attack.unit else "",
        "asked": asked[0] if attack.unit else None,
        "pictures": len(of),
        **{
            field: float(np.mean([row[field] for row in of]))
            for field in ("present", "identified", "other", "inverted")
        },
        "flagged": float(np.mean(flags)) if flags else None,
        **{field: median(field) for field in ("presence", "identity", "psnr")},
        "remark": remark,
    }


def removed(rows: list[dict], extent: Extent) -> Iterator[dict]:
    """Of each picture the highest PSNR at which presence, and identity, was gone; None if it never was."""
    for attack in (one for one in ATTACKS if not one.forges and not one.oracle):
        for by in (OWN, PROXY):
            for against in AGAINST:
                of = chosen(rows, attack, by, against, extent, extent.levels)
                pictures = sorted({row["index"] for row in of})
                gone = {
                    part: [highest(row for row in of if row["index"] == i and not row[field]) for i in pictures]
                    for part, field in (("presence_gone", "present"), ("identity_gone", "identified"))
                }
                if of:
                    about = {"attack": attack.name, "by": by, "against": against, "pictures": len(pictures)}
                    yield {**about, **gone}


def highest(rows: Iterator[dict]) -> float | None:
    return max((row["asked"] for row in rows), default=None)
