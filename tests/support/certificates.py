"""Certificates for a test, made by OpenSSL: an authority, a server on this machine, a client."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class Pair(NamedTuple):
    cert: Path
    key: Path


class Certificates:
    """Skips the test where OpenSSL's command is missing."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("this test makes certificates with the command openssl, which is not here")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.authority = Pair(folder / "ca.pem", folder / "ca.key")
        subject = ["-subj", "/CN=an authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        self._openssl("req", "-x509", *self._new_key(self.authority.key), "-days", "2", *subject, "-out", str(self.authority.cert))
        self.server = self.issue("server", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        self.client = self.issue("client", "extendedKeyUsage=clientAuth")

    def issue(self, name: str, extension: str) -> Pair:
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        of = ["-CA", str(self.authority.cert), "-CAkey", str(self.authority.key)]
        more = ["-subj", f"/CN={name}", "-addext", extension]
        self._openssl("req", "-x509", *self._new_key(pair.key), "-days", "2", *of, *more, "-out", str(pair.cert))
        return pair

    @staticmethod
    def _new_key(path: Path) -> list[str]:
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(path)]

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
