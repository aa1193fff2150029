"""No file of the repository holds a secret: not in the product, and in tests only made-up ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from detect_secrets.core.scan import scan_file
from detect_secrets.settings import default_settings, transient_settings

ROOT = Path(__file__).parent.parent
FOLDERS = ("benchmarks", "docs", "encoders", "schemas", "streams", "tests")
NOT_OURS = {"node_modules", "libraries", "__pycache__", "results"}
PINNED = {"encoders/packaged_e5.py", "streams/broker/binary.py"}
"""They hold the hashes of what is downloaded or run."""
MADE_UP = ROOT / "benchmarks/scrub_values.py"
"""Makes up what must be found in texts, tokens among it."""
KEYS = ("PrivateKeyDetector", "AWSKeyDetector", "SlackDetector", "StripeDetector", "TwilioKeyDetector", "NpmDetector")
HIDDEN = "BEGIN PRIVATE" + " KEY"


def files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file() and not NOT_OURS & {*path.parts}]
    return sorted(path for path in found if path.suffix not in (".pyc", ".png", ".gz", ".lock"))


def secrets_in(path: Path) -> list[str]:
    return [f"{path.relative_to(ROOT)}:{one.line_number} {one.type}" for one in scan_file(str(path))]


def test_the_product_holds_no_secret() -> None:
    looked = [*files(*FOLDERS[:-1]), *sorted(path for path in ROOT.glob("*") if path.is_file() and path.suffix != ".lock")]
    assert len(looked) > 300
    with default_settings():
        found = [one for path in looked if path != MADE_UP for one in secrets_in(path)]
    unexpected = [one for one in found if not (one.endswith("Hex High Entropy String") and one.partition(":")[0] in PINNED)]
    assert unexpected == []


def test_tests_hold_no_key_of_anything_real() -> None:
    looked = [*files("tests"), MADE_UP]
    assert len(looked) > 200
    with transient_settings({"plugins_used": [{"name": name} for name in KEYS]}):
        found = [one for path in looked for one in secrets_in(path)]
    assert found == []


@pytest.mark.parametrize("text", [f"-----{HIDDEN}-----\nMIIB\n", "password = 'kf9Q2mzL0vTqs8'\n", f'token: "{"0123456789abcdef" * 4}"\n'])
def test_a_secret_is_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.py").write_text(text)
    with default_settings():
        assert list(scan_file(str(tmp_path / "settings.py")))
