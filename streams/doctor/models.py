"""Whether the model of the settings, and what the store announces, can be served here. Blocks."""

from __future__ import annotations

from pathlib import Path

from nacl.signing import VerifyKey

from encoders.bundled import BUNDLED, unpacked
from encoders.errors import UnusableError, require
from encoders.folder import check_files, locate, sentence_config
from streams.doctor.findings import Finding, fault
from streams.errors import PRODUCT, ConfigurationError, ModelRefused, VeilstreamError
from streams.models.registry.head import Head, head_records, newer
from streams.models.registry.ranker_file import read_ranker
from streams.models.registry.store import ModelStore
from streams.privacy.key_folder import key_folder
from streams.privacy.keys import load_model_verify_key
from streams.settings import Settings

_HASHING = "hashing"


def check_model(settings: Settings) -> list[Finding]:
    """The encoder by its files, the device, and the versions of the store by their signatures and hashes."""
    found = [_encoder(settings.model)]
    if settings.model != _HASHING:
        found.append(_device(settings.device))
    return [*found, *_store(settings)]


def _encoder(name: str) -> Finding:
    if name == _HASHING:
        return Finding("model", "ok", "`hashing` knows spelling and no meaning: for trying the flow only")
    try:
        require("model", "torch", "transformers")
        if name in BUNDLED:
            folder = unpacked(name)
            if folder is None:
                return Finding("model", "ok", f"`{name}` is unpacked at the first start")
        elif _is_of_hub(name):
            return Finding("model", "skipped", f"`{name}` is fetched from the model hub at the start")
        else:
            folder = locate(name)
        check_files(folder)
        sentence_config(folder)
        read_ranker(folder)
    except PRODUCT as error:
        return fault("model", str(error))
    except OSError as error:
        return Finding("model", "fault", f"the model {name} can't be read ({error.strerror})", "copy it again, or set VEILSTREAM_MODEL")
    return Finding("model", "ok", f"the files of VEILSTREAM_MODEL={name} are there")


def _is_of_hub(name: str) -> bool:
    path = Path(name).expanduser()
    return not (path.is_dir() or path.is_absolute() or name.startswith(".") or "://" in name)


def _device(name: str) -> Finding:
    """Only a GPU that is asked for is looked for: that takes seconds."""
    if not name.startswith("cuda"):
        return Finding("model", "ok", f"VEILSTREAM_DEVICE={name}")
    try:
        require("model", "torch")
    except UnusableError as error:
        return fault("model", str(error))
    import torch

    number = name.partition(":")[2]
    if not torch.cuda.is_available():
        what = f"VEILSTREAM_DEVICE={name}, and torch finds no GPU here"
    elif number.isdigit() and int(number) >= torch.cuda.device_count():
        what = f"VEILSTREAM_DEVICE={name}, and this machine has {torch.cuda.device_count()} GPUs"
    else:
        return Finding("model", "ok", f"VEILSTREAM_DEVICE={name} is there")
    return Finding("model", "fault", what, "check the driver with nvidia-smi, or set VEILSTREAM_DEVICE=auto")


def _store(settings: Settings) -> list[Finding]:
    try:
        path = key_folder(settings) / "models.pub"
        if not path.exists():
            return [Finding("model", "skipped", "versions in VEILSTREAM_MODELS: without models.pub they can't be verified")]
        key = load_model_verify_key(path)
        store = ModelStore(settings.models)
        versions = store.list_versions()
        found = [one for version in versions if (one := _refused(store, version, key)) is not None]
        announced = _announced(store, key)
        found += [one for version in announced if (one := _unserved(store, version, key)) is not None]
    except VeilstreamError as error:
        return [fault("model", str(error))]
    count = f"{len(versions)} version{'' if len(versions) == 1 else 's'} in {store.root}"
    serves = f", of which {' and '.join(announced)} {'is' if len(announced) == 1 else 'are'} announced" if announced else ""
    # A version may be refused by its manifest, and again as the one that is announced.
    return list({one.what: one for one in found}.values()) or [Finding("model", "ok", count + serves)]


def _announced(store: ModelStore, key: VerifyKey) -> list[str]:
    """What the head of the store says that the channels serve."""
    data, head = store.read_head(), Head(key)
    newer(head, head_records(data) if data is not None else [])
    last = [head.last(channel) for channel in ("stable", "canary")]
    return sorted({one.model_version for one in last if one is not None and not one.withdrawn})


def _refused(store: ModelStore, version: str, key: VerifyKey) -> Finding | None:
    try:
        store.read_manifest(version, key)
    except ModelRefused as error:
        what, _, fix = error.detail.rpartition("; ")
        told = f"version {version} is refused ({error.refusal}): {what or fix}"
        return Finding("model", "fault", told, fix if what else "publish it again")
    return None


def _unserved(store: ModelStore, version: str, key: VerifyKey) -> Finding | None:
    """Every byte of what is announced is read."""
    try:
        store.verify(version, key)
    except (ModelRefused, ConfigurationError) as error:
        what, _, fix = str(error).rpartition("; ")
        return Finding("model", "fault", f"{version} is announced, and is not served: {what or fix}", fix if what else "publish it again")
    return None
