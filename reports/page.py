"""Findings -> what is shown, as JSON has it; and that -> one page that needs nothing but itself.

The page's style and script stand in it, and its Content-Security-Policy names both by their SHA-256: nothing else runs,
nothing is fetched, no form is sent. Without its script it is the same page, less sorting and filtering.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..audit.run import FORESEEN
from ..audit.summary import share
from ..detectors.notation import format_p
from ..errors import AuditError
from ..files import shown
from ..version import __version__
from .curves import curves
from .findings import Findings
from .lines import line_of, middle_out, name_of
from .plots import cumulative_plot, interval_bar, spectrum_disc
from .thumbnails import Thumbnail

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["REPORT_SCHEMA", "content_of", "page_of"]

REPORT_SCHEMA = "wmark-audit-report/1"
FOLDER = Path(__file__).parent
EXAMPLES = 3
NAMES = 200
"""Keys and issuers that are listed."""

ORDER = ("transplant", "found", "failed", "not found")
KIND = {"found": "found", "transplant": "found", "failed": "failed", "not found": "others"}


def content_of(findings: Findings) -> dict[str, Any]:
    """Everything the page shows but pictures, as JSON has it.

    Raises:
        AuditError: If the run's `audit.json` is not one that an audit wrote.
    """
    run, summary = findings.run, findings.summary
    lines = sorted((line_of(row) for row in findings.rows), key=lambda line: ORDER.index(line["verdict"]))
    by_row = {row["row"]: row for row in findings.rows}
    given = {kind: sum(KIND[line["verdict"]] == kind for line in lines) for kind in findings.available}
    totals = summary["totals"]
    return without_nan(
        {
            "schema": REPORT_SCHEMA,
            "version": __version__,
            "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "run": shown(run.folder.absolute()),
            "begun": shown(str(run.created)),
            "finished": len(findings.done) == len(run.shards),
            "shards": {"done": len(findings.done), "of": len(run.shards)},
            "images": run.images,
            "asked": asked(findings),
            "specification": {"digest": run.digest, **run.specification},
            "totals": {
                **totals,
                "not_found": totals["looked_at"] - totals["found"],
                "transplants": findings.transplants,
                "found_share": share(totals["found"], totals["looked_at"]),
            },
            "statements": summary["statements"],
            "keys": summary["keys"][:NAMES],
            "issuers": summary["issuers"][:NAMES],
            "more": {name: max(0, len(summary[name]) - NAMES) for name in ("keys", "issuers")},
            "copies": [
                {"number": number, "count": count, "issuer": by_row[row]["issuer"], "name": name_of(by_row[row])}
                for number, count, row in findings.copies
            ],
            "manifests": dict(sorted(findings.manifests.items(), key=lambda item: -item[1])),
            "chance": summary["chance"],
            "decoys": summary["decoys"],
            "searched_decoys": summary["searched_decoys"],
            "curves": asdict(curves(findings.tally)),
            "errors": [
                {
                    "kind": kind,
                    "count": count,
                    "foreseen": kind in FORESEEN,
                    "examples": [line for line in lines if line.get("error_class") == shown(kind)][:EXAMPLES],
                }
                for kind, count in summary["errors"].items()
            ],
            "gallery": findings.gallery,
            "rows": lines,
            "available": findings.available,
            "left_out": {kind: count - given[kind] for kind, count in findings.available.items()},
            "seconds": summary["seconds"],
        }
    )


def asked(findings: Findings) -> list[tuple[str, str]]:
    """What was asked and with what, in words; the specification has it to the last digit.

    Raises:
        AuditError: If the run's `audit.json` is not one that an audit wrote.
    """
    run = findings.run
    settings, specification = run.settings, run.specification
    try:
        sources = ", ".join(shown(middle_out(source, 120)) for source in run.arguments[:20])
        more = f", and {len(run.arguments) - 20:,} more" if len(run.arguments) > 20 else ""
        names = specification.get("names")
        issuers = [str(name) for name, *_ in names["issuers"]] if names else []
        keys = specification.get("keys") or ()
        weights = specification.get("model")
        weights = weights.get("model_fingerprint") if isinstance(weights, Mapping) else weights
        size = f"{settings.size[1]}x{settings.size[0]}" if settings.size else "the likely ones are tried"
        looks = ", ".join(f"{look['recovery']['name']}/{look['reading']}" for look in specification.get("looks") or ())
        looks = f"; looks {looks}" if looks else ""
        said = [
            ("Sources", sources + more),
            ("Names", f"of {', '.join(issuers)} (keyring {names['keyring']})" if names else "not tested"),
            ("Keys", "; ".join(map(str, keys)) or "none"),
            ("False-positive rate", f"{settings.fpr:g}"),
            ("Model", f"{settings.model} ({weights}), {settings.dtype}"),
            ("Effort", f"{settings.effort}{looks}"),
            ("Alignment", settings.align),
            ("Size that images were made at", size),
            ("Decoys", f"{settings.decoys} where the mark stands, {settings.searched} that were searched for"),
            ("Version of wmark", str(specification.get("version", "unknown"))),
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AuditError(
            f"the audit.json of '{shown(run.folder)}' is not one that an audit wrote ({type(error).__name__}): begin a "
            "new run"
        ) from error
    return [(shown(term), shown(middle_out(value, 1000))) for term, value in said]


def without_nan(value: Any) -> Any:
    """A value of JSON, null in place of what is no number."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): without_nan(content) for name, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(content) for content in value]
    return value


def page_of(content: Mapping[str, Any], pictures: Mapping[int, Thumbnail]) -> str:
    """The page.

    Arguments:
        content: What :func:`content_of` gives.
        pictures: Small pictures of rows of the gallery, by the rows' numbers.
    """
    from markupsafe import Markup

    from .curves import Curves, Share

    drawn = content["curves"]
    curve = Curves(**{**drawn, "decoys": [Share(**decoy) for decoy in drawn["decoys"]]})
    style, script = (static(name) for name in ("page.css", "page.js"))
    return template().render(
        **content,
        by_row={line["row"]: line for line in content["rows"]},
        pictures=pictures,
        plot=Markup(cumulative_plot(curve)),
        disc=lambda seen: Markup(spectrum_disc(seen["edges"], seen["cells"])),
        bar=lambda counted, of: Markup(bar_of(counted, of)),
        flat=[*flat(content["specification"])],
        style=Markup(style),
        script=Markup(script),
        policy=(
            "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
            f"style-src '{fingerprint(style)}'; script-src '{fingerprint(script)}'"
        ),
    )


def bar_of(counted: Mapping[str, float], of: Iterable[Mapping[str, float]]) -> str:
    return interval_bar(counted["share"], counted["low"], counted["high"], max(other["high"] for other in of))


def flat(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """Names and values of nested JSON, a line each."""
    if isinstance(value, Mapping):
        for key, content in value.items():
            yield from flat(content, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(part, (list, Mapping)) for part in value):
        for i, content in enumerate(value):
            yield from flat(content, f"{name}.{i}")
    else:
        text = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
        yield shown(middle_out(name, 200)), shown(middle_out(text, 2000))


def static(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def fingerprint(text: str) -> str:
    """By what a policy knows a style or a script that stands in the page."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@cache
def template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    jinja = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {
        "count": lambda value: f"{value:,}",
        "percent": percent,
        "size": size,
        "p": format_p,
        "time": lambda value: shown(value).replace("T", " ").replace("+00:00", " UTC"),
        "parted": lambda name: ("".join(name.rpartition("/")[:2]), name.rpartition("/")[2]),
        "number": lambda value, digits=2: "–" if value is None else f"{value:.{digits}g}",
    }
    return jinja.get_template("page.html")


def percent(value: float) -> str:
    """A share with two digits after the point, or as a power of ten where these would be zeros."""
    return f"{value:.2%}" if value >= 1e-4 or not value else f"{value:.1e}"


def size(value: int | None) -> str:
    """Bytes in words."""
    if value is None:
        return ""
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"
