from __future__ import annotations

from streams.engine.watchdog import Watchdog


def look(dog: Watchdog, applied: int | None, committed: int, end: int, *, at_rest: bool = True, partition: int = 0) -> bool:
    return dog.stands_still(partition, at_rest=at_rest, progress=(applied, committed), end=end)


def test_only_a_second_look_at_the_same_place_tells() -> None:
    dog = Watchdog()
    assert not look(dog, 5, 5, 9)
    assert look(dog, 5, 5, 9)


def test_what_moves_does_not_stand_still() -> None:
    dog = Watchdog()
    assert [look(dog, n, n, 99) for n in range(5)] == [False] * 5
    assert not look(dog, 4, 5, 99), "a commit is progress"


def test_what_is_applied_and_never_committed_stands_still() -> None:
    dog = Watchdog()
    assert [look(dog, 9, 5, 9) for _ in range(2)] == [False, True]


def test_work_in_progress_is_no_standstill_and_starts_anew() -> None:
    dog = Watchdog()
    assert not look(dog, 5, 5, 9)
    assert not look(dog, 5, 5, 9, at_rest=False)
    assert not look(dog, 5, 5, 9)
    assert look(dog, 5, 5, 9)


def test_the_end_is_no_standstill() -> None:
    dog = Watchdog()
    assert [look(dog, 9, 9, 9) for _ in range(3)] == [False] * 3


def test_partitions_are_told_apart() -> None:
    dog = Watchdog()
    assert not look(dog, None, 0, 9)
    assert not look(dog, None, 0, 9, partition=1)
    assert look(dog, None, 0, 9)


def test_it_gives_up_after_a_few_tries_until_something_moves() -> None:
    dog = Watchdog()
    assert sum(look(dog, 5, 5, 9) for _ in range(100)) == 5
    assert not look(dog, 6, 5, 9)
    assert look(dog, 6, 5, 9)
