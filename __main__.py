"""`python -m wmark` is the `wmark` command."""

from .cli import main

main(prog_name="wmark")
