"""One TOML file per model: what is trained, for how long, and on what terms."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import ModelError
from ..files import reason

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["load_configuration", "read_toml"]

FOLDER = Path(__file__).parent
RECIPES = ("tiny", "tiny-flow", "tiny-one")


def load_configuration(name: str, overrides: Sequence[str] = ()) -> dict[str, dict]:
    """The tables of a model's configuration.

    Arguments:
        name: A configuration that is shipped, such as `tiny`, or a TOML file.
        overrides: Changes such as `diffusion.prediction_type="v_prediction"`, each a line of TOML.

    Raises:
        ModelError: If there is no such file, or it has other settings than `tiny.toml`, or than the relative of `tiny`
            whose recipe its table `relative` names.
    """
    shipped = FOLDER / f"{name}.toml"
    configuration = read_toml(shipped if shipped.is_file() else Path(name))
    for change in overrides:
        try:
            ((table, setting),) = tomllib.loads(change).items()
            configuration[table].update(setting)
        except (ValueError, KeyError, AttributeError, TypeError):
            raise ModelError(f"{change!r} is not a setting like diffusion.steps=1000") from None
    recipe = configuration.get("relative", {}).get("recipe", "tiny")
    if recipe not in RECIPES:
        raise ModelError(f"there is no recipe {recipe!r} in {name}: choose one of {', '.join(RECIPES[1:])}")
    known = read_toml(FOLDER / f"{recipe}.toml")
    for table, settings in known.items():
        missing = settings.keys() ^ configuration.get(table, {}).keys()
        if missing:
            raise ModelError(
                f"the table [{table}] of {name} has other settings than {recipe}.toml: {', '.join(sorted(missing))}"
            )
    return configuration


def read_toml(path: Path) -> dict:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"the configuration {path} cannot be read: {reason(error)}") from error
    except ValueError as error:
        raise ModelError(f"the configuration {path} is not valid TOML: {error}") from error
