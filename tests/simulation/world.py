"""One schedule: what is published, what goes wrong and when, drawn from a seed; and what must be true in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random

from streams.atrest.partition import PartitionSeal
from streams.atrest.sealed import Place
from streams.errors import StateDamaged
from tests.simulation.broker import CHANGELOG, DATA_KEYS, DEAD, OUT, Broker, Source, Violation, Where
from tests.simulation.scheduler import Scheduler, Stuck
from tests.simulation.worker import SEALS, TOLD_EVERY, Disk, Traits, Worker, parse_state

BUSY_S = 12.0
"""Everything is published, and begins to go wrong, within so long."""
MOST_SECONDS = 900.0
MOST_STEPS = 150_000
PATIENCE_S = 60
LONGEST_PAUSE_S = 6.0
"""Between two tries of a batch."""
_BASE_BITS = 34

KINDS = b"nnnnnnnnnpvh"
"""First byte of a value: normal; refused by the stage; raises something unknown; causes an output that the broker refuses."""
ERASES = b"z"
"""Where the state is sealed: makes what was written of its key before unreadable, in old copies too."""


class World:
    make_worker = Worker
    seals = True
    """Whether every second schedule has a sealed state."""

    def __init__(self, seed: int) -> None:
        self.scheduler = Scheduler(seed, most_steps=MOST_STEPS, most_seconds=MOST_SECONDS)
        rng = self.rng = self.scheduler.rng
        self.broker = self.make_broker(rng)
        self.traits = Traits(
            max_records=rng.choice((1, 2, 5)),
            keeps_state_in_memory=rng.random() < 0.4,
            laziness=rng.choice((0.0, 0.0, 0.3)),
            slowness_s=rng.choice((0.0, 0.0, 0.1, 9.0)),
            memory_troubles=rng.choice((0.0, 0.0, 0.0, 0.3)),
            seals=self.seals and seed % 2 == 0,
        )
        self._kinds = KINDS + 4 * ERASES if self.traits.seals else KINDS
        self.workers: list[Worker] = []
        self.story: list[str] = []
        self._names = 0
        self._transactions = 0
        self._is_closed = False
        """No worker runs, and none is started."""

    def make_broker(self, rng: Random) -> Broker:
        sources = ("source",) if rng.random() < 0.8 else ("source", "second")
        return Broker(self.scheduler, sources, rng.choice((1, 1, 2, 2, 3)))

    # --- what happens

    def play(self) -> None:
        """Raises Violation, or Stuck."""
        try:
            self.scheduler.run(self.scheduler.spawn(self._play(), None))
        finally:
            for worker in self.workers:
                self.scheduler.kill(worker)

    async def _play(self) -> None:
        rng, sleep = self.rng, self.scheduler.sleep
        for _ in range(rng.choice((1, 1, 1, 2))):
            self._start_worker(Disk())
        publishing = self.scheduler.spawn(self._publish(rng.randrange(2, 9)), None)
        troubles = [self.scheduler.spawn(self._trouble(rng.random() * BUSY_S), None) for _ in range(rng.randrange(0, 4))]
        await publishing
        for trouble in troubles:
            await trouble
        if not [worker for worker in self.workers if not worker.is_dead and not worker.is_leaving]:
            self._start_worker(Disk())
        if rng.random() < 0.15:
            await self._make_topics_anew()
        self.broker.faults = 0.0
        while self._unfinished():
            await sleep(1.0)
        for _ in range(PATIENCE_S):
            if self._state_is_right():
                break  # else the timer has still to tell something, perhaps again after a crash
            await sleep(1.0)
        # Whoever is stopped, or still at something, gets the time to do harm.
        await sleep(max([2.0, *(worker.stopped_until + 2.0 - self.scheduler.now for worker in self.workers if not worker.is_dead)]))
        self._judge()

    def _start_worker(self, disk: Disk) -> None:
        self._names += 1
        worker = self.make_worker(f"w{self._names}", self.broker, disk, self.traits)
        self.workers.append(worker)
        worker.start()

    async def _publish(self, times: int) -> None:
        rng = self.rng
        for _ in range(times):
            await self.scheduler.sleep(rng.random() * BUSY_S / times)
            self._publish_some(rng)
        for source in self.broker.sources.values():
            for producer in list(source.open):
                source.end_transaction(producer, aborts=rng.random() < 0.5)
        self.broker.changed()

    def _publish_some(self, rng: Random) -> None:
        where = rng.choice(list(self.broker.sources))
        source = self.broker.sources[where]
        # Sources have keys of their own: in which order they take turns is nobody's promise. Partitions have the same ones.
        prefix = b"k" if where[0] == self.broker.source_topics[0] else b"s"
        values = [(prefix + b"%d" % rng.randrange(2), bytes([rng.choice(self._kinds)])) for _ in range(rng.randrange(1, 5))]
        luck = rng.random()
        if luck < 0.25:
            if source.open and rng.random() < 0.6:
                source.end_transaction(rng.choice(list(source.open)), aborts=rng.random() < 0.5)
            else:
                self._transactions += rng.random() < 0.6
                producer = 1000 + self._transactions
                if producer not in source.open:
                    source.append(values, producer=producer)
        elif luck < 0.32:
            source.append(values, bad=rng.randrange(len(values)))
        elif luck < 0.36:
            source.append(values, is_damaged=True)
        else:
            source.append(values)
        self.broker.changed()

    async def _trouble(self, when: float) -> None:
        rng, broker, scheduler = self.rng, self.broker, self.scheduler
        await scheduler.sleep(when)
        while self._is_closed:
            await scheduler.sleep(1.0)
        alive = [worker for worker in self.workers if not worker.is_dead and not worker.is_leaving]
        what = rng.choice(
            ("kill", "kill", "stop", "stop", "cut off", "join", "leave", "loading", "faults", "forget", "leaderless", "lose commits")
        )
        self.story.append(f"{scheduler.now:.1f} {what}")
        if what == "kill" and alive:
            await self._kill(rng.choice(alive))
        elif what == "stop" and alive:
            worker = rng.choice(alive)
            worker.stopped_until = scheduler.now + rng.choice((1.0, 5.5, 6.5, 9.0, 15.0))
        elif what == "cut off" and alive:
            rng.choice(alive).cut_until = scheduler.now + rng.choice((2.0, 7.0, 12.0))
        elif what == "join" and len(alive) < 3:
            self._start_worker(Disk())
        elif what == "leave" and len(alive) > 1:
            worker = rng.choice(alive)
            worker.is_leaving = True
            scheduler.spawn(self._leave(worker), worker)
        elif what == "loading":
            broker.loading_until = scheduler.now + 8.0 * rng.random()
            await self._kill(rng.choice(alive)) if alive and rng.random() < 0.8 else None
        elif what == "faults":
            broker.faults = rng.choice((0.1, 0.3))
            await scheduler.sleep(5.0 * rng.random())
            broker.faults = 0.0
        elif what == "forget" and not self._is_anything_in_doubt():
            broker.forget_producers()
        elif what == "leaderless":
            broker.leaderless[rng.choice(list(broker.logs))] = scheduler.now + rng.choice((0.5, 8.0, 40.0))
        elif what == "lose commits":
            await self._lose_commits()

    def _is_anything_in_doubt(self) -> bool:
        """Whether a batch may be on its second try. Kafka forgets a producer after a day without a word (producer.id.expiration.ms)."""
        broker, now = self.broker, self.scheduler.now
        troubled = [worker.cut_until for worker in self.workers] + [worker.stopped_until for worker in self.workers]
        return broker.faults > 0 or any(until + LONGEST_PAUSE_S > now for until in [*troubled, *broker.leaderless.values()])

    async def _kill(self, worker: Worker) -> None:
        self.scheduler.kill(worker)
        await self.scheduler.sleep(self.rng.choice((0.1, 3.0)))
        while self._is_closed:
            await self.scheduler.sleep(1.0)
        keeps = not self.traits.keeps_state_in_memory and self.rng.random() < 0.7
        self._start_worker(worker.disk if keeps else Disk())

    async def _leave(self, worker: Worker) -> None:
        await worker.leave()
        self.scheduler.spawn(self._bury(worker), None)

    async def _bury(self, worker: Worker) -> None:
        self.scheduler.kill(worker)

    async def _lose_commits(self) -> None:
        """They expire while no worker runs."""
        self._is_closed = True
        for worker in self.workers:
            self.scheduler.kill(worker)
        await self.scheduler.sleep(7.0)
        self.broker.lose_commits()
        self._is_closed = False
        self._start_worker(Disk())

    async def _make_topics_anew(self) -> None:
        """Deleted when everything of it is written, though perhaps not yet committed, and made again while the workers run."""
        while self._missing() or not self._state_is_right():
            await self.scheduler.sleep(1.0)
        self.story.append(f"{self.scheduler.now:.1f} topics made anew")
        for worker in self.workers:
            worker.stopped_until = min(worker.stopped_until, self.scheduler.now)
        if self.rng.random() < 0.3:
            self._start_worker(Disk())  # while the group moves, nobody asks for records
            await self.scheduler.sleep(2.0 * self.rng.random())
        self.broker.delete_sources(with_commits=self.rng.random() < 0.5)
        await self.scheduler.sleep(3.0)
        self.broker.recreate_sources()
        for _ in range(self.rng.choice((0, 0, 8))):
            self._publish_some(self.rng)  # at once it is longer than it was
        await self._publish(3)

    # --- what must be true

    def _sources(self) -> list[tuple[int, Where, Source]]:
        """All that ever were: 0 for those before the topics were made anew."""
        before = [(0, where, source) for where, source in self.broker.before.items()]
        return before + [(len(self.broker.before) and 1, where, source) for where, source in self.broker.sources.items()]

    def _expected(self) -> tuple[dict[bytes, bytes], dict[tuple[int, bytes], int]]:
        """What each position must have caused, and how many records of each partition's keys count."""
        outcomes: dict[bytes, bytes] = {}
        counts: Counter[tuple[int, bytes]] = Counter()
        for epoch, (topic, partition), source in self._sources():
            for record, can_be_read in source.visible():
                at = b"%d/%s/%d/%d" % (epoch, topic.encode(), partition, record.offset)
                if not can_be_read or (record.value or b"")[:1] in b"pvh":
                    outcomes[at] = b"dead"
                else:
                    counts[(partition, record.key or b"")] += 1
                    outcomes[at] = b"%s %d" % (record.key or b"", counts[(partition, record.key or b"")])
        return outcomes, dict(counts)

    def _found(self) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
        """Outcomes by position, in the order of the logs, and what the timer told."""
        outcomes: list[tuple[bytes, bytes]] = []
        told: list[bytes] = []
        for partition in range(self.broker.partitions):
            for _, value, _ in self.broker.logs[(OUT, partition)].rows:
                place, key, count = (value or b"").split(b" ")[:3]
                if place.startswith(b"timer"):
                    told.append(b"%s %s %s" % (place, key, count))
                else:
                    outcomes.append((self._position(place), b"%s %s" % (key, count)))
            for _, value, _ in self.broker.logs[(DEAD, partition)].rows:
                place, last, _ = (value or b"").split(b" ")
                front, _, first = place.rpartition(b"/")
                for offset in range(int(first), int(last) + 1):
                    outcomes.append((self._position(b"%s/%d" % (front, offset)), b"dead"))
        return outcomes, told

    def _position(self, place: bytes) -> bytes:
        """Of a place as outputs tell it: 0 or 1 (made anew), topic, partition, offset as the topic counts."""
        topic, partition, offset = place.split(b"/")
        number = int(offset)
        before = self.broker.before.get((topic.decode(), int(partition)))
        # Where nothing of the first topic could ever be seen, the engine may count on or not.
        is_anew = number >> _BASE_BITS > 0 or (before is not None and not before.visible())
        return b"%d/%s/%s/%d" % (is_anew, topic, partition, number & ((1 << _BASE_BITS) - 1))

    def _missing(self) -> bool:
        expected, _ = self._expected()
        return len(self._found()[0]) < len(expected)

    def _unfinished(self) -> bool:
        broker = self.broker
        for worker in self.workers:
            if worker.failure is not None and not worker.is_dead:
                raise Violation(f"{worker.name} failed: {type(worker.failure).__name__}: {worker.failure}")
            if not worker.is_dead and any(partition_worker.is_busy for partition_worker in worker.runner.workers.values()):
                return True
        for where, source in broker.sources.items():
            commit = broker.commits.get(where)
            if source.stable_end != (commit.offset if commit is not None else 0):
                return True
        return self._missing()

    def _judge(self) -> None:
        expected, counts = self._expected()
        outcomes, told = self._found()
        found = dict(outcomes)
        doubled = [place for place, count in Counter(place for place, _ in outcomes).items() if count > 1]
        if doubled:
            raise Violation(f"doubled: {doubled}")
        if found.keys() != expected.keys():
            raise Violation(f"lost: {expected.keys() - found.keys()}; too many: {found.keys() - expected.keys()}")
        wrong = {place: (found[place], expected[place]) for place in expected if found[place] != expected[place]}
        if wrong:
            raise Violation(f"found and expected: {wrong}")
        if max(Counter(told).values(), default=1) > 1:
            raise Violation(f"told twice by the timer: {told}")
        self._judge_state(counts)

    def _state_is_right(self) -> bool:
        _, counts = self._expected()
        found = {(p, key): parse_state(value)[:2] for p in range(self.broker.partitions) for key, value in self._changelog(p).items()}
        right = {where: (count, count // TOLD_EVERY) for where, count in counts.items()}
        return found == right and not (self.traits.seals and self._readable_erased())

    def _changelog(self, partition: int) -> dict[bytes, bytes]:
        return self._opened(partition, {key or b"": value or b"" for key, value, _ in self.broker.logs[(CHANGELOG, partition)].rows})

    def _opened(self, partition: int, values: Mapping[bytes, bytes], seal: PartitionSeal | None = None) -> dict[bytes, bytes]:
        """As whoever has the keys of now can read them."""
        if not self.traits.seals:
            return dict(values)
        seal = seal or self._seal(partition)
        try:
            opened = {key: seal.open(key, data) if data else data for key, data in values.items()}
            return {key: value for key, value in opened.items() if value is not None}
        except StateDamaged as error:
            raise Violation(f"a value without its data key: {error}") from error

    def _seal(self, partition: int) -> PartitionSeal:
        places = (Place(SEALS.keys, topic, partition, "toy") for topic in (CHANGELOG, DATA_KEYS))
        seal = PartitionSeal(*places, accepts_plain=False, what="toy")
        seal.keep({key or b"": value for key, value, _ in self.broker.logs[(DATA_KEYS, partition)].rows})
        return seal

    def _readable_erased(self) -> list[tuple[int, bytes, int]]:
        """Partition, key and count of what was written before it was erased, and can still be read from a copy of the changelog."""
        erased: dict[tuple[int, bytes], int] = {}
        counts: Counter[tuple[int, bytes]] = Counter()
        for _, (_, partition), source in self._sources():
            for record, can_be_read in source.visible():
                if can_be_read and (record.value or b"")[:1] not in b"pvh":
                    where = (partition, record.key or b"")
                    counts[where] += 1
                    if (record.value or b"")[:1] == ERASES:
                        erased[where] = counts[where]
        found = []
        for partition in range(self.broker.partitions):
            seal = self._seal(partition)
            for key, data, _ in self.broker.logs[(CHANGELOG, partition)].rows:
                value = self._opened(partition, {key or b"": data or b""}, seal).get(key or b"")
                if value is not None and parse_state(value)[0] < erased.get((partition, key or b""), 0):
                    found.append((partition, key or b"", parse_state(value)[0]))
        return found

    def _judge_state(self, counts: dict[tuple[int, bytes], int]) -> None:
        partitions = range(self.broker.partitions)
        if not self._state_is_right():
            raise Violation(f"the changelogs say {[self._changelog(p) for p in partitions]}, not {counts}")
        for worker in self.workers:
            ownership = worker.ownership
            for topic, partition in () if worker.is_dead else ownership.owned:
                local = self._opened(partition, dict(worker.disk.items(partition)))
                if ownership.holds((topic, partition), ownership.generation) and local != self._changelog(partition):
                    raise Violation(f"{worker.name} has {local} of partition {partition}, not {self._changelog(partition)}")


def play(seed: int) -> str | None:
    """What is wrong with a schedule, and its story; None where all is well."""
    world = World(seed)
    try:
        world.play()
    except (Violation, Stuck) as error:
        return f"seed {seed}: {type(error).__name__}: {error}\n{world.traits}\n{'; '.join(world.story)}"
    return None
