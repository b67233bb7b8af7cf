"""How results and trouble look on a terminal."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import WmarkError

__all__ = [
    "Group",
    "Size",
    "describe",
    "format_p",
    "line",
    "model_options",
    "with_options",
]

EXIT_UNUSABLE, EXIT_INTERRUPTED = 2, 130


class Group(click.Group):
    """A group whose commands turn the library's errors into one sentence and exit code 2."""

    def invoke(self, ctx: click.Context):
        try:
            return super().invoke(ctx)
        except WmarkError as error:
            raise Unusable(str(error)) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Unusable(
                f"{error.filename or 'a file'} cannot be read or written: {error.strerror or error}"
            ) from error
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(EXIT_INTERRUPTED)


class Unusable(click.ClickException):
    exit_code = EXIT_UNUSABLE


class Size(click.ParamType):
    """WxH in pixels; converts to (height, width)."""

    name = "WxH"

    def convert(self, value, param, ctx):
        width, _, height = str(value).lower().partition("x")
        if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
            self.fail(f"{value!r} is not a size like 512x512", param, ctx)
        return int(height), int(width)


model_options = [
    click.option("--model", default="tiny", show_default=True, help="`tiny`, a diffusers folder, or a hub id."),
    click.option("--dtype", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", show_default=True),
    click.option("--device", help="Torch device; a GPU if there is one."),
]


def with_options(options):
    def decorate(function):
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def describe(pattern) -> str:
    channels = ",".join(map(str, pattern.channels))
    return f"{pattern.kind}, radius {pattern.radius}, channels {channels}, strength {pattern.strength:g}"


def line(path: Path, verdict) -> str:
    name = "found    " if verdict.found else "not found"
    key = f"key {verdict.key_id}" if verdict.found else "no key"
    return (
        f"{name}  {path}  {key}  p {format_p(verdict.log10_p)}  cos {verdict.cosine:.3f}  "
        f"{describe_alignment(verdict)}{verdict.seconds:.1f} s"
    )


def describe_alignment(verdict) -> str:
    a = verdict.alignment
    if not verdict.found or (a.angle, a.scale, a.mirror, a.shift) == (0, 1, False, (0, 0)):
        return ""
    mirrored = "mirrored, " if a.mirror else ""
    return f"({mirrored}turned {a.angle:.1f} degrees, scaled {a.scale:.2f})  "


def format_p(log10_p: float) -> str:
    """A p-value from its log10, also where 10 ** log10_p underflows."""
    exponent = int(log10_p // 1)
    return f"{10 ** (log10_p - exponent):.1f}e{exponent:+d}" if exponent < -2 else f"{10**log10_p:.3f}"
