"""How much of the machine is enough: disk, memory, open files, and how far clocks may be apart. Pure."""

from __future__ import annotations

from streams.doctor.findings import Finding

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30
_LEAST_FREE = 64 * _MIB
_SPARE_FREE = _GIB
_FILES_BASE, _FILES_A_PARTITION = 256, 40
"""Connections, libraries and the log; files of RocksDB for one partition, while it compacts."""
NETWORK_KINDS = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs", "gpfs"),
        *("fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse"),
    )
)
"""File systems on which RocksDB is slow, and a lock may not hold."""
_SKEW_S, _FAR_S = 5.0, 60.0
"""From so much on the times of events and records mislead; from so much on tokens and certificates are refused, too."""

_SET = "set it by NTP"


def size(count: float) -> str:
    """
    >>> size(1536 << 20), size(300)
    ('1.5 GiB', '300 B')
    """
    for unit, name in ((_GIB, "GiB"), (_MIB, "MiB"), (_KIB, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{count:.0f} B"


def judge_disk(setting: str, folder: str, free: int, used: int, kind: str | None) -> list[Finding]:
    """Of one folder, in bytes. ``used``: what lies in it; ``kind``: its file system, None where that is not known."""
    found = []
    if free < _LEAST_FREE:
        what = f"the disk of {folder} is full: {size(free)} are free"
        found.append(Finding("disk", "fault", what, f"free some space, or set {setting} to another disk"))
    elif free < max(_SPARE_FREE, used):
        what = f"the disk of {folder} has {size(free)} free, and {size(used)} lie there: RocksDB needs as much again while it compacts"
        found.append(Finding("disk", "warning", what, f"free some space, or set {setting} to a larger disk"))
    if kind in NETWORK_KINDS:
        what = f"{folder} is on a network file system ({kind}): slow for a state, and locks may not hold"
        found.append(Finding("disk", "warning", what, f"set {setting} to a disk of this machine"))
    return found or [Finding("disk", "ok", f"{folder}: {size(free)} free" + (f", {size(used)} in use" if used else ""))]


def judge_memory(available: int, wanted: int, limit: int | None) -> Finding:
    """Bytes that are available now, those that the processes want, and the limit of the container, if there is one."""
    of = f" of the container's {size(limit)}" if limit is not None else ""
    if available < wanted:
        what = f"{size(available)}{of} are available, {size(wanted)} are wanted to begin with"
        return Finding("memory", "warning", what, "give it more memory, or run fewer stages on this machine")
    return Finding("memory", "ok", f"{size(available)}{of} available")


def judge_open_files(limit: int, partitions: int) -> Finding:
    """``limit``: of each process. ``partitions``: of a topic, all of which one worker may own."""
    wanted = _FILES_BASE + _FILES_A_PARTITION * partitions
    if limit < wanted:
        what = f"a process may open {limit} files; a worker with {partitions} partitions may need {wanted}"
        return Finding("files", "warning", what, f"raise the limit: `ulimit -n {max(4096, wanted)}`, or LimitNOFILE of the service")
    return Finding("files", "ok", f"a process may open {limit} files")


def judge_clock(ahead_s: float, within_s: float) -> Finding:
    """``ahead_s``: how far this machine's clock is ahead of the cluster's, seconds, known to ``within_s``."""
    off = max(0.0, abs(ahead_s) - within_s)
    told = f"this machine's clock is {abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} the cluster's"
    if off >= _FAR_S:
        what = f"{told}: events seem to be from the future, tokens and certificates may be refused"
        return Finding("clock", "fault", what, _SET)
    if off >= _SKEW_S:
        return Finding("clock", "warning", f"{told}: times of events and records mislead", _SET)
    return Finding("clock", "ok", f"within {max(abs(ahead_s), within_s):.1f} s of the cluster's")
