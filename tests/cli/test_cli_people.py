"""The commands about one person: wrong use is named, and the id can be given where no list of processes shows it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from streams.cli.main import cli
from streams.cli.shopper import read_user


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["forget", "anna", "--item", "tent", "--wait", "5"], "leave --item out"),
        (["forget", " "], "name the shopper"),
        (["export", ""], "name the shopper"),
        (["consent", "anna"], "--allow or --refuse"),
        (["consent", "anna", "--allow", "training", "--refuse", "training"], "at once"),
    ],
)
def test_wrong_use_is_named(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2 and said in result.output


def test_an_id_can_come_from_the_standard_input() -> None:
    runner = CliRunner()
    with runner.isolation(input="王伟 \nbob\n"):
        assert read_user("-") == "王伟"
    assert read_user("-x") == "-x"
