"""What became of the sources since a run listed them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..files import shown
from .shards import Shard, divide
from .sources import Stretch

__all__ = ["Changes", "changes", "redivide"]


@dataclass(frozen=True)
class Changes:
    """Sources by what became of them."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def __str__(self) -> str:
        said = []
        for names, words in ((self.added, "new"), (self.changed, "changed"), (self.removed, "gone")):
            if names:
                more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
                said.append(f"'{shown(names[0])}'{more} {'is' if len(names) == 1 else 'are'} {words}")
        return "; ".join(said)


def changes(shards: Iterable[Shard], stretches: Iterable[Stretch]) -> Changes:
    """What differs between what a run has listed and what there is now."""
    before = states(stretch for shard in shards for stretch in shard.stretches)
    now = states(stretches)
    return Changes(
        added=tuple(source for source in now if source not in before),
        changed=tuple(source for source, state in now.items() if before.get(source, state) != state),
        removed=tuple(source for source in before if source not in now),
    )


def states(stretches: Iterable[Stretch]) -> dict[str, tuple]:
    """Sources with their images, versions and faults."""
    found: dict[str, tuple] = {}
    for stretch in stretches:
        count, versions, problems = found.get(stretch.source, (0, (), ()))
        versions = versions if stretch.version in versions else (*versions, stretch.version)
        problems = (*problems, stretch.problem) if stretch.problem else problems
        found[stretch.source] = (count + stretch.count, versions, problems)
    return found


def redivide(shards: Sequence[Shard], stretches: Iterable[Stretch], differing: Changes, size: int) -> list[Shard]:
    """Shards after a change: what nothing happened to as it was, what changed or is new in new ones at the end.

    Arguments:
        shards: Those of the run.
        stretches: What there is now.
        differing: What differs.
        size: Images of a shard.
    """
    outdated = {*differing.changed, *differing.removed}
    kept = []
    for shard in shards:
        still = tuple(stretch for stretch in shard.stretches if stretch.source not in outdated)
        if still:
            kept.append(replace(shard, stretches=still))
    last = max(shards, key=lambda shard: shard.number, default=None)
    number, row = (last.number + 1, last.row + last.count) if last else (0, 0)
    new = {*differing.added, *differing.changed}
    return [*kept, *divide((stretch for stretch in stretches if stretch.source in new), size, number, row)]
