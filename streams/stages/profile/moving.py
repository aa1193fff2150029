"""Takes in what comes from old pseudonyms, to the profiles under the new ones."""

from __future__ import annotations

from collections.abc import Sequence

from streams.engine.records import BatchResult, SourceRecord, StateView
from streams.ranking.rules import ProfileRules
from streams.stages.profile.moves import ProfileMove, arrive, is_empty
from streams.stages.profile.profile import Profile, dump_profile, load_profile
from streams.stages.profile.withdrawal import erased_until_key, load_erased_until
from streams.stages.sealed_moves import SealedMoves


def arrived(batch: Sequence[SourceRecord], state: StateView, moves: SealedMoves[ProfileMove], rules: ProfileRules) -> BatchResult:
    """What a batch of ``privacy.moves`` makes of the profiles that it names."""
    result = BatchResult()
    found = moves.decoded(batch, result)
    erased_key = erased_until_key(batch[0].partition)
    stored = dict(state.get_many([erased_key, *dict.fromkeys(move.new.encode() for move in found)]))
    erased_until = load_erased_until(stored.pop(erased_key, None))
    profiles = {key.decode(): load_profile(data) for key, data in stored.items()}
    changed: set[str] = set()
    for move in found:
        # Of whom nothing is known, nothing up to there is wanted, should it be read again.
        profile = profiles.setdefault(move.new, Profile(applied_offset=erased_until))
        has_changed, sent = arrive(profile, move, rules)
        if has_changed:
            changed.add(move.new)
        if sent is not None:
            result.outputs.append(moves.output(sent))
    for pseudonym in changed:
        profile = profiles[pseudonym]
        result.state[pseudonym.encode()] = None if is_empty(profile) else dump_profile(profile)
    return result
