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

    def issue_expired(self, name: str, extension: str) -> Pair:
        """One that ended yesterday; another of OpenSSL's commands makes it."""
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(extension)
        self._openssl("req", "-new", *self._new_key(pair.key), "-subj", f"/CN={name}", "-out", str(request))
        of = ["-CA", str(self.authority.cert), "-CAkey", str(self.authority.key), "-set_serial", "2"]
        self._openssl("x509", "-req", "-in", str(request), *of, "-days", "-1", "-extfile", str(extensions), "-out", str(pair.cert))
        return pair

    def together(self, name: str, pair: Pair) -> Path:
        """Key and certificate in one file, as a broker in Java wants them."""
        path = self._folder / f"{name}-both.pem"
        path.write_text(pair.key.read_text() + pair.cert.read_text())
        return path

    @staticmethod
    def _new_key(path: Path) -> list[str]:
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(path)]

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
