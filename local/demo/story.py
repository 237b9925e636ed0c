"""The story of the demonstration, step by step. It changes the stack; what it saw goes into ``Seen``."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from local import warehouse
from local.demo import check, uses
from local.demo.airflow import Airflow, RunEnd, TaskEnd
from local.demo.errors import DemoFailed
from local.demo.malformed import Malformed, malformed_records
from local.demo.pace import HandoverPace
from local.demo.stage import Stage
from local.demo.summary import Refusal
from local.demo.tell import fact
from local.demo.terminal import Terminal
from local.demo.watch import Watcher
from local.replay import Message, Position, Replay, read_messages, steady
from scoring.contract.clock import from_epoch_s

JANUARY, APRIL, MAY, JUNE = (datetime(2013, month, 1, tzinfo=UTC) for month in (1, 4, 5, 6))
DAMAGED_UNTIL = MAY + timedelta(days=7)
APRIL_PER_S = 2000.0
RUN_LIMIT_S = 420.0
LIVE_LIMIT_S = 60.0
FEWEST_BEFORE_SWAP = 2000


class StoryFailed(DemoFailed):
    """Something that the demonstration shows did not happen."""


@dataclass
class Seen:
    """What happened on the way, for the check and the summary. Times are milliseconds since 1970."""

    sent: int = 0
    versions: list[str] = field(default_factory=list)
    may_ms: int = 0
    retrain_ms: int = 0
    damaged_ms: int = 0
    malformed_ms: int = 0
    runs: list[RunEnd] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    malformed: tuple[Malformed, ...] = ()
    malformed_run: str = ""


class MayStream:
    """May's replay in a thread, at a pace that the newest prediction decides."""

    def __init__(self, replay: Replay, watcher: Watcher, pool: ThreadPoolExecutor) -> None:
        self.watcher = watcher
        self._replay = replay
        self._released = False
        watcher.start()
        pace = HandoverPace().until(lambda: watcher.sequence >= 2, lambda: self._released)
        self._running: Future[int] = pool.submit(replay.run, pace)

    @property
    def position(self) -> Position:
        """How far May is; raises what ended the replay early."""
        if self._running.done():
            self._running.result()
        return self._replay.position

    @property
    def present(self) -> datetime:
        """The event time of the newest record, to the minute."""
        return from_epoch_s(self.position.event_s or 0.0).replace(second=0, microsecond=0)

    def finish(self) -> int:
        """Let the rest go out fast and wait for it; returns how many records the broker acknowledged."""
        self._released = True
        sent = self._running.result()
        self.watcher.close()
        return sent

    def abandon(self) -> None:
        """Stop in the middle."""
        self._replay.stop()
        self.watcher.close()


class Story:
    """Plays the steps on a stage and tells them on a terminal."""

    def __init__(self, stage: Stage, terminal: Terminal) -> None:
        self._stage = stage
        self._terminal = terminal
        self._pool = ThreadPoolExecutor(max_workers=3, thread_name_prefix="demo")
        self._april: Sequence[Message] = ()
        self._may: Sequence[Message] = ()
        self._may_stream: MayStream | None = None
        self.seen = Seen()

    @property
    def _stream(self) -> MayStream:
        if self._may_stream is None:
            raise StoryFailed("May has not begun")
        return self._may_stream

    def start(self) -> None:
        """The stack, the topics, the warehouse."""
        say, stage = self._terminal.say, self._stage
        stage.require_own_ledger()
        filling = self._pool.submit(self._fill_warehouse)
        stage.stop_services()
        stage.up()
        stage.clear()
        report = stage.create_topics()
        say(f"{len(report.ids)} topics made and checked: partitions, compaction, retention, sizes")
        flights, hours = filling.result()
        say(f"the warehouse holds {flights:,} flights and {hours:,} hours of weather of 2013")
        stage.start_services()

    def train_first(self) -> None:
        """Version 1: January to March."""
        april = self._pool.submit(read_messages, self._stage.definition, self._stage.settings, APRIL, MAY)
        may = self._pool.submit(read_messages, self._stage.definition, self._stage.settings, MAY, JUNE)
        run = self._train("the first model", JANUARY, APRIL, effective_from=APRIL)
        self._require_promoted(run)
        self._wait_until_live(1)
        self._april, self._may = april.result(), may.result()

    def replay_april(self) -> None:
        """April, scored by version 1."""
        self._terminal.say(f"April begins: {len(self._april):,} flights, {APRIL_PER_S:,.0f} a second")
        self.seen.sent += self._replay(self._april).run(steady(APRIL_PER_S))
        with self._watching() as watcher:
            if not watcher.wait_for(lambda: watcher.total >= len(self._april), LIVE_LIMIT_S):
                raise StoryFailed(f"of {len(self._april):,} flights of April {watcher.total:,} were scored in time")
            self._terminal.say(f"April is scored: {watcher.count(1):,} predictions by version 1")

    def begin_may(self) -> None:
        """May begins, and goes on beside what follows until ``end_may``."""
        self.seen.may_ms = _now_ms()
        self._may_stream = MayStream(self._replay(self._may), self._watching(), self._pool)
        self._terminal.say(f"May begins: {len(self._may):,} flights, slowly at first")

    def hand_over(self) -> None:
        """Version 2 is trained with April in it, and takes over while May's flights go through."""
        say = self._terminal.say
        self._await_sent(FEWEST_BEFORE_SWAP // 2)
        present = self._stream.present
        say(f"May has begun; in the stream it is {present:%-d %B %H:%M} UTC, and April's outcomes are known")
        self.seen.retrain_ms = _now_ms()
        run = self._train("a new model, with April in its data", JANUARY, MAY, effective_from=present, beside=True)
        self._require_promoted(run)
        self._wait_until_live(2)
        if not self._stream.watcher.wait_for(lambda: self._stream.watcher.sequence >= 2, LIVE_LIMIT_S):
            raise StoryFailed("version 2 is live but has scored nothing")
        position = self._stream.position
        if position.sent == position.total:
            raise StoryFailed("May was over before version 2 took over; this machine is too slow for the replay's pace")
        say(f"version 2 scores; the stream, now at the flights of {self._stream.present:%-d %B}, did not stop")

    def refuse_damaged(self) -> None:
        """A retrain on damaged data ends red, and the champion stays."""
        stage, say = self._stage, self._terminal.say
        rows = warehouse.damage(stage.warehouse_url, MAY, DAMAGED_UNTIL)
        say(f"{rows:,} flights of early May are damaged in the warehouse: kilometres for miles, carriers left blank")
        present = self._stream.present
        self.seen.damaged_ms = _now_ms()
        try:
            run = self._train("on damaged data", JANUARY, DAMAGED_UNTIL, effective_from=present)
        finally:
            say(f"{warehouse.repair(stage.warehouse_url):,} flights are repaired in the warehouse")
        self.seen.refused += self._refusals(run)
        if run.state != "failed" or not self.seen.refused:
            raise StoryFailed(f"the retrain on damaged data ended {run.state}; a gate should have refused it")
        for refusal in self.seen.refused:
            say(f"refused by gate {refusal.gate}: {refusal.reason}")
        if self._stream.watcher.sequence != 2:
            raise StoryFailed(f"sequence {self._stream.watcher.sequence} scores, although its data were damaged")
        say("the champion stays: version 2 goes on scoring")

    def send_malformed(self) -> None:
        """Records that cannot be scored."""
        sound = self._may[-1].value or b""
        self.seen.malformed = malformed_records(sound, self._stage.definition.schema)
        self.seen.malformed_run = f"malformed-{uuid4().hex[:8]}"
        messages = [record.message for record in self.seen.malformed]
        replay = Replay(
            self._stage.kafka, self._stage.definition.all_topics.input, messages, run_id=self.seen.malformed_run
        )
        self.seen.malformed_ms = _now_ms()
        self.seen.sent += replay.run(steady(100.0))
        self._terminal.say(f"{len(messages)} records sent: " + "; ".join(record.name for record in self.seen.malformed))

    def end_may(self) -> None:
        """Wait until May is over."""
        self._terminal.say("the rest of May goes out")
        sent = self._stream.finish()
        self.seen.sent += sent
        self._terminal.say(f"May is over: {sent:,} flights")

    def use_predictions(self, scored: int, refused: int) -> None:
        """The same predictions by table, request, explanation and backfill; raises UseFailed where they differ."""
        stage, say, last = self._stage, self._terminal.say, self._may[-1]
        uses.wait_for_table(stage, scored, refused)
        say(f"the sink's tables hold {scored:,} predictions and {refused:,} dead letters, as the topics do")
        kept, place = uses.newest(stage, (last.key or b"").decode())
        answer = uses.ask(stage, last.value or b"")
        (asked,) = answer["predictions"]
        if (asked["score"], answer["version"]) != (kept.score, kept.version):
            raise StoryFailed(f"a request is answered with {asked['score']}, the stream scored {kept.score}")
        say(f"the flight {place}, asked for over HTTP: {kept.score!r} by version {kept.version}, as in the stream")
        told = uses.explain(stage, place)["rescored"]
        if (told["verdict"], told["score"]) != ("identical", kept.score):
            raise StoryFailed(f"baton explain {place} scores it again, and finds it {told}")
        say(f"baton explain {place}: scored again from record and bundle, identical")
        past, equal = uses.score_past(stage, APRIL)
        say(f"baton backfill: {past['rows']:,} flights of April's first two days scored again from the warehouse")
        if equal != past["rows"]:
            raise StoryFailed(f"of {past['rows']:,} flights of April only {equal:,} have the stream's score")
        say("each with the score that it had in the stream, bit for bit")

    def close(self) -> None:
        """Stop what still runs in this process; the stack goes on."""
        if self._may_stream is not None:
            self._may_stream.abandon()
        self._pool.shutdown(cancel_futures=True)

    def _fill_warehouse(self) -> warehouse.Counts:
        self._stage.warehouse_file.parent.mkdir(parents=True, exist_ok=True)
        counts = warehouse.fill(self._stage.warehouse_url)
        warehouse.repair(self._stage.warehouse_url)
        self._stage.open_warehouse_for_readers()
        return counts

    def _train(
        self, what: str, start: datetime, end: datetime, *, effective_from: datetime, beside: bool = False
    ) -> RunEnd:
        airflow, dag_id = self._stage.airflow(), f"train_{self._stage.definition.name}"
        form = {
            "start": start.isoformat(),
            "end": end.isoformat(),
            "effective_from": effective_from.isoformat(),
            "reason": f"demonstration: {what}",
        }
        run_id = airflow.start(dag_id, form)
        self._terminal.say(f"Airflow trains {what}: run {run_id} of {dag_id}")

        def told(ended: TaskEnd) -> None:
            if ended.ran:
                self._terminal.say(self._task_line(airflow, dag_id, run_id, ended, beside=beside))

        run = airflow.follow(dag_id, run_id, told, limit_s=RUN_LIMIT_S)
        self.seen.runs.append(run)
        self._terminal.say(f"the run ended {'green' if run.state == 'success' else 'red'} after {run.duration_s:.0f} s")
        return run

    def _task_line(self, airflow: Airflow, dag_id: str, run_id: str, ended: TaskEnd, *, beside: bool) -> str:
        result = fact(ended.task_id, airflow.result(dag_id, run_id, ended.task_id))
        state = "" if ended.state == "success" else f"  {ended.state.replace('_', ' ')}"
        line = f"  {ended.task_id:<17}{ended.duration_s:5.1f} s{state}{'  ' if result else ''}{result}"
        if beside:
            position = self._stream.position
            line += f"  (May: {position.sent / position.total:.0%}, version {self._stream.watcher.sequence} scores)"
        return line

    def _require_promoted(self, run: RunEnd) -> None:
        if run.state != "success" or run.tasks.get("announce") != "success":
            reasons = "; ".join(f"{r.gate}: {r.reason}" for r in self._refusals(run)) or "see the red task's log"
            folder = self._stage.local.log_dir / "airflow" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
            raise StoryFailed(f"the run {run.run_id} promoted nothing: {reasons}\nits logs are in {folder}")
        promoted = self._stage.airflow().result(run.dag_id, run.run_id, "promote") or {}
        self.seen.versions.append(str(promoted["version"]))

    def _refusals(self, run: RunEnd) -> list[Refusal]:
        """The verdicts that are no pass, from the last task that judged."""
        airflow = self._stage.airflow()
        for task_id in ("gates", "validate"):
            verdicts: list[dict[str, Any]] | None = airflow.xcom(run.dag_id, run.run_id, task_id, "verdicts")
            if verdicts:
                # A gate that could not measure anything, because another refused the data before, explains nothing.
                against = [v for v in verdicts if v["judgement"] == "fail"] or [
                    v for v in verdicts if v["judgement"] == "error"
                ]
                return [Refusal(gate=verdict["gate"], reason=verdict["sentence"]) for verdict in against]
        return []

    def _wait_until_live(self, sequence: int) -> None:
        deadline = time.monotonic() + LIVE_LIMIT_S
        while check.live_ms(self._stage, sequence) is None:
            if time.monotonic() > deadline:
                raise StoryFailed(f"the daemon does not say that sequence {sequence} is live; see its log: make logs")
            time.sleep(0.2)
        self._terminal.say(f"the daemon is live with sequence {sequence}")

    def _await_sent(self, records: int) -> None:
        while self._stream.position.sent < records:
            time.sleep(0.05)

    def _replay(self, messages: Sequence[Message]) -> Replay:
        topics = self._stage.definition.all_topics
        return Replay(self._stage.kafka, topics.input, messages, run_id=f"replay-{uuid4().hex[:8]}")

    def _watching(self) -> Watcher:
        definition = self._stage.definition
        return Watcher(self._stage.kafka, definition.all_topics.predictions, definition.partitions)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
