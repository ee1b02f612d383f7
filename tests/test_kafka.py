"""A topic of a real Kafka beside the log: whole and in order though the broker dies, and honest when imflow does."""

import collections
import json
import threading
import time

from kafka import KafkaConsumer, TopicPartition

from harness.client import PATIENCE
from harness.wire import REPO

EXAMPLE = REPO / "examples" / "mirror-kafka" / "dataflow.toml"
TOPIC = "im.committed"
CONVERSATIONS = [f"c{number}" for number in range(6)]
# A broker that was killed is led again, and its clients try it again, in seconds.
RECOVERY = 6 * PATIENCE
# Between two messages of a sender: the reader of the topic is slower than imflow.
PAUSE_SECONDS = 0.01


def serve(make_server, services, *overrides):
    address = services.place("kafka").port("main")
    # On a machine that does much else a broker may take minutes to start.
    patient = ("sinks.stream.give_up=1h", *overrides)
    return make_server(*patient, config=EXAMPLE, env={"KAFKA_BROKER": f"127.0.0.1:{address}"})


class Topic:
    """What a reader of the topic has seen: by conversation, partitions and seqs in their order."""

    def __init__(self, services):
        self.consumer = KafkaConsumer(bootstrap_servers=services.url("kafka"), group_id=None)
        deadline = time.monotonic() + RECOVERY
        while not (partitions := self.consumer.partitions_for_topic(TOPIC)):
            assert time.monotonic() < deadline, "the topic was not made"
            time.sleep(0.1)
        partitions = [TopicPartition(TOPIC, number) for number in partitions]
        self.consumer.assign(partitions)
        self.consumer.seek_to_beginning(*partitions)
        self.seqs, self.partitions = collections.defaultdict(list), collections.defaultdict(set)

    def read_until(self, is_there):
        deadline = time.monotonic() + RECOVERY
        while not is_there(self.seqs):
            last = {name: (len(seqs), seqs[-1:]) for name, seqs in self.seqs.items()}
            assert time.monotonic() < deadline, f"how many and the last, by conversation: {last}"
            for records in self.consumer.poll(timeout_ms=200).values():
                for record in records:
                    message = json.loads(record.value)
                    assert record.key.decode() == message["conversationId"]
                    self.seqs[message["conversationId"]].append(message["seq"])
                    self.partitions[message["conversationId"]].add(record.partition)
        assert all(len(partitions) == 1 for partitions in self.partitions.values()), self.partitions
        return self.seqs


class Senders:
    """Three people who write to two conversations each, and keep what they were answered."""

    def __init__(self, server):
        self.server = server
        self.acked = {name: 0 for name in CONVERSATIONS}
        self.refusals, self.broken = [], []
        self.stop, self.threads = threading.Event(), []

    def __enter__(self):
        for number in range(3):
            thread = threading.Thread(target=self._send, args=(f"user{number}", CONVERSATIONS[number::3]))
            thread.start()
            self.threads.append(thread)
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        assert not self.broken or self.server.process.poll() is not None, self.broken

    def _send(self, user, conversations):
        try:
            with self.server.client(user) as client:
                while not self.stop.is_set():
                    for conversation in conversations:
                        reply = client.send(conversation, "hello")
                        if "ack" in reply:
                            self.acked[conversation] = reply["ack"]["seq"]
                        else:
                            self.refusals.append(reply["error"]["code"])
                        time.sleep(PAUSE_SECONDS)
        except Exception as error:
            self.broken.append(error)

    def wait_for(self, more):
        """Until each conversation has so many more."""
        goals = {name: count + more for name, count in self.acked.items()}
        self._wait(lambda: all(self.acked[name] >= goal for name, goal in goals.items()))

    def wait_for_refusal(self):
        self._wait(lambda: self.refusals)

    def _wait(self, done):
        deadline = time.monotonic() + RECOVERY
        while not done():
            assert time.monotonic() < deadline and not self.broken, (self.acked, self.refusals, self.broken)
            time.sleep(0.02)


def groups(server):
    for number, conversation in enumerate(CONVERSATIONS):
        server.group(conversation, f"user{number % 3}", "reader")


def logged(server):
    """What the log holds: the seqs of each conversation."""
    with server.client("reader") as reader:
        return {name: [item["seq"] for item in reader.history(name)] for name in CONVERSATIONS}


def read_to_the_end(topic, expected):
    return topic.read_until(lambda seqs: all(seqs[name][-1:] == expected[name][-1:] for name in CONVERSATIONS))


def test_a_broker_that_is_killed_under_load_misses_and_repeats_nothing(services, make_server):
    services.install(["kafka"])
    # Kafka is not there yet: the service starts and serves, and what it makes durable waits.
    server = serve(make_server, services)
    groups(server)
    with Senders(server) as senders:
        senders.wait_for(5)
        services.start("kafka")
        senders.wait_for(20)
        Topic(services).read_until(lambda seqs: all(len(seqs[name]) > 5 for name in CONVERSATIONS))
        for _ in range(2):
            services.kill("kafka")
            senders.wait_for(10)
            services.start("kafka")
            senders.wait_for(20)
    assert senders.refusals == [], "nobody waits for Kafka"
    expected = logged(server)
    assert read_to_the_end(Topic(services), expected) == expected


def test_a_topic_that_holds_makes_senders_wait_and_misses_nothing(services, make_server):
    services.up(["kafka"])
    server = serve(make_server, services, "sinks.stream.when_full=hold", "sinks.stream.queue=8", "sources.clients.reply_timeout=2s")
    groups(server)
    with Senders(server) as senders:
        senders.wait_for(5)
        services.kill("kafka")
        senders.wait_for_refusal()
        services.start("kafka")
        senders.wait_for(20)
    expected = logged(server)
    assert read_to_the_end(Topic(services), expected) == expected


def test_a_killed_imflow_repeats_nothing_and_what_it_had_not_sent_shows_as_a_gap(services, make_server):
    services.up(["kafka"])
    server = serve(make_server, services)
    groups(server)
    with Senders(server) as senders:
        senders.wait_for(20)
        topic = Topic(services)
        topic.read_until(lambda seqs: all(seqs[name] for name in CONVERSATIONS))
        sent = {name: seqs[-1] for name, seqs in topic.seqs.items()}
        senders.wait_for(10)
        server.kill()
    server.start()
    with Senders(server) as senders:
        senders.wait_for(10)
    expected = logged(server)
    read_to_the_end(topic, expected)
    for name, seqs in topic.seqs.items():
        assert seqs == sorted(set(seqs)), (name, seqs)
        missing = sorted(set(expected[name]) - set(seqs))
        # One gap at most: what was on its way at the kill. The log, which was asked above, has all of it.
        assert all(sent[name] < seq for seq in missing), (name, sent[name], missing)
        assert missing == list(range(missing[0], missing[-1] + 1)) if missing else True, (name, missing)
        assert expected[name] == list(range(1, len(expected[name]) + 1))
