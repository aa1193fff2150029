"""The manifest of a model version: files by name and hash, origin, metrics, serving parameters. It is signed as one piece."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

from nacl.signing import SigningKey, VerifyKey

from streams.errors import ModelRefused, Refusal
from streams.models.registry.canonical import canonical
from streams.privacy.signing import is_signed, sign
from streams.ranking.serving_params import ServingParams

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
RESERVED = frozenset({MANIFEST, SIGNATURE})
_ALLOWED = (".safetensors", ".json", ".txt", ".md", ".png", ".model")
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
_UNSAFE_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\\:*?\"<>|]")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")

FORMAT = 2
"""The first format had no sizes. It is read, and not written."""
FORMATS = (1, FORMAT)
MAX_MANIFEST_BYTES = 1 << 20
"""Of a longer file no more is read than shows that: nothing is known of it before its signature is verified."""
UNSIZED_BYTES = 4 << 30
"""Limit of a file of a version whose manifest has no sizes."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPUBLISH = "publish the model again"
_INTEGER = (int,)
_NUMBER = (int, float)
_TYPES: dict[str, tuple[type, ...]] = {
    "format": _INTEGER,
    "model_version": (str,),
    "parent": (str, type(None)),
    "base": (str,),
    "created_at": _INTEGER,
    "dimension": _INTEGER,
    "files": (dict,),
    "sizes": (dict,),
    "metrics": (dict,),
    "serving": (ServingParams,),
    "data_from": (int, type(None)),
    "data_to": (int, type(None)),
    "pairs": _INTEGER,
    "epsilon_spent": (int, float, type(None)),
    "verdict": (str,),
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that is signed of a version. Raises ModelRefused if a value can't be right."""

    model_version: str
    parent: str | None
    """Version it was trained from."""
    base: str
    """Name of the model that training began with."""
    created_at: int
    """Milliseconds since the epoch."""
    dimension: int
    """Length of its vectors."""
    files: dict[str, str]
    """File name (with /) to SHA-256, 64 hexadecimal characters; without the manifest's own two."""
    metrics: dict[str, float]
    serving: ServingParams
    data_from: int | None = None
    """Time of the first training pair, milliseconds; None if nothing was trained."""
    data_to: int | None = None
    pairs: int = 0
    """Training pairs."""
    epsilon_spent: float | None = None
    """Differential-privacy budget, None if none was used."""
    verdict: str = ""
    """Why it may be promoted, as the gate says."""
    sizes: dict[str, int] = field(default_factory=dict)
    """File name to its number of bytes; empty in the first format."""
    format: int = FORMAT

    def __post_init__(self) -> None:
        _check_format(self.format)
        for name, types in _TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, types) or isinstance(value, bool):
                raise _malformed(f"{name} is of the wrong type")
        for name in ("model_version", "parent"):
            value = getattr(self, name)
            if value is not None and not is_version(value):
                raise _malformed(f"{name} is no version name (1 to 64 letters, digits, - and _)")
        if not 1 <= self.dimension <= 65_536:
            raise ModelRefused(Refusal.DIMENSION, f"its manifest says {self.dimension} dimensions; {_REPUBLISH}")
        if self.pairs < 0 or (self.data_from is None) != (self.data_to is None) or (self.data_from or 0) > (self.data_to or 0):
            raise _malformed("pairs must be from 0, and the data window must have a beginning before its end")
        check_names(self.files)
        for name, digest in self.files.items():
            if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
                raise _malformed(f"the hash of {name} is no SHA-256")
        if set(self.sizes) != (set() if self.format == 1 else set(self.files)):
            raise _malformed("its sizes are not of its files")
        if not all(type(size) is int and size >= 0 for size in self.sizes.values()):
            raise _malformed("sizes must be whole numbers of bytes")
        if not all(isinstance(name, str) and type(value) in _NUMBER for name, value in self.metrics.items()):
            raise _malformed("metrics must be numbers by name")
        object.__setattr__(self, "files", dict(self.files))
        object.__setattr__(self, "sizes", dict(self.sizes))
        object.__setattr__(self, "metrics", {name: float(value) for name, value in self.metrics.items()})
        object.__setattr__(self, "epsilon_spent", None if self.epsilon_spent is None else float(self.epsilon_spent))
        canonical({"metrics": self.metrics, "epsilon_spent": self.epsilon_spent})  # refuses what is not finite

    def to_bytes(self) -> bytes:
        """The content of manifest.json, in its one canonical form."""
        plain = {**asdict(self), "serving": self.serving.to_dict()}
        return canonical({name: plain[name] for name in _names(self.format)})

    def most_bytes(self, name: str) -> int:
        """No more than so many bytes are read of this file, wherever it is."""
        return self.sizes.get(name, UNSIZED_BYTES)

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """The inverse of ``to_bytes``, which accepts no other form. Raises ModelRefused."""
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            raise _malformed("it is no JSON") from None
        if not isinstance(found, dict) or type(found.get("format")) is not int:
            raise _malformed("it has no format number")
        _check_format(found["format"])
        if set(found) != _names(found["format"]):
            raise _malformed(f"missing or unknown: {', '.join(sorted(set(found) ^ _names(found['format'])))}")
        manifest = cls._from_dict(found)
        if manifest.to_bytes() != data:
            raise _malformed("it is not in its canonical form")
        return manifest

    @classmethod
    def _from_dict(cls, found: dict[str, Any]) -> Manifest:
        try:
            return cls(**{**found, "serving": ServingParams.from_dict(found["serving"])})
        except (TypeError, ValueError, OverflowError) as error:
            raise _malformed(f"its serving parameters or numbers are wrong ({type(error).__name__})") from None


def sign_manifest(manifest: Manifest, key: SigningKey) -> bytes:
    """The content of manifest.sig: 64 bytes of Ed25519 over ``to_bytes``. Raises ModelRefused if nobody would read so long a manifest."""
    data = manifest.to_bytes()
    if len(data) > MAX_MANIFEST_BYTES:
        raise _malformed(f"it has more than {MAX_MANIFEST_BYTES} bytes; leave files out of the model's folder")
    return sign("model manifest", data, key)


def verify_manifest(data: bytes, signature: bytes, key: VerifyKey) -> Manifest:
    """The manifest in these bytes. Raises ModelRefused: the signature first, so that nothing unsigned is even read."""
    if not is_signed("model manifest", data, signature, key):
        raise ModelRefused(
            Refusal.SIGNATURE,
            f"{SIGNATURE} does not match {MANIFEST}: it was changed, or signed by another key than models.pub; "
            f"{_REPUBLISH}, or give this machine the right models.pub",
        )
    return Manifest.from_bytes(data)


def check_files(manifest: Manifest, found: Mapping[str, str]) -> None:
    """Compares file names and SHA-256s, without those of the manifest itself. Raises ModelRefused for the first difference."""
    version = manifest.model_version
    for name in sorted(set(manifest.files) - set(found)):
        raise ModelRefused(Refusal.MISSING_FILE, f"{name} of {version} is missing; {_REPUBLISH}")
    for name in sorted(set(found) - set(manifest.files) - RESERVED):
        raise ModelRefused(Refusal.EXTRA_FILE, f"{name!r} is not in the manifest of {version}; remove it, or {_REPUBLISH}")
    for name in manifest.files:
        check_hash(manifest, name, found[name])


def check_hash(manifest: Manifest, name: str, digest: str) -> None:
    """Raises ModelRefused if a file's SHA-256 is another than was signed."""
    if manifest.files[name] != digest:
        raise ModelRefused(Refusal.HASH, f"{name} of {manifest.model_version} differs from the signed file; {_REPUBLISH}")


def check_size(manifest: Manifest, name: str, size: int | None) -> None:
    """Raises ModelRefused if a file can't be the signed one by its number of bytes; None: the store does not tell it."""
    if size is not None and (size > manifest.most_bytes(name) or (name in manifest.sizes and size != manifest.sizes[name])):
        raise ModelRefused(
            Refusal.HASH,
            f"{name} of {manifest.model_version} differs from the signed file: it has {size} bytes instead of {manifest.most_bytes(name)}; "
            f"{_REPUBLISH}",
        )


def check_dimension(manifest: Manifest, dimension: int) -> None:
    """Raises ModelRefused if the model's vectors have another length than was signed."""
    if manifest.dimension != dimension:
        raise ModelRefused(
            Refusal.DIMENSION,
            f"{manifest.model_version} has {dimension} dimensions, its manifest says {manifest.dimension}; {_REPUBLISH}",
        )


def _check_format(number: int) -> None:
    if number not in FORMATS:
        raise _malformed(
            f"it is of format {number}, this version of Veilstream reads up to {FORMAT}; update Veilstream, or use another model"
        )


def _names(number: int) -> set[str]:
    """The fields of a format."""
    return set(_TYPES) - ({"sizes"} if number == 1 else set())


def _malformed(what: str) -> ModelRefused:
    return ModelRefused(Refusal.MALFORMED, f"its manifest can't be used: {what}" + ("" if "; " in what else f"; {_REPUBLISH}"))


def is_version(name: str) -> bool:
    """Whether it may name a version: letters, digits, - and _, at most 64, so that it is one safe folder name."""
    return _VERSION.fullmatch(name) is not None


def is_allowed(name: str) -> bool:
    """Whether a model may hold a file of this name."""
    try:
        check_name(name)
    except ModelRefused:
        return False
    return True


def check_name(name: str) -> None:
    """Raises ModelRefused for a path that could leave the model's folder, and for a kind of file that a model does not need."""
    # Refuse paths that are not in normal form: absolute, empty, or with . or .. or //.
    parts = PurePosixPath(name).parts
    if name in RESERVED or not parts or "/".join(parts) != name or ".." in parts or _UNSAFE_CHARACTERS.search(name):
        raise ModelRefused(Refusal.UNSAFE_PATH, f"file name {name!r} may not be in a model; publish the model anew from a clean folder")
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _PICKLES:
        raise ModelRefused(Refusal.FILE_KIND, f"{name} may be a pickle, which runs code when it is loaded; convert it to safetensors")
    if suffix not in _ALLOWED or any(part.startswith(".") for part in parts):
        raise ModelRefused(Refusal.FILE_KIND, f"{name} is none of {', '.join(_ALLOWED)}; leave it out of the model's folder")


def check_names(names: Collection[str]) -> None:
    """``check_name`` for all, and no two that some file system could not hold side by side."""
    for name in names:
        check_name(name)
    folded = [name.casefold() for name in names]
    folders = {str(parent) for name in folded for parent in PurePosixPath(name).parents}
    if len(set(folded)) != len(folded) or folders & set(folded):
        raise ModelRefused(Refusal.UNSAFE_PATH, "two of its file names differ by case only, or one is a folder of another; rename them")
