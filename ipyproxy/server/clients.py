"""All clients: how many connections each has, how fast it comes, and how often its logins failed.

Knows client addresses and numbers; time is handed in. Knows nothing of connections, or of what a
client that has to wait is answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final, Self

from ipyproxy.http.forwarding import NAMELESS

FORGIVEN_AFTER: Final = 60.0
"""Seconds after which one failed login is forgiven."""
LONGEST_LOGIN_WAIT: Final = 900.0
"""The longest wait after a failed login, in seconds."""
_CHECKED_WITHIN: Final = 1.0
MOST_TOLD: Final = 64
"""Connections beyond the limits that get 503 or 429; all further ones are closed at once."""
# A client's connection, the one to its notebook, and an idle one that is kept.
_DESCRIPTORS_EACH: Final = 3
_OTHER_DESCRIPTORS: Final = 64
_MOST_REMEMBERED: Final = 16384
_FEW: Final = 1024
_ADDRESSES_REMEMBERED: Final = 4096


class Rate:
    """A rate: so many a second on average, and ``burst`` of them at once."""

    __slots__ = ("cost", "depth")

    def __init__(self, per_second: float, burst: int) -> None:
        self.cost = 1 / per_second
        # Sums of fractions are a little off; nobody should have to wait because of that.
        self.depth = self.cost * (burst + 0.001)

    @classmethod
    def of(cls, per_second: float, burst: int) -> Self | None:
        """The rate that the configuration sets; None (0 a second) for no limit."""
        return cls(per_second, burst) if per_second else None


_TOLD_OF_ONE: Final = Rate(0.5, 20)
_TOLD_OF_ALL: Final = Rate(20, 1000)
# How many refusals of a client get a line in the access log, and how many bytes of long lines.
_REFUSALS_LOGGED: Final = Rate(1, 20)
_LOGGED_OF_ONE: Final = Rate(256 * 1024, 4 * 1024 * 1024)
_LOGGED_OF_ALL: Final = Rate(2 * 1024 * 1024, 32 * 1024 * 1024)


class Bucket:
    """A token bucket, stored as the time at which it is full again (GCRA, ITU-T I.371)."""

    __slots__ = ("full_at",)

    def __init__(self) -> None:
        self.full_at = 0.0

    def take(self, rate: Rate, now: float) -> float:
        """Take one token and return 0; if there is none, return the seconds until there is one."""
        # Every request runs this code, which takes half the time of max().
        full_at = self.full_at
        if full_at < now:
            full_at = now
        full_at += rate.cost
        wait = full_at - now - rate.depth
        if wait > 0:
            return wait
        self.full_at = full_at
        return 0.0

    def pour_out(self, rate: Rate, amount: int, now: float) -> None:
        """Take ``amount`` tokens, even if there are fewer."""
        full_at = self.full_at
        if full_at < now:
            full_at = now
        self.full_at = full_at + rate.cost * amount


class Client:
    """The record of one client. All times are seconds of the reactor's clock."""

    __slots__ = (
        "checks", "connecting", "connections", "failed_at", "failed_logins", "locked_until",
        "logged", "refusals_logged", "requests", "told",
    )  # fmt: skip

    def __init__(self) -> None:
        self.connections = 0
        self.connecting = Bucket()
        self.requests = Bucket()
        self.told = Bucket()
        self.logged = Bucket()
        self.refusals_logged = Bucket()
        self.checks = 0
        self.failed_logins = 0.0
        self.failed_at = 0.0
        self.locked_until = 0.0

    def failures(self, now: float) -> float:
        """Failed logins that are not forgiven yet."""
        return max(0.0, self.failed_logins - (now - self.failed_at) / FORGIVEN_AFTER)

    def is_forgettable(self, now: float) -> bool:
        """Whether a client without a record would be treated the same."""
        buckets = (
            self.connecting, self.requests, self.told, self.logged, self.refusals_logged,
        )  # fmt: skip
        busy_until = max(self.locked_until, *[bucket.full_at for bucket in buckets])
        busy = self.connections or self.checks or busy_until > now
        return not busy and not self.failures(now)


def excess_beside(connections: int) -> int:
    """How many connections beyond a limit of ``connections`` get an answer that says so."""
    return min(MOST_TOLD, connections)


def descriptors_for(connections: int) -> int:
    """How many file descriptors a process needs to serve so many connections."""
    return _OTHER_DESCRIPTORS + _DESCRIPTORS_EACH * connections + excess_beside(connections)


def connections_within(descriptors: int) -> int:
    """How many connections a process with so many descriptors can serve; at least one.

    If there are few, fewer are set aside for other uses (probes, the status page, files).
    """
    rest = descriptors - min(_OTHER_DESCRIPTORS, descriptors // 4)
    fitting = (rest - MOST_TOLD) // _DESCRIPTORS_EACH
    if fitting < MOST_TOLD:
        fitting = rest // (_DESCRIPTORS_EACH + 1)
    return max(1, fitting)


@dataclass(frozen=True, slots=True)
class ClientsLimits:
    """What clients may do.

    ``connections``: of all clients together. ``connections_each``: of one client; for clients
    behind proxies, the requests of one client at once; with 0 a client may have as many as it
    leaves free. ``connecting`` and ``requests``: how fast one client may open connections and send
    requests; None for no limit. ``login_failures``: how many failed logins cost a client nothing.
    ``excess``: how many connections beyond the limit get an answer that says so.
    """

    connections: int
    connections_each: int = 0
    connecting: Rate | None = None
    requests: Rate | None = None
    login_failures: int = 10
    excess: int = MOST_TOLD


class Clients:
    """All clients. A whole IPv6 /64 counts as one client, since every subscriber has at least one.

    A client that came by a UNIX socket, through no proxy that names its clients, cannot be told
    from others. Such clients have no record, and the limits for one client don't hold for them;
    otherwise one of them could shut out all others.

    :ivar limits: may be replaced at any time.
    """

    def __init__(self, limits: ClientsLimits) -> None:
        self.limits = limits
        self.connections = 0
        self.excess = 0
        """Open connections beyond the limits, which get an answer that says so."""
        self._told = Bucket()
        self._logged = Bucket()
        self._clients: dict[str, Client] = {}
        self._room = _FEW

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._clients)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for any further connection."""
        return self.connections >= self.limits.connections

    def client(self, address: str, now: float) -> Client:
        """The record of the client at ``address``."""
        client = self._clients.get(address)
        if client is not None:
            return client
        if address == NAMELESS:
            return Client()
        key = subscriber(address)
        client = self._clients.get(key)
        if client is None:
            if len(self._clients) >= self._room:
                self._make_room(now)
            client = self._clients[key] = Client()
        return client

    def _make_room(self, now: float) -> None:
        """Forget clients whose records are empty; if these are too few, others that have left.

        This looks at all records, so it runs only when their number has doubled. However many
        addresses a flood comes from, the records take a few MiB.
        """
        for key in [key for key, client in self._clients.items() if client.is_forgettable(now)]:
            del self._clients[key]
        gone = [
            key
            for key, client in self._clients.items()
            if not client.connections and not client.checks
        ]
        for key in gone[: max(0, len(gone) - _MOST_REMEMBERED // 2)]:
            del self._clients[key]
        self._room = max(_FEW, 2 * len(self._clients))

    # Connections, or requests through proxies.

    def has_enough_of(self, address: str, taken: int, now: float) -> bool:
        """Whether this client may open no further connection; all clients have ``taken`` so many.

        If no number is set, a client may open another one while more are free than it has: see
        :class:`ipyproxy.upstream.places.Shares`.
        """
        most = self.limits.connections_each or self.limits.connections - taken
        return self.client(address, now).connections >= most

    def join(self, address: str, now: float) -> None:
        """Count one connection more of this client."""
        self.client(address, now).connections += 1

    def leave(self, address: str, now: float) -> None:
        """Count one connection less of this client."""
        self.client(address, now).connections -= 1

    # How fast they come. Returned are the seconds that something comes too early; 0 if in time.

    def connecting_wait(self, address: str, now: float) -> float:
        """Count a new connection."""
        rate = self.limits.connecting
        return 0.0 if rate is None else self.client(address, now).connecting.take(rate, now)

    def request_wait(self, address: str, now: float) -> float:
        """Count a request."""
        rate = self.limits.requests
        if rate is None:
            return 0.0
        client = self._clients.get(address) or self.client(address, now)
        return client.requests.take(rate, now)

    # What is logged of a client.

    def is_worth_telling(self, address: str, now: float) -> bool:
        """Whether there is room in the log for one more refusal of this client."""
        client = self.client(address, now)
        if client.told.take(_TOLD_OF_ONE, now):
            return False
        return not self._told.take(_TOLD_OF_ALL, now)

    def may_log_refusal(self, address: str, now: float) -> bool:
        """Whether the access log has room for one more refused request of this client."""
        return not self.client(address, now).refusals_logged.take(_REFUSALS_LOGGED, now)

    def may_log_at_length(self, address: str, now: float) -> bool:
        """Whether this client, and all together, may still write long lines to the access log."""
        if self._logged.full_at - now >= _LOGGED_OF_ALL.depth:
            return False
        client = self._clients.get(address) or self.client(address, now)
        return client.logged.full_at - now < _LOGGED_OF_ONE.depth

    def has_logged(self, address: str, size: int, now: float) -> None:
        """Count a long line of so many bytes. Short lines cost nothing."""
        self.client(address, now).logged.pour_out(_LOGGED_OF_ONE, size, now)
        self._logged.pour_out(_LOGGED_OF_ALL, size, now)

    # Logins.

    def login_wait(self, address: str, now: float) -> float:
        """Seconds until this client may try a login; 0: now.

        Logins that are being checked count as failed; otherwise any number could be tried at once.
        """
        client = self.client(address, now)
        if client.locked_until > now:
            return client.locked_until - now
        would_fail = client.failures(now) + client.checks
        return _CHECKED_WITHIN if client.checks and would_fail > self.limits.login_failures else 0.0

    def login_begun(self, address: str, now: float) -> None:
        """The check of a login begins; :meth:`login_ended` must follow, whatever the result."""
        self.client(address, now).checks += 1

    def login_ended(self, address: str, now: float) -> None:
        """The check of a login has ended."""
        self.client(address, now).checks -= 1

    def login_failed(self, address: str, now: float) -> None:
        """Count a failed login. After the first few, each one doubles the wait until the next.

        A successful login resets nothing; otherwise somebody with an account could guess the
        passwords of others in between. In the long run a client has one guess a minute.
        """
        client = self.client(address, now)
        client.failed_logins = client.failures(now) + 1
        client.failed_at = now
        over = client.failed_logins - self.limits.login_failures
        if over > 0:
            client.locked_until = now + min(LONGEST_LOGIN_WAIT, 2.0 ** min(over, 20.0))


def subscriber(address: str) -> str:
    """The client that ``address`` belongs to: its /64 for IPv6, else the address itself."""
    return _network(address) if ":" in address else address


@lru_cache(_ADDRESSES_REMEMBERED)
def _network(address: str) -> str:
    return IPv6Address(address).packed[:8].hex()
