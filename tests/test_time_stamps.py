"""Time stamps: of an authority that is run here with openssl, as one of RFC 3161 answers."""

from __future__ import annotations

import subprocess
import threading
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from shutil import which

import pytest
from PIL import Image

from wmark.images import encode_image

pytestmark = pytest.mark.skipif(not which("openssl"), reason="needs openssl, to be a time-stamping authority")

RECORD = {
    "created": "2026-03-04T05:06:07+00:00",
    "model": {"name": "tiny", "fingerprint": "0123456789abcdef"},
    "keyring": "fedcba9876543210",
    "key_id": "one",
}

CONFIGURATION = """
[tsa]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
"""


@pytest.fixture
def authority(trial_certificate, tmp_path, monkeypatch):
    """The address of a time-stamping authority, and its root certificate."""
    from cryptography import x509

    from wmark.provenance.authority import issue

    with monkeypatch.context() as patch:
        # Alone and critical, as RFC 3161 asks.
        usage = x509.ExtendedKeyUsage
        patch.setattr(x509.ExtendedKeyUsageOID, "EMAIL_PROTECTION", x509.ExtendedKeyUsageOID.TIME_STAMPING)
        add = x509.CertificateBuilder.add_extension
        patch.setattr(
            x509.CertificateBuilder,
            "add_extension",
            lambda self, value, critical: add(self, value, critical or isinstance(value, usage)),
        )
        made = issue("Example time", 3)
    for name, content in (("tsa.pem", made.chain), ("tsa.key", made.key), ("serial", b"01\n")):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "tsa.cnf").write_text(CONFIGURATION.format(folder=tmp_path))

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            (tmp_path / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            command = ["openssl", "ts", "-reply", "-queryfile", "query", "-out", "reply", "-config", "tsa.cnf"]
            command += ["-section", "tsa", "-signer", "tsa.pem", "-inkey", "tsa.key", "-chain", "tsa.pem"]
            subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write((tmp_path / "reply").read_bytes())

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", made.authority.decode()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_time_stamp_says_when_it_was_signed(trial_certificate, authority, tmp_path):
    from wmark.provenance import Signer, read_manifest

    address, root = authority
    signer = Signer(*trial_certificate[:2], domain="example.com", authority=address)
    signed = signer.sign(encode_image(Image.new("RGB", (64, 64)), ".png"), ".png", RECORD)
    (tmp_path / "out.png").write_bytes(signed.data)
    own = trial_certificate[2].read_text()
    report = read_manifest(tmp_path / "out.png", own + root)
    assert (report.state, report.trusted) == ("valid", True)
    assert abs((datetime.fromisoformat(report.time) - datetime.now(timezone.utc)).total_seconds()) < 600
    report = read_manifest(tmp_path / "out.png", own)
    assert (report.state, report.trusted, report.time) == ("valid", True, None)  # Anybody can be a clock.
