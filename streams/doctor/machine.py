"""Looks at this machine: disks, memory, open files. Linux tells most; what it does not tell is skipped."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import tempfile
from pathlib import Path

from streams.doctor.findings import Finding
from streams.doctor.limits import judge_disk, judge_memory, judge_open_files

_MOUNTS = Path("/proc/self/mounts")
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_MOST_FILES = 20_000
"""So many files of a folder are summed up."""


def check_folder(setting: str, folder: Path) -> list[Finding]:
    """Whether a folder is there, or can be made, can be written and has room. A file is made in it and removed again; a folder that is
    not there is not made."""
    there = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/"))
    if not there.is_dir():
        return [Finding("disk", "fault", f"{there} is no folder", f"remove it, or set {setting} to another folder")]
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"veilstream doctor")
            file.flush()
    except OSError as error:
        why = {errno.ENOSPC: "its disk is full", errno.EDQUOT: "the quota is used up"}.get(error.errno or 0, error.strerror)
        verb = "written" if there == folder else "made"
        fix = f"mend it for user {os.geteuid()}, or set {setting} to another folder"
        return [Finding("disk", "fault", f"{folder} can't be {verb} ({why})", fix)]
    usage = shutil.disk_usage(there)
    return judge_disk(setting, str(folder), usage.free, _size(folder), _kind(there))


def _size(folder: Path) -> int:
    """Bytes of the files in it, as far as they are looked at."""
    total, seen = 0, 0
    for root, _, names in os.walk(folder):
        for name in names:
            seen += 1
            if seen > _MOST_FILES:
                return total
            try:
                total += (Path(root) / name).lstat().st_size
            except OSError:  # RocksDB has just removed it
                continue
    return total


def _kind(folder: Path) -> str | None:
    """The file system of a folder."""
    try:
        mounts = [line.split()[1:3] for line in _MOUNTS.read_text().splitlines()]
    except OSError:
        return None
    path = folder.resolve()
    best = max(
        ((where.replace("\\040", " "), kind) for where, kind in mounts if path.is_relative_to(where.replace("\\040", " "))),
        key=lambda found: len(found[0]),
        default=None,
    )
    return None if best is None else best[1]


def check_memory(wanted: int) -> Finding:
    """``wanted``: bytes."""
    try:
        told = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        available = int(told["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError, IndexError):
        return Finding("memory", "skipped", "this system does not tell how much memory is available")
    limit, used = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    if limit is not None:
        available = min(available, max(0, limit - (used or 0)))
    return judge_memory(available, wanted, limit)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # not in a container, or without a limit ("max")
        return None


def check_open_files(partitions: int) -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return judge_open_files(soft if soft != resource.RLIM_INFINITY else 1 << 20, partitions)
