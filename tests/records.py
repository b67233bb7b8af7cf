"""A record of a marked image, and what manifests call its mark."""

RECORD = {
    "created": "2026-03-04T05:06:07+00:00",
    "model": {"name": "tiny", "fingerprint": "0123456789abcdef"},
    "keyring": "fedcba9876543210",
    "key_id": "one",
    "prompt": "a secret garden",
    "seed": 7,
}
MARK = "fedcba9876543210/key/one"
