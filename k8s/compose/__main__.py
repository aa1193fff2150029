"""Writes the alerts for a Prometheus without an operator, from those for Kubernetes: part of ``make dashboards``."""

from __future__ import annotations

from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parent
RULE = FOLDER.parent / "base" / "monitoring" / "prometheusrule.yaml"
_HEAD = "# Written by `make dashboards` from k8s/base/monitoring/prometheusrule.yaml. Change that one.\n"


def alerts() -> str:
    """A file of rules."""
    rule = yaml.safe_load(RULE.read_text(encoding="utf-8"))
    rules: str = yaml.safe_dump(rule["spec"], sort_keys=False, allow_unicode=True, width=200)
    return _HEAD + rules


def main() -> None:
    (FOLDER / "alerts.yaml").write_text(alerts(), encoding="utf-8")


if __name__ == "__main__":
    main()
