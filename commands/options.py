"""What options may be, each written once; choices are the names that the library knows."""

from __future__ import annotations

import math
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import click

from ..files import reason, shown
from ..models.registry import DTYPES

__all__ = [
    "PLOTS",
    "Channels",
    "Device",
    "Number",
    "OutputFile",
    "Seed",
    "Size",
    "Text",
    "bench_options",
    "choice",
    "device_option",
    "fpr_option",
    "json_option",
    "keyring_option",
    "model_options",
    "with_options",
]

LONGEST_SIDE = 8192
PLOTS = (".png", ".jpg", ".jpeg", ".webp", ".svg", ".pdf")


class Number(click.FloatRange):
    """A finite number in a range; click's own lets nan through."""

    name = "number"

    def convert(self, value, param, ctx):
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


class Size(click.ParamType):
    """WxH in pixels; converts to (height, width)."""

    name = "WxH"

    def convert(self, value, param, ctx):
        match = re.fullmatch(r"([0-9]+)x([0-9]+)", str(value).lower())
        sides = [int(side[:9]) for side in match.groups()] if match else [0]
        if not min(sides):
            self.fail(f"{value!r} is not a size like 512x512", param, ctx)
        if max(sides) > LONGEST_SIDE:
            self.fail(f"{value!r} has a side of more than {LONGEST_SIDE} pixels", param, ctx)
        width, height = sides
        return height, width


class Seed(click.ParamType):
    """A seed that random generators take, a whole number below 2^bits."""

    name = "seed"

    def __init__(self, bits: int = 64) -> None:
        self.bits = bits

    def convert(self, value, param, ctx):
        try:
            seed = int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number", param, ctx)
        if not 0 <= seed < 2**self.bits:
            self.fail(f"{value!r} is not between 0 and 2^{self.bits} - 1", param, ctx)
        return seed


class Device(click.ParamType):
    """A torch device that computes, by its name; whether this machine has it is seen when a model is loaded."""

    name = "device"

    def convert(self, value, param, ctx):
        if not re.fullmatch(r"(cpu|cuda|hpu|mps|npu|xpu)(:[0-9]{1,3})?", value):
            self.fail(f"{value!r} is not a device like cpu, cuda or cuda:1", param, ctx)
        return value


class Text(click.ParamType):
    """Text as a model reads it and a record holds it: bytes that are not UTF-8 are none."""

    name = "text"

    def convert(self, value, param, ctx):
        if any(unicodedata.category(character) == "Cs" for character in value):
            self.fail(f"'{shown(value)}' is not UTF-8", param, ctx)
        return value


class Channels(click.ParamType):
    """Latent channels such as 0,1,2,3; converts to a tuple."""

    name = "channels"

    def convert(self, value, param, ctx):
        if not isinstance(value, str):
            return value
        if not re.fullmatch(r"[0-9]{1,3}(,[0-9]{1,3})*", value):
            self.fail(f"{value!r} is not a list of channels like 0,1,2,3", param, ctx)
        return tuple(int(channel) for channel in value.split(","))


class OutputFile(click.ParamType):
    """A file to write; converts to a path. What cannot be one is refused before any work is done."""

    name = "file"

    def __init__(self, suffixes: Sequence[str] = ()) -> None:
        self.suffixes = suffixes

    def convert(self, value, param, ctx):
        path = Path(value)
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in str(path)):
            self.fail(f"the name '{shown(path)}' has a line break or another character that is not text", param, ctx)
        if path.is_dir():
            self.fail(f"'{path}' is a folder: name a file in it", param, ctx)
        for parent in path.parents:
            if parent.exists():
                if not parent.is_dir():
                    self.fail(f"'{parent}' is a file, not a folder, so nothing can be written below it", param, ctx)
                break
        if self.suffixes and path.suffix.lower() not in self.suffixes:
            self.fail(f"'{path}' does not end in {', '.join(self.suffixes[:-1])} or {self.suffixes[-1]}", param, ctx)
        if not path.exists() or path.is_file():
            try:
                with tempfile.TemporaryFile(dir=parent):
                    pass
            except OSError as error:
                self.fail(f"'{path}' cannot be written: {reason(error)}", param, ctx)
        return path


def choice(names: Iterable[str]) -> click.Choice:
    """One of the names that the library knows."""
    return click.Choice(list(names))


keyring_option = click.option(
    "--keyring", type=click.Path(path_type=Path), envvar="WMARK_KEYRING", help="Keyring file.  [env: WMARK_KEYRING]"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
fpr_option = click.option(
    "--fpr",
    type=Number(0, 1, min_open=True, max_open=True),
    default=1e-6,
    show_default=True,
    help="Largest p-value that counts as found.",
)
device_option = click.option("--device", type=Device(), help="Torch device; a GPU if there is one.")
model_options = [
    click.option("--model", default="tiny", show_default=True, help="`tiny`, a diffusers folder, or a hub id."),
    click.option("--dtype", type=choice(DTYPES), default="fp32", show_default=True),
    device_option,
]

bench_options = [
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        default=Path("benchmarks/results"),
        show_default=True,
        help="Folder of the results; an interrupted run goes on there.",
    ),
    click.option("--seed", type=Seed(bits=32), default=0, show_default=True),
    *model_options,
]


def with_options(options: Sequence[Callable]) -> Callable:
    """A decorator that adds options in the order in which help shows them."""

    def decorate(function):
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
