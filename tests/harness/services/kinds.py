"""The table of servers: how each is installed, started, and known to be ready.

A further server is one more class here. Versions are pinned in it; what is built carries its version in
its name, so that a new version is built beside the old one.
"""

import os
import pathlib
import pwd
import shutil
import socket
import struct
import subprocess
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Trouble(Exception):
    """What went wrong and what to do, in a sentence."""


def program(name, cure, *places):
    """The path of an installed program."""
    for place in places:
        for found in sorted(pathlib.Path(place).parent.glob(pathlib.Path(place).name + "/bin/" + name)):
            return str(found)
    found = shutil.which(name)
    if not found:
        raise Trouble(f"{name} is missing: {cure}")
    return found


def run(*command, log, **kwargs):
    """Runs a step of an installation; its output goes to `log`."""
    with open(log, "ab") as out:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **kwargs)
    if done.returncode:
        tail = log.read_text(errors="replace")[-2000:]
        raise Trouble(f"`{' '.join(map(str, command))}` ended with {done.returncode}:\n{tail}")


def accepts(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def jars(kind, cache, libraries):
    """Fetches the classes that `NAME-pom.xml` asks for."""
    program("java", "install a JDK, 17 or newer (apt-get install openjdk-17-jdk-headless)")
    if libraries.exists():
        return
    maven = program("mvn", "install Maven (apt-get install maven)")
    work, log = cache / f"{kind.name}-build", cache / f"{kind.name}-build.log"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    shutil.copy(HERE / f"{kind.name}-pom.xml", work / "pom.xml")
    goal = ("dependency:copy-dependencies", f"-DoutputDirectory={work}/libs", "-DincludeScope=runtime")
    run(maven, "-q", "-B", f"-Dserver.version={kind.version}", *goal, log=log, cwd=work)
    (work / "libs").rename(libraries)
    shutil.rmtree(work)


class Redis:
    name, variable = "redis", "IMFLOW_REDIS_URL"
    needs = ()
    ports = ("main",)

    def install(self, cache):
        program("redis-server", "apt-get install redis-server")

    def command(self, place):
        # Keys survive a kill as far as the file of appends goes, which is written each second.
        keep = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
        server = program("redis-server", "apt-get install redis-server")
        return [server, "--bind", "127.0.0.1", "--port", place.port("main"), "--dir", place.data, *keep]

    def is_ready(self, place):
        try:
            with socket.create_connection(("127.0.0.1", int(place.port("main"))), 1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(16) == b"+PONG\r\n"
        except OSError:
            return False

    def url(self, place):
        return f"redis://127.0.0.1:{place.port('main')}/0"


class Postgres:
    """Where FerretDB keeps its documents."""

    name, variable = "postgres", None
    needs = ()
    ports = ("main",)
    cure = "apt-get install postgresql-15"
    # It refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None

    def program(self, name):
        return program(name, self.cure, "/usr/lib/postgresql/*")

    def install(self, cache):
        self.program("postgres")
        if self.user:
            try:
                pwd.getpwnam(self.user)
            except KeyError:
                raise Trouble(f"there is no user postgres: {self.cure}") from None

    def prepare(self, place):
        if not (place.data / "PG_VERSION").exists():
            how = ("-D", str(place.data), "-U", "ferret", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
            run(self.program("initdb"), *how, log=place.log, cwd="/", **place.identity(self.user))

    def command(self, place):
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=64MB")
        options = [word for setting in settings for word in ("-c", setting)]
        return [self.program("postgres"), "-D", place.data, "-p", place.port("main"), *options]

    def is_ready(self, place):
        address = ("-h", "127.0.0.1", "-p", place.port("main"), "-U", "ferret")
        ask = [self.program("psql"), *address, "-d", "postgres", "-Atqc"]
        has = "select count(*) from pg_database where datname = 'ferretdb'"
        quiet = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "cwd": "/"}
        found = subprocess.run([*ask, has], **quiet)
        if found.returncode == 0 and found.stdout.strip() == "0":
            subprocess.run([*ask, "create database ferretdb"], **quiet)
        return found.returncode == 0 and found.stdout.strip() == "1"


class Ferret:
    """The MongoDB protocol over PostgreSQL: what is written survives a kill."""

    name, variable = "ferret", "IMFLOW_MONGO_URL"
    needs = ("postgres",)
    ports = ("main", "debug")
    version = "v1.24.2"

    def binary(self, cache):
        return cache / f"ferretdb-{self.version}"

    def install(self, cache):
        if self.binary(cache).exists():
            return
        go = program("go", "install Go 1.22 or newer (https://go.dev/dl), or put it on the PATH")
        work, log = cache / "ferretdb-build", cache / "ferretdb-build.log"
        shutil.rmtree(work, ignore_errors=True)
        (work / "source").mkdir(parents=True)
        # Caches of its own, gone when it is built: several GB that nothing needs again.
        caches = {"GOMODCACHE": str(work / "mod"), "GOCACHE": str(work / "build")}
        how = {"GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false -modcacherw", "GOWORK": "off"}
        env = {**os.environ, **caches, **how}
        module = f"github.com/FerretDB/FerretDB@{self.version}"
        run(go, "mod", "download", module, log=log, env=env, cwd=work)
        # The module lacks a file that the program reads when it starts, so a copy with it is built.
        source = work / "source"
        shutil.copytree(work / "mod/github.com/!ferret!d!b" / f"!ferret!d!b@{self.version}", source, dirs_exist_ok=True)
        (source / "build/version/version.txt").write_text(self.version + "\n")
        built = work / "ferretdb"
        run("nice", go, "build", "-trimpath", "-tags", "ferretdb_no_sqlite", "-o", str(built), "./cmd/ferretdb",
            log=log, env=env, cwd=source)
        built.rename(self.binary(cache))
        shutil.rmtree(work)

    def command(self, place):
        store = place.of("postgres").port("main")
        return [
            self.binary(place.cache),
            "--handler=postgresql",
            f"--postgresql-url=postgres://ferret@127.0.0.1:{store}/ferretdb?pool_max_conns=20",
            f"--listen-addr=127.0.0.1:{place.port('main')}",
            f"--debug-addr=127.0.0.1:{place.port('debug')}",
            f"--state-dir={place.data}",
            "--telemetry=disable",
            "--log-level=error",
        ]

    def is_ready(self, place):
        try:
            return DIRECT.open(f"http://127.0.0.1:{place.port('debug')}/debug/readyz", timeout=2).status == 200
        except OSError:
            return False

    def url(self, place):
        return f"mongodb://127.0.0.1:{place.port('main')}/"


class MongoJava:
    """The MongoDB protocol in memory: knows TTL indexes, which FerretDB refuses; a kill empties it."""

    name, variable = "mongo-java", "IMFLOW_MONGO_JAVA_URL"
    needs = ()
    ports = ("main",)
    version = "1.47.0"

    def libraries(self, cache):
        return cache / f"mongo-java-server-{self.version}"

    def install(self, cache):
        jars(self, cache, self.libraries(cache))

    def command(self, place):
        classes = f"{self.libraries(place.cache)}/*"
        memory = ("-Xmx512m", "-XX:+UseSerialGC")
        return ["java", *memory, "-cp", classes, HERE / "MongoJava.java", place.port("main")]

    def is_ready(self, place):
        return accepts(int(place.port("main")))

    def url(self, place):
        return f"mongodb://127.0.0.1:{place.port('main')}/"


class Kafka:
    """One broker that is its own controller. What it has acknowledged survives a kill: the page cache does."""

    # Tests kill it, so each has one of its own, and no variable tells of one for all.
    name, variable = "kafka", None
    needs = ()
    ports = ("main", "controller")
    version = "4.3.1"

    def libraries(self, cache):
        return cache / f"kafka-{self.version}"

    def install(self, cache):
        jars(self, cache, self.libraries(cache))

    def classes(self, place):
        return ("-cp", f"{self.libraries(place.cache)}/*")

    def properties(self, place):
        return place.data / "server.properties"

    def prepare(self, place):
        main, controller = (f"127.0.0.1:{place.port(name)}" for name in self.ports)
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"PLAINTEXT://{main},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{main}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": f"{place.data}/logs",
            # A topic is made by whoever writes to it first, as on a broker out of the box.
            "auto.create.topics.enable": "true",
            "num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "log.segment.bytes": str(16 << 20),
        }
        self.properties(place).write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        if not (place.data / "logs" / "meta.properties").exists():
            format_it = ("kafka.tools.StorageTool", "format", "-t", "imflowTestClusterId01xx", "-c")
            run("java", *self.classes(place), *format_it, str(self.properties(place)), log=place.log, cwd="/")

    def command(self, place):
        # It is up sooner without the second compiler, and a test needs no more.
        small = ("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        return ["java", *small, *self.classes(place), "kafka.Kafka", self.properties(place)]

    def is_ready(self, place):
        """Whether it answers a question; it listens some seconds before that."""
        client = b"imflow-tests"
        # ApiVersions, version 0: key, version, correlation, client.
        ask = struct.pack(">hhih", 18, 0, 7, len(client)) + client
        try:
            with socket.create_connection(("127.0.0.1", int(place.port("main"))), 1) as probe:
                probe.sendall(struct.pack(">i", len(ask)) + ask)
                answer = probe.recv(10)
                return len(answer) == 10 and struct.unpack(">ih", answer[4:]) == (7, 0)
        except OSError:
            return False

    def url(self, place):
        return f"127.0.0.1:{place.port('main')}"


# In the order in which they start.
SERVICES = {kind.name: kind for kind in (Redis(), Postgres(), Ferret(), MongoJava(), Kafka())}
