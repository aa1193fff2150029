"""Workers without a model are small, and what is wrong with a set-up is said in one line that names the fix."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.support.deployment import Deployment

MB = 1_000_000


@pytest.mark.kafka
@pytest.mark.slow
def test_ingest_and_feedback_need_no_torch(deployment: Deployment) -> None:
    deployment.start("ingest", "feedback")
    for stage in ("ingest", "feedback"):
        process = psutil.Process(deployment.processes[stage].pid)
        assert process.memory_info().rss < 250 * MB
        assert not any("torch" in mapped.path for mapped in process.memory_maps()), f"{stage} has torch in memory"
    assert deployment.stop() == {"ingest": 0, "feedback": 0}


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"VEILSTREAM_KEYS_DIR": "nowhere"}, "veilstream keys generate"),
        ({"VEILSTREAM_TOPIC_PREFIX": "missing."}, "veilstream topics create"),
        ({"VEILSTREAM_TOP_K": "many"}, "VEILSTREAM_TOP_K"),
        ({"VEILSTREAM_STATE_DIR": "/proc/nothing"}, "VEILSTREAM_STATE_DIR"),
        ({"VEILSTREAM_REGISTRY_URL": "ftp://x"}, "VEILSTREAM_REGISTRY_URL"),
    ],
)
def test_a_wrong_set_up_is_named(deployment: Deployment, settings: dict[str, str], said: str) -> None:
    deployment.settings = settings
    done = deployment.command("worker", "--stage", "ingest", check=False, timeout=60)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert said in lines[0]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_no_broker_is_named(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, "127.0.0.1:1", "x.")
    deployment.command("keys", "generate")
    done = deployment.command("worker", "--stage", "feedback", check=False, timeout=60)
    assert done.returncode == 1
    assert "KAFKA_BOOTSTRAP_SERVERS" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("model", ["/no/such/model", "empty", "pickle"])
@pytest.mark.slow
def test_a_missing_model_is_named(tmp_path: Path, model: str) -> None:
    if not model.startswith("/"):
        folder = tmp_path / model
        folder.mkdir()
        if model == "pickle":
            (folder / "config.json").write_text("{}")
            (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
        model = str(folder)
    deployment = Deployment(tmp_path, "127.0.0.1:1", "x.", {"VEILSTREAM_MODEL": model})
    deployment.command("keys", "generate")
    done = deployment.command("worker", "--stage", "catalogue", check=False, timeout=100)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert Path(model).name in errors[0]
