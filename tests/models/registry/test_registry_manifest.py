"""Manifests: one canonical form, a signature that any change breaks, and a refusal that says what is wrong."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from streams.errors import ModelRefused, Refusal
from streams.models.registry.canonical import canonical
from streams.models.registry.manifest import (
    Manifest,
    check_dimension,
    check_files,
    check_name,
    check_names,
    is_version,
    sign_manifest,
    verify_manifest,
)
from streams.privacy.signing import is_signed, sign
from streams.ranking.serving_params import ServingParams

KEY = SigningKey(bytes(32))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.from_regex(r"[a-z]{1,4}(/[a-z]{1,3}){0,2}[.](json|txt|safetensors)", fullmatch=True)
TIMES = st.integers(0, 2**45)
SERVINGS = st.builds(ServingParams, st.floats(0.001, 1e6), st.floats(0, 1e6), FINITE)
VERSIONS = st.binary(min_size=6, max_size=6).map(bytes.hex)
FILES = st.dictionaries(NAMES, st.tuples(st.binary(min_size=32, max_size=32).map(bytes.hex), st.integers(0, 2**40)), max_size=4)


def with_sizes(files: dict[str, tuple[str, int]], **fields: Any) -> Manifest:
    hashes = {name: digest for name, (digest, _) in files.items()}
    return Manifest(files=hashes, sizes={name: size for name, (_, size) in files.items()}, **fields)


MANIFESTS = st.builds(
    with_sizes,
    model_version=VERSIONS,
    parent=st.none() | VERSIONS,
    base=st.text(max_size=20),
    created_at=TIMES,
    dimension=st.integers(1, 65_536),
    files=FILES,
    metrics=st.dictionaries(st.text(max_size=8), FINITE, max_size=4),
    serving=SERVINGS,
    data_from=st.just(5),
    data_to=st.integers(5, 100),
    pairs=st.integers(0, 10**9),
    epsilon_spent=st.none() | FINITE,
    verdict=st.text(max_size=20),
)


def refusal(data: bytes, signature: bytes | None = None) -> Refusal:
    with pytest.raises(ModelRefused) as raised:
        verify_manifest(data, sign("model manifest", data, KEY) if signature is None else signature, KEY.verify_key)
    return raised.value.refusal


def changed(manifest: Manifest, **changes: Any) -> bytes:
    """The bytes of a manifest with changes that its class would not take."""
    return json.dumps({**json.loads(manifest.to_bytes()), **changes}, sort_keys=True, separators=(",", ":")).encode()


@given(MANIFESTS)
def test_what_is_signed_reads_back(manifest: Manifest) -> None:
    data = manifest.to_bytes()
    assert verify_manifest(data, sign_manifest(manifest, KEY), KEY.verify_key) == manifest
    assert Manifest.from_bytes(data).to_bytes() == data


@given(MANIFESTS, MANIFESTS)
@pytest.mark.slow
def test_different_manifests_have_different_bytes(one: Manifest, other: Manifest) -> None:
    assert (one == other) == (one.to_bytes() == other.to_bytes())


@given(MANIFESTS, MANIFESTS, st.sampled_from([field.name for field in fields(Manifest) if field.name not in ("format", "sizes")]))
def test_any_changed_field_breaks_the_signature(one: Manifest, other: Manifest, name: str) -> None:
    sizes = {"sizes": other.sizes} if name == "files" else {}
    mixed = replace(one, **{name: getattr(other, name)}, **sizes)
    if mixed != one:
        assert refusal(mixed.to_bytes(), sign_manifest(one, KEY)) == Refusal.SIGNATURE


@given(MANIFESTS, st.data())
def test_any_flipped_bit_breaks_the_signature(manifest: Manifest, data: st.DataObject) -> None:
    message, signature = bytearray(manifest.to_bytes()), bytearray(sign_manifest(manifest, KEY))
    spoilt = data.draw(st.sampled_from([message, signature]))
    place = data.draw(st.integers(0, len(spoilt) - 1))
    spoilt[place] ^= 1 << data.draw(st.integers(0, 7))
    assert refusal(bytes(message), bytes(signature)) == Refusal.SIGNATURE


@given(MANIFESTS, st.binary(max_size=70))
def test_no_other_signature_holds(manifest: Manifest, signature: bytes) -> None:
    assert refusal(manifest.to_bytes(), signature) == Refusal.SIGNATURE
    assert refusal(manifest.to_bytes(), sign_manifest(manifest, SigningKey(b"x" * 32))) == Refusal.SIGNATURE
    assert refusal(manifest.to_bytes(), sign("model announcement", manifest.to_bytes(), KEY)) == Refusal.SIGNATURE


def a_manifest(**changes: Any) -> Manifest:
    fields: dict[str, Any] = {"model_version": "v1", "parent": None, "base": "b", "created_at": 1, "dimension": 4}
    fields |= {
        "files": {"config.json": "0" * 64},
        "sizes": {"config.json": 7},
        "metrics": {"hr@10": 0.5},
        "serving": ServingParams(1, 0, 0),
    }
    return Manifest(**{**fields, **changes})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        b'{"format":true}',
        a_manifest().to_bytes() + b"\n",
        changed(a_manifest(), unknown=1),
        changed(a_manifest(), format=1),
        changed(a_manifest(), format=3),
        changed(a_manifest(), sizes={}),
        changed(a_manifest(), sizes={"config.json": -1}),
        changed(a_manifest(), sizes={"config.json": True}),
        changed(a_manifest(), sizes={"config.json": 7, "more.json": 1}),
        changed(a_manifest(), serving={}),
        changed(a_manifest(), serving=None),
        changed(a_manifest(), serving={**ServingParams(1, 0, 0).to_dict(), "half_life_days": 0}),
        changed(a_manifest(), metrics={"hr@10": 1}),
        changed(a_manifest(), metrics={"hr@10": "1"}),
        changed(a_manifest(), metrics={"hr@10": 10**400}),
        changed(a_manifest(), created_at=1.5),
        changed(a_manifest(), pairs=-1),
        changed(a_manifest(), pairs=True),
        changed(a_manifest(), data_from=1),
        changed(a_manifest(), data_from=2, data_to=1),
        changed(a_manifest(), model_version="../v1"),
        changed(a_manifest(), parent=""),
        changed(a_manifest(), files={"a.json": "0" * 63}),
        changed(a_manifest(), files={"a.json": 5}),
        changed(a_manifest(), files=["a.json"]),
    ],
    ids=lambda data: repr(data[:30]),
)
def test_signed_nonsense_is_refused_with_a_fix(data: bytes) -> None:
    assert refusal(data) == Refusal.MALFORMED
    with pytest.raises(ModelRefused, match=r"publish the model again|update Veilstream"):
        Manifest.from_bytes(data)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused(number: float) -> None:
    for changes in ({"metrics": {"x": number}}, {"epsilon_spent": number}):
        with pytest.raises(ModelRefused) as raised:
            a_manifest(**changes)
        assert raised.value.refusal == Refusal.NOT_FINITE
    assert refusal(changed(a_manifest(), metrics={"x": number})) == Refusal.NOT_FINITE
    for place in range(3):
        with pytest.raises(ValueError, match="finite"):
            ServingParams(*[number if place == index else 1.0 for index in range(3)])


@pytest.mark.parametrize("arguments", [(0, 0, 0), (-1, 0, 0), (1, -0.1, 0), (True, 0, 0), ("1", 0, 0)])
def test_serving_out_of_range(arguments: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        ServingParams(*arguments)


@given(SERVINGS)
def test_serving_there_and_back(serving: ServingParams) -> None:
    assert ServingParams.from_dict(serving.to_dict()) == serving


def test_serving_of_other_parameters_is_refused() -> None:
    for values in ({}, {"half_life_days": 1.0}, {**ServingParams(1, 0, 0).to_dict(), "temperature": 1.0}):
        with pytest.raises(ValueError, match="missing or unknown"):
            ServingParams.from_dict(values)


def test_one_number_has_one_form() -> None:
    assert a_manifest(metrics={"x": 1}, serving=ServingParams(1, 0, -0.0)) == a_manifest(
        metrics={"x": 1.0}, serving=ServingParams(1.0, 0.0, 0.0)
    )
    assert a_manifest(metrics={"x": 0}).to_bytes() == a_manifest(metrics={"x": -0.0}).to_bytes()
    assert canonical({"b": 1.0, "a": "é"}) == b'{"a":"\\u00e9","b":1.0}'
    assert not is_signed("model manifest", b"", b"", KEY.verify_key)


UNSAFE = ["", ".", "..", "/a.json", "../a.json", "a/../b.json", "a//b.json", "./a.json", "a/", "a\\b.json", "C:a.json", "a\n.json"]


@pytest.mark.parametrize("name", [*UNSAFE, "manifest.json", "manifest.sig", "a\x00.json"])
def test_paths_that_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(ModelRefused) as raised:
        check_name(name)
    assert raised.value.refusal == Refusal.UNSAFE_PATH
    assert refusal(changed(a_manifest(), files={name: "0" * 64})) == Refusal.UNSAFE_PATH


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.PT", "x.pkl", "a/b.ckpt", "modeling.py", "run.sh", "noending", ".hidden.json", ".git/a.json"]
)
def test_kinds_of_files_that_a_model_has_no_use_for(name: str) -> None:
    with pytest.raises(ModelRefused) as raised:
        check_name(name)
    assert raised.value.refusal == Refusal.FILE_KIND


@pytest.mark.parametrize("names", [["a.json", "A.json"], ["a.json", "a.json/b.json"]])
def test_files_that_can_not_lie_side_by_side(names: list[str]) -> None:
    with pytest.raises(ModelRefused) as raised:
        check_names(names)
    assert raised.value.refusal == Refusal.UNSAFE_PATH


def test_names_that_are_fine() -> None:
    check_names(["model.safetensors", "1_Pooling/config.json", "spiece.model", "plot.png", "report.md", "merges.txt"])
    assert is_version("0123456789ab") and not any(map(is_version, ("", ".a", "a/b", "a.b", "a" * 65, "a\n")))


def test_files_are_compared_by_name_and_hash() -> None:
    files = {"a.json": "0" * 64, "b.json": "1" * 64}
    manifest = a_manifest(files=files, sizes=dict.fromkeys(files, 1))
    check_files(manifest, {**manifest.files, "manifest.json": "x", "manifest.sig": "y"})
    cases = [
        ({"a.json": "0" * 64}, Refusal.MISSING_FILE, "b.json of v1 is missing"),
        ({**manifest.files, "c.json": "0" * 64}, Refusal.EXTRA_FILE, "'c.json' is not in the manifest"),
        ({**manifest.files, "a.json": "1" * 64}, Refusal.HASH, "a.json of v1 differs from the signed file"),
    ]
    for found, expected, words in cases:
        with pytest.raises(ModelRefused, match=words) as raised:
            check_files(manifest, found)
        assert raised.value.refusal == expected
    with pytest.raises(ModelRefused, match="has 5 dimensions, its manifest says 4"):
        check_dimension(manifest, 5)
    assert refusal(changed(a_manifest(), dimension=0)) == Refusal.DIMENSION
