"""A keyring: one master secret, and as many keys as there are ids.

Every key is derived from the master secret `s` and its id (:meth:`Key.derive`), so there is one secret and a list. Its
public name is derived from `s`, too:

    fingerprint = HMAC(s, "wmark/fingerprint/v1")[:8]

The file that it is kept in is :mod:`.keyring_file`'s.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from ..errors import KeyringError
from ..files import exclusive, reason, write_atomically
from .keyring_file import Content, KeyEntry, NamesEntry, quoted, read, serialise
from .keys import KEY_ID, Key
from .layout import MAIN, IssuerEntry, Layout, free_range
from .names import Names, issuer_secret, pilot_secret
from .patterns import Pattern
from .secret import Secret

__all__ = ["KeyEntry", "Keyring", "default_path"]

SHARE = 1 << 30
"""Numbers that an issuer is given unless it asks for others: a thousandth of all."""


class Keyring:
    """One master secret and the keys derived from it.

    A new keyring comes from :meth:`create`, a stored one from :meth:`load`; :meth:`edit` changes a stored one safely.

    Arguments:
        secret: The 32-byte master secret. Never shown, and never pickled.
        pattern: Where its keys live unless :meth:`add` is told otherwise.
        entries: The keys it already has.
        pilot: Strength at which the keyring's pilot is planted beside each key that can have one, in (0, 1); `None`
            plants none, as in keyrings that were made without.
        names: What is public of its names; `None` for a keyring that has none.
    """

    def __init__(
        self,
        secret: bytes | Secret,
        pattern: Pattern,
        entries: Iterable[KeyEntry] = (),
        pilot: float | None = None,
        names: NamesEntry | None = None,
    ) -> None:
        self._secret = secret = Secret.of(secret)
        self.pattern, self.pilot_strength, self.named = pattern, pilot, names
        self.pilot()
        self._entries = {entry.id: entry for entry in entries}

    @classmethod
    def create(cls, pattern: Pattern | None = None, pilot: float | None = None) -> Keyring:
        """A keyring with a fresh master secret from the operating system, and no keys yet."""
        return cls(Secret(os.urandom(32)), pattern or Pattern.of(), pilot=pilot)

    def __repr__(self) -> str:
        return f"Keyring(fingerprint={self.fingerprint!r}, keys={len(self)})"

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def fingerprint(self) -> str:
        """The keyring's public name: 16 hexadecimal digits, the same for every copy of its secret."""
        return self._secret.tag(b"wmark/fingerprint/v1")[:16]

    @property
    def entries(self) -> tuple[KeyEntry, ...]:
        """Every key ever added, revoked ones too, in the order of their adding."""
        return tuple(self._entries.values())

    def entry(self, key_id: str) -> KeyEntry:
        """What is known of the key of an id, active or revoked; a :class:`KeyringError` if there is none."""
        if key_id not in self._entries:
            raise KeyringError(f"no key {key_id!r} in keyring {self.fingerprint}: see `wmark keys list`")
        return self._entries[key_id]

    def add(self, key_id: str | None = None, pattern: Pattern | None = None, note: str = "") -> Key:
        """Add a key.

        Arguments:
            key_id: The key's public name, or `None` for eight random hexadecimal digits.
            pattern: Where the key lives, or `None` for the keyring's pattern.
            note: Free text, kept in the keyring only.

        Returns:
            The new key.

        Raises:
            KeyringError: If the id is taken or not 1 to 64 letters, digits, `.`, `_` or `-`.
        """
        if key_id is not None and not (isinstance(key_id, str) and KEY_ID.fullmatch(key_id)):
            raise KeyringError(f"key id {key_id!r} is not 1 to 64 letters, digits, '.', '_' or '-'")
        if key_id in self._entries:
            raise KeyringError(f"key {key_id!r} is already in keyring {self.fingerprint}: choose another id")
        while key_id is None or key_id in self._entries:
            key_id = secrets.token_hex(4)
        entry = KeyEntry(key_id, pattern or self.pattern, created=now(), note=note)
        key = self._derive(entry)
        self._entries[key_id] = entry
        return key

    def key(self, key_id: str, *, allow_revoked: bool = False) -> Key:
        """The key of an id.

        Arguments:
            key_id: The key's public name.
            allow_revoked: Whether a revoked key may be had, as for verifying an image that was marked earlier.

        Raises:
            KeyringError: If there is no such key, or it is revoked and `allow_revoked` is false.
        """
        entry = self.entry(key_id)
        if entry.revoked and not allow_revoked:
            raise KeyringError(f"key {key_id!r} was revoked at {entry.revoked}: choose an active key")
        return self._derive(entry)

    def pilot(self, pattern: Pattern | None = None) -> Key | None:
        """The pilot of the keys of a pattern, by default the keyring's; None if they have none."""
        pattern = pattern or self.pattern
        if self.pilot_strength is None or not pattern.searchable:
            return None
        return Key.derive_pilot(self._secret, pattern, self.pilot_strength, keyring=self.fingerprint)

    def active(self) -> list[Key]:
        """The keys that are not revoked, in the order of their adding."""
        return [self._derive(entry) for entry in self._entries.values() if not entry.revoked]

    def revoke(self, key_id: str) -> KeyEntry:
        """Take a key out of use. It stays listed, with the time of its first revocation.

        Raises:
            KeyringError: If there is no such key.
        """
        entry = self.entry(key_id)
        if not entry.revoked:
            entry = self._entries[key_id] = replace(entry, revoked=now())
        return entry

    def add_names(self, layout: Layout | None = None) -> None:
        """Give the keyring names, the first of them to its own machine, the issuer `main`.

        Arguments:
            layout: How the coordinates of an image are shared out; that of :meth:`Layout.of` if not given.

        Raises:
            KeyringError: If it has names already.
        """
        if self.named:
            raise KeyringError(f"keyring {self.fingerprint} has names already: start another for another layout")
        self.named = NamesEntry(layout or Layout.of(), ())
        self.add_issuer(MAIN)

    def add_issuer(self, issuer: str, count: int = SHARE) -> IssuerEntry:
        """Give an issuer numbers that nobody was ever given.

        Arguments:
            issuer: Its public name.
            count: How many numbers.

        Raises:
            KeyringError: If the keyring has no names, the issuer is there already, or so many numbers are not left.
        """
        issuers = self._named().issuers
        if any(one.name == issuer for one in issuers):
            raise KeyringError(f"issuer {issuer!r} is already in keyring {self.fingerprint}: choose another name")
        entry = IssuerEntry(issuer, free_range(issuers, count), count, created=now())
        self.named = replace(self.named, issuers=(*issuers, entry))
        return entry

    def revoke_issuer(self, issuer: str) -> IssuerEntry:
        """Take an issuer out of use. Its names are still told, with the time of its first revocation.

        Raises:
            KeyringError: If there is no such issuer.
        """
        entry = self._issuer(issuer)
        if not entry.revoked:
            revoked = replace(entry, revoked=now())
            self.named = replace(self.named, issuers=tuple(revoked if e == entry else e for e in self.named.issuers))
            entry = revoked
        return entry

    def names(self, issuer: str | None = None) -> Names:
        """The names of all issuers, or those of one.

        Raises:
            KeyringError: If the keyring has no names, or no such issuer.
        """
        entries = self._named().issuers if issuer is None else (self._issuer(issuer),)
        secrets_of = {entry: issuer_secret(self._secret, entry.name) for entry in entries}
        return Names(self.named.layout, pilot_secret(self._secret), secrets_of, self.fingerprint)

    def _named(self) -> NamesEntry:
        if not self.named:
            raise KeyringError(f"keyring {self.fingerprint} has no names: add them with `wmark keys names`")
        return self.named

    def _issuer(self, issuer: str) -> IssuerEntry:
        for entry in self._named().issuers:
            if entry.name == issuer:
                return entry
        raise KeyringError(f"no issuer {issuer!r} in keyring {self.fingerprint}: see `wmark keys list`")

    @classmethod
    def load(cls, path: str | os.PathLike) -> Keyring:
        """Read a keyring from its file.

        Raises:
            KeyringError: If the file is missing, readable by other users, damaged, edited or of an unknown version.
        """
        return cls(*read(path))

    def save(self, path: str | os.PathLike) -> None:
        """Write the keyring to a file in one step, for its owner alone, creating its folder where needed.

        An earlier state of the same keyring is replaced. Use :meth:`edit` where others may write at the same time.

        Raises:
            KeyringError: If the file cannot be written, or holds anything but this keyring.
        """
        path = Path(os.path.realpath(path))
        with locked(path):
            known = os.path.exists(path)
            if known and Keyring.load(path)._secret != self._secret:
                raise KeyringError(
                    f"keyring {quoted(path)} is another keyring, which is not replaced: choose another path"
                )
            self._write(path, overwrite=known)

    @classmethod
    @contextmanager
    def edit(
        cls, path: str | os.PathLike, create: Pattern | None = None, pilot: float | None = None
    ) -> Iterator[Keyring]:
        """Change a stored keyring while nobody else can: load, hand out, save. Nothing is saved after an exception.

        >>> with Keyring.edit(path) as ring:
        ...     ring.add("mine")

        Arguments:
            path: The keyring's file.
            create: The pattern of a new keyring if there is no file at the path; `None` refuses instead.
            pilot: Strength of a new keyring's pilot, or `None` for none. One that is there keeps what it has.

        Raises:
            KeyringError: As :meth:`load` and :meth:`save`.
        """
        path = Path(os.path.realpath(path))
        if create is None:
            cls.load(path)  # No folder and no lock where there is no keyring.
        with locked(path):
            known = os.path.exists(path)
            ring = cls.create(create, pilot) if create is not None and not known else cls.load(path)
            yield ring
            ring._write(path, overwrite=known)

    def _derive(self, entry: KeyEntry) -> Key:
        pilot = self.pilot_strength if entry.pattern.searchable else None
        return Key.derive(
            self._secret, entry.id, entry.pattern, keyring=self.fingerprint, revoked=entry.revoked, pilot=pilot
        )

    def _write(self, path: Path, overwrite: bool) -> None:
        try:
            content = serialise(
                Content(self._secret, self.pattern, self.entries, self.pilot_strength, self.named), self.fingerprint
            )
            write_atomically(path, content, mode=0o600, overwrite=overwrite, locked=True)
        except (OSError, ValueError) as error:
            raise KeyringError(f"keyring {quoted(path)} cannot be written: {reason(error)}") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a keyring's file."""
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(path))
        except (OSError, ValueError) as error:
            raise KeyringError(f"keyring {quoted(path)} cannot be locked: {reason(error)}") from error
        yield


def default_path() -> Path:
    """Where the keyring is unless a path is given: `$WMARK_KEYRING`, or `keyring.json` in the user's data folder."""
    if chosen := os.environ.get("WMARK_KEYRING"):
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_data_path("wmark") / "keyring.json"


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
