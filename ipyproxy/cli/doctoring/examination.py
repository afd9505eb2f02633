"""Finds problems of a notebook behind the proxy, and says how to fix them.

Knows how a Jupyter server answers requests, and what the proxy needs. Knows nothing of sockets or
terminals.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlencode

from ipyproxy.cli.doctoring.listeners import Listener
from ipyproxy.cli.doctoring.visit import (
    Answer,
    HungUpError,
    NoAnswerError,
    NoTLSError,
    RefusedError,
    Security,
    SilentError,
    Visit,
)
from ipyproxy.config import Config
from ipyproxy.config.values import SERVICE_PORTS
from ipyproxy.errors import ProxyError
from ipyproxy.http.rewriting import Manners
from ipyproxy.websocket.handshake import NotebookSide

KERNEL_PROTOCOL = "v1.kernel.websocket.jupyter.org"
_FORM = b"Content-Type: application/x-www-form-urlencoded"
_HOW_TO_LOG_IN = "set JUPYTER_TOKEN to its token or password to have this looked at"


class Verdict(Enum):
    """The result of a check."""

    OK = "ok"
    WRONG = "WRONG"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """The finding of one check; ``remedy`` says what to do, if there is something to do."""

    verdict: Verdict
    subject: str
    said: str
    remedy: str = ""


def ok(subject: str, said: str) -> Finding:
    """The check has passed."""
    return Finding(Verdict.OK, subject, said)


def wrong(subject: str, said: str, remedy: str) -> Finding:
    """It will not work, or it is dangerous."""
    return Finding(Verdict.WRONG, subject, said, remedy)


def note(subject: str, said: str, remedy: str = "") -> Finding:
    """It works, or could not be checked."""
    return Finding(Verdict.NOTE, subject, said, remedy)


class Examination:
    """The examination of the notebook on one port.

    :param token: its token or password; "" if unknown.
    :param with_kernel: whether a kernel may be started for a moment.
    :param listening: returns the listeners on a port.
    """

    def __init__(
        self,
        port: int,
        config: Config,
        token: str,
        *,
        with_kernel: bool,
        patience: float,
        listening: Callable[[int], list[Listener]],
    ) -> None:
        self._port = port
        self._config = config
        self._token = token
        self._with_kernel = with_kernel
        self._listening = listening
        self._prefix = f"{config.notebooks.prefix}/{port}/"
        named = [host for host in config.site.hosts if "*" not in host]
        host = f"[{named[0]}]" if named and ":" in named[0] else (named or ["localhost"])[0]
        is_application = port in config.notebooks.applications
        self._name = host if is_application else f"127.0.0.1:{port}"
        self._visit = Visit(
            port,
            host,
            self._prefix,
            config.notebooks.site_cookies,
            Manners.APPLICATION if is_application else Manners.NOTEBOOK,
            patience,
            Security(config.notebooks.tls_name, config.notebooks.tls_ca)
            if config.notebooks.tls
            else None,
        )

    def findings(self) -> Iterator[Finding]:
        """All findings, in the order in which a request would meet them."""
        yield self._configured()
        people = self._listening(self._port)
        yield from self._who_listens(people)
        if people and not any(one.is_reached for one in people):
            return
        try:
            yield from self._answers()
        except NoTLSError as caught:
            remedy = (
                "start it with a certificate that bears notebooks.tls_name and comes from "
                "notebooks.tls_ca, or set notebooks.tls = false if it speaks plain HTTP"
            )
            yield wrong("TLS", str(caught), remedy)
        except RefusedError as caught:
            yield wrong("who listens", str(caught), self._start_it())
        except SilentError as caught:
            remedy = "it is busy or stuck: the proxy lets requests wait; see what its process does"
            yield wrong("HTTP", str(caught), remedy)
        except HungUpError as caught:
            remedy = (
                "if a container publishes this port, let the server in it listen, on the "
                "container's own address; else restart it"
            )
            yield self._no_http(caught, remedy)
        except NoAnswerError as caught:
            remedy = "restart it; if that is no notebook, start yours on another port"
            yield self._no_http(caught, remedy)

    def _no_http(self, caught: NoAnswerError, remedy: str) -> Finding:
        if not self._config.notebooks.tls and self._visit.speaks_tls():
            return wrong(
                "TLS",
                "it speaks TLS itself, and the proxy speaks plain HTTP to it",
                "start it without --certfile and --keyfile: the proxy has the certificate; or set "
                "notebooks.tls = true, if all notebooks speak TLS",
            )
        return wrong("HTTP", str(caught), remedy)

    def _configured(self) -> Finding:
        ports = self._config.notebooks.ports
        subject = "notebooks.ports"
        if self._port in (self._config.listen.https, self._config.listen.http):
            remedy = "start the notebook on another port"
            return wrong(subject, f"{self._port} is the proxy's own port", remedy)
        if self._port in ports:
            return ok(subject, f"{self._port} is one of {ports}")
        said = f"{self._port} is none of {ports}, so its pages are 404"
        elsewhere = "start the notebook on another port"
        if self._port < 1024 or self._port in SERVICE_PORTS:
            # The port of another service, which no notebook should use.
            return wrong(subject, said, elsewhere)
        added = f'set notebooks.ports = "{ports},{self._port}"'
        return wrong(subject, said, f"{added}, or {elsewhere}")

    def _who_listens(self, people: list[Listener]) -> Iterator[Finding]:
        subject = "who listens"
        for one in people:
            if not one.is_reached:
                remedy = "start it with --ServerApp.ip=127.0.0.1: nothing else is ever dialled"
                verdict = note if any(other.is_reached for other in people) else wrong
                yield verdict(subject, f"{one}, where the proxy does not look", remedy)
            elif one.is_open_to_others:
                remedy = "--ServerApp.ip=127.0.0.1 closes that way"
                yield note(subject, f"{one}: other hosts get there without the proxy", remedy)
            else:
                yield ok(subject, str(one))

    def _start_it(self) -> str:
        return (
            f"start it, such as: jupyter lab --no-browser --ServerApp.port={self._port} "
            f"--ServerApp.base_url={self._prefix}"
        )

    # Somebody listens.

    def _answers(self) -> Iterator[Finding]:
        answer = self._visit.ask("GET", "api")
        yield ok("HTTP", f"it answers, after {answer.seconds * 1000:.0f} ms")
        yield from self._times(answer)
        version = _version(answer)
        if version is None:
            yield self._other_base_url(answer)
            return
        yield ok("base_url", f"Jupyter server {version} is at home at {self._prefix}")
        yield from self._jupyter()

    def _times(self, answer: Answer) -> Iterator[Finding]:
        health, timeouts = self._config.health, self._config.timeouts
        subject = "time-outs"
        if health.mode == "off":
            yield note(subject, "health.mode is off: nobody finds out that it is busy or dead")
        elif health.mode == "tcp" and not self._visit.hangs_up(health.timeout):
            yield note(
                subject,
                f"it does not hang up within health.timeout = {health.timeout:g} s after the proxy "
                "has, so it would count as busy whenever nobody asks for anything",
                'set health.mode = "http"',
            )
        elif health.mode == "http" and answer.seconds > health.timeout:
            verdict = wrong if health.dead_after else note
            yield verdict(
                subject,
                f"it takes longer than health.timeout = {health.timeout:g} s, so it would count as "
                "busy" + (", and then as dead" if health.dead_after else ""),
                f"set health.timeout = {2 * answer.seconds:.1f}, or find out what it waits for",
            )
        else:
            waits = f"{timeouts.response:g} s" if timeouts.response else "for ever"
            said = f"probes ({health.mode}) find it; the proxy waits {waits} for an answer"
            yield ok(subject, said)

    def _other_base_url(self, answer: Answer) -> Finding:
        subject = "base_url"
        remedy = f"start it with --ServerApp.base_url={self._prefix}"
        at_top = self._visit.ask("GET", "/api", above=True)
        if _version(at_top) is not None:
            return wrong(subject, f"it is at home at /, and not at {self._prefix}", remedy)
        top = self._visit.ask("GET", "/", above=True)
        if 300 <= top.status < 400 and (to := top.head.fields.values(b"location")):
            there = to[0].decode("ascii", "backslashreplace")
            if not there.startswith(self._prefix):
                return wrong(subject, f"it leads to {there}, and not to {self._prefix}", remedy)
        if 404 in (answer.status, self._visit.ask("GET", "").status):
            return wrong(subject, f"it has nothing at {self._prefix}", remedy)
        if answer.status in (400, 403, 421):
            return wrong(
                "Host",
                f"it answers {answer.status}: perhaps it refuses the Host {self._name}",
                "let it take that name, which is what the proxy calls it",
            )
        return note(
            subject,
            f"it answers at {self._prefix} but is no Jupyter server, so nothing else is looked at",
        )

    # It is Jupyter.

    def _jupyter(self) -> Iterator[Finding]:
        status = self._visit.ask("GET", "api/status").status
        if status == 200:
            yield wrong(
                "login",
                "it asks for no login: everybody who reaches the proxy can run code as its user",
                "start it with a token or a password (they are on unless somebody turned them off)",
            )
        elif not self._token:
            yield ok("login", f"it asks who somebody is ({status})")
            yield note("XSRF, Origin, WebSocket", "not looked at", _HOW_TO_LOG_IN)
            return
        else:
            finding = self._log_in()
            yield finding
            if finding.verdict is Verdict.WRONG:
                return
        yield from self._xsrf_and_origin()
        yield self._websocket("api/events/subscribe")
        yield from self._kernel()

    def _log_in(self) -> Finding:
        self._visit.ask("GET", "login")
        xsrf = self._visit.cookies.get(b"_xsrf", b"").decode("latin-1")
        form = urlencode({"_xsrf": xsrf, "password": self._token}).encode("ascii")
        answer = self._visit.ask("POST", "login", _FORM, body=form)
        if answer.status == 302:
            return ok("login", "a login by its form, with the Origin that the proxy sends, works")
        if answer.status == 401:
            return wrong("login", "it does not take JUPYTER_TOKEN", "set it to what it does take")
        return wrong("login", f"its form is refused: {_words(answer)}", self._origin_remedy())

    def _xsrf_and_origin(self) -> Iterator[Finding]:
        """Delete a session that does not exist: an allowed request gets 404."""
        if b"_xsrf" not in self._visit.cookies:
            self._visit.ask("GET", "login")
            self._visit.ask("GET", "tree")
        harmless = "api/sessions/00000000-0000-0000-0000-000000000000"
        bare = self._visit.ask("DELETE", harmless)
        if bare.status == 403:
            yield ok("XSRF", "a request without the token of its own pages is refused")
        else:
            yield wrong(
                "XSRF",
                f"a request without the token of its own pages is taken ({bare.status})",
                "remove ServerApp.disable_check_xsrf",
            )
        xsrf = self._visit.cookies.get(b"_xsrf")
        if xsrf is None:
            yield note("Host, Origin, Referer", "it has set no _xsrf cookie, so not looked at")
            return
        whole = self._visit.ask("DELETE", harmless, b"X-XSRFToken: " + xsrf)
        if whole.status == 403:
            yield wrong("Host, Origin, Referer", _words(whole), self._origin_remedy())
        else:
            yield ok("Host, Origin, Referer", f"it takes them as {self._name}")

    def _origin_remedy(self) -> str:
        if self._port in self._config.notebooks.applications:
            return (
                f"take {self._port} out of notebooks.applications, or let it take the public name: "
                "set ServerApp.allow_remote_access"
            )
        return (
            "let it take its own name, 127.0.0.1, for Host and Origin: remove "
            "ServerApp.allow_origin, allow_origin_pat and local_hostnames"
        )

    def _websocket(self, path: str, *subprotocols: str) -> Finding:
        """Open a WebSocket as the proxy does, and close it."""
        side = NotebookSide(list(subprotocols))
        lines = [
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: " + side.websocket_key,
        ]
        if subprotocols:
            lines.append(b"Sec-WebSocket-Protocol: " + ", ".join(subprotocols).encode("ascii"))
        answer = self._visit.ask("GET", path, *lines)
        subject = "subprotocol" if subprotocols else "WebSocket"
        if answer.status == 404 and not subprotocols:
            return note(subject, "this server has no events to subscribe to, so not looked at")
        if answer.status == 403:
            return wrong(subject, f"refused: {_words(answer)}", self._origin_remedy())
        if answer.status != 101:
            return wrong(
                subject,
                f"no upgrade, but {answer.status}",
                "let nothing between proxy and notebook take the Upgrade field away",
            )
        try:
            chosen = side.check(answer.head)
        except ProxyError as caught:
            return wrong(subject, caught.detail, "find out what is between proxy and notebook")
        if not subprotocols:
            return ok(subject, "it upgrades")
        return ok(subject, chosen or "none: it speaks the older framing, which works too")

    def _kernel(self) -> Iterator[Finding]:
        if not self._with_kernel:
            yield note("subprotocol", "not looked at", "--kernel starts a kernel for it")
            return
        xsrf = b"X-XSRFToken: " + self._visit.cookies.get(b"_xsrf", b"")
        started = self._visit.ask("POST", "api/kernels", xsrf, body=b"{}")
        if started.status != 201:
            remedy = "see the notebook's own log"
            yield wrong("subprotocol", f"no kernel starts: {_words(started)}", remedy)
            return
        kernel = json.loads(started.body)["id"]
        try:
            yield self._websocket(f"api/kernels/{kernel}/channels", KERNEL_PROTOCOL)
        finally:
            self._visit.ask("DELETE", f"api/kernels/{kernel}", xsrf)


def _version(answer: Answer) -> str | None:
    """The version that a Jupyter server reports; None if it is no Jupyter server."""
    try:
        document = json.loads(answer.body)
    except ValueError:
        return None
    version = document.get("version") if isinstance(document, dict) else None
    return str(version) if version and answer.status == 200 else None


def _words(answer: Answer) -> str:
    """Status and reason, in Jupyter's words where it has some."""
    try:
        document = json.loads(answer.body)
        message = document["message"]
    except (ValueError, KeyError, TypeError):
        message = answer.head.reason.decode("ascii", "backslashreplace")
    return f"{answer.status} {str(message)[:200]}"
