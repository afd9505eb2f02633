"""The status page: turns facts into HTML, in parts that can be replaced one by one.

Knows how the page looks. Each part is an element with an id; an open page gets the parts that have
changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.resources import files
from zlib import crc32

from ipyproxy.status.condition import Condition
from ipyproxy.status.facts import CompressedFacts, Facts, UpstreamFacts, versions
from ipyproxy.status.plot import plot
from ipyproxy.status.words import age, ago, count, duration, escaped, lasting, size, some
from ipyproxy.upstream.states import State
from ipyproxy.web.frame import document_fields, html_document
from ipyproxy.web.pages import Page

_STYLE = files("ipyproxy.status").joinpath("page.css").read_text("utf-8")
_SCRIPT = files("ipyproxy.status").joinpath("page.js").read_text("utf-8")

_FIELDS = document_fields(_STYLE, _SCRIPT)

_HEAD = """\
<meta name="color-scheme" content="light dark">
<noscript><meta http-equiv="refresh" content="10"></noscript>
"""

_BODY = """\
<body data-at="{at}">
<header>
<h1>ipyproxy</h1>
{phase}
<p id="live" role="status">as of {time} UTC</p>
</header>
<main>
{summary}
{hour}
<section aria-labelledby="upstreams">
<h2 id="upstreams">Notebooks and applications</h2>
<table>
<thead>
<tr>
<th scope="col">Upstream</th>
<th scope="col">State</th>
<th scope="col" class="wide">Last hour</th>
<th scope="col" class="figure">Requests</th>
<th scope="col" class="figure">Errors</th>
<th scope="col" class="figure"><abbr title="Half of the last hour's requests took no longer">\
p50</abbr></th>
<th scope="col" class="figure"><abbr title="99 of 100 requests of the last hour took no longer">\
p99</abbr></th>
<th scope="col" class="figure">Open</th>
<th scope="col" class="figure">WebSockets</th>
<th scope="col" class="figure">Person active</th>
</tr>
</thead>
<tbody id="rows">
{rows}
</tbody>
</table>
{rest}
</section>
{daemon}
</main>
<footer><a href="/_ipyproxy/status.json">status.json</a> <a href="/_ipyproxy/metrics">metrics</a>\
</footer>
<script>{script}</script>
</body>"""

_NO_ROWS = "Nobody has asked for a notebook yet, and no route leads to an application."


def whole_page(parts: dict[str, str], rows: list[str], now: float, at: int) -> Page:
    """The page with ``parts``, as drawn at the stamp ``at``; ``rows`` are the ids of its rows."""
    body = _BODY.format(
        script=_SCRIPT,
        at=at,
        time=datetime.fromtimestamp(now, UTC).strftime("%H:%M:%S"),
        rows="\n".join(parts[row] for row in rows),
        **{name: parts[name] for name in ("phase", "summary", "hour", "rest", "daemon")},
    )
    document = html_document("ipyproxy status", body, _STYLE, more=_HEAD)
    return Page(200, b"text/html; charset=utf-8", document, _FIELDS)


def general_parts(facts: Facts) -> dict[str, str]:
    """All parts except the rows, by id."""
    phase = facts.condition.phase.value
    return {
        "phase": f'<p id="phase" class="pill {phase}">{phase}</p>',
        "summary": _summary(facts),
        "hour": _hour(facts),
        "rest": f'<p id="rest" class="soft">{_rest(facts)}</p>',
        "daemon": _daemon(facts),
    }


def row(facts: UpstreamFacts, now: float) -> str:
    """The row of an upstream."""
    errors = "figure bad" if facts.errors else "figure"
    why = f'<span class="soft">{facts.why}</span>' if facts.why else ""
    since = "" if facts.since is None else f' <span class="soft">{lasting(facts.since, now)}</span>'
    return (
        f'<tr id="{row_id(facts)}">'
        f'<th scope="row">{escaped(facts.name)}</th>'
        f'<td class="state"><span class="pill {facts.state.value}">{facts.state.value}</span>'
        f"{since}{why}</td>"
        f'<td class="wide">{plot(facts.hour)}</td>'
        f'<td class="figure" data-label="Requests">{count(facts.requests)}</td>'
        f'<td class="{errors}" data-label="Errors">{count(facts.errors)}</td>'
        f'<td class="figure" data-label="p50">{duration(facts.hour.median)}</td>'
        f'<td class="figure" data-label="p99">{duration(facts.hour.slow)}</td>'
        f'<td class="figure" data-label="Open">{count(facts.exchanges)}</td>'
        f'<td class="figure" data-label="WebSockets">{count(facts.bridges)}</td>'
        f'<td class="figure" data-label="Person active">{ago(facts.person_active, now)}</td>'
        "</tr>"
    )


def row_id(facts: UpstreamFacts) -> str:
    """The id of an upstream's row."""
    if facts.port is not None:
        return f"port-{facts.port}"
    return f"upstream-{crc32(facts.name.encode()):08x}"


def _summary(facts: Facts) -> str:
    states = facts.states
    others = [
        f"{count(states[state])} {state.value}"
        for state in (State.BUSY, State.STARTING, State.DEAD, State.UNKNOWN)
        if states[state]
    ]
    hour = facts.hour
    requests, errors = sum(hour.requests), sum(hour.errors)
    cards = [
        _card("Upstreams up", count(states[State.UP]), ", ".join(others) or "none is down",
              alarm=states[State.DEAD] > 0),
        _card("WebSockets", count(facts.bridges),
              some(facts.exchanges, "request open", "requests open")),
        _card("Last hour", count(requests),
              f"requests, {some(errors, 'error', 'errors') if errors else 'no errors'}",
              alarm=errors * 100 > requests),
        _card("Half within", duration(hour.median), f"99 of 100 within {duration(hour.slow)}"),
        _card("Connections", count(facts.connections),
              f"of at most {count(facts.most_connections)}",
              alarm=facts.connections >= facts.most_connections),
        _card("Late at worst", duration(facts.lag), "event loop, last minute", alarm=facts.lag > 1),
        *_certificate_card(facts),
    ]  # fmt: skip
    return f'<section id="summary" aria-label="Summary">{"".join(cards)}</section>'


def _card(title: str, figure: str, below: str, *, alarm: bool = False) -> str:
    kind = ' class="alarm"' if alarm else ""
    return f"<div{kind}><h2>{title}</h2><p>{figure}</p><small>{below}</small></div>"


def _certificate_card(facts: Facts) -> list[str]:
    certificates = facts.condition.certificates
    if not certificates:
        return []
    first = min(certificates, key=lambda certificate: certificate.not_after)
    left = first.not_after.timestamp() - facts.now
    figure = "expired" if left < 0 else age(left)
    alarm = first.ends_soon(datetime.fromtimestamp(facts.now, UTC))
    return [
        _card("Certificate left", figure, escaped(first.names[0]), alarm=alarm),
    ]


def _hour(facts: Facts) -> str:
    most = max(facts.hour.requests)
    return (
        '<section id="hour" aria-label="All requests of the last hour"><div>'
        f"<span>All requests</span><span>{some(most, 'request', 'requests')} a minute at most"
        f"</span></div>{plot(facts.hour)}<div><span>an hour ago</span><span>now</span></div>"
        "</section>"
    )


def _rest(facts: Facts) -> str:
    if facts.left_out:
        return f"and {some(facts.left_out, 'other', 'others')} that nobody has wanted lately"
    return "" if facts.upstreams else _NO_ROWS


def _daemon(facts: Facts) -> str:
    condition = facts.condition
    entries = [
        ("Up", lasting(facts.started, facts.now)),
        ("Listens on", _lines(condition.listeners)),
        ("Certificates", _lines(
            f"{', '.join(one.names)} until {one.not_after:%Y-%m-%d}"
            + (" (development)" if one.is_development else "")
            for one in condition.certificates
        )),
        *_renewals(condition),
        ("Reloads", f"{condition.reloads} done, {condition.refused_reloads} refused"),
        ("Compressed", _compressed(facts.compressed)),
        ("Sweeps", f"99 of 100 within {duration(facts.sweep)}"),
        ("Versions", escaped(", ".join(map(" ".join, versions().items())))),
    ]  # fmt: skip
    listed = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in entries)
    return f'<section id="daemon"><h2>Daemon</h2><dl>{listed}</dl></section>'


def _renewals(condition: Condition) -> Iterator[tuple[str, str]]:
    if condition.renewals is not None:
        renewals = condition.renewals()
        told = f"{renewals.got} got, {renewals.failed} attempts failed since the start"
        yield "Renewals", _lines((told, *renewals.concerns))


def _compressed(facts: CompressedFacts) -> str:
    return (
        f"{some(facts.entries, 'answer', 'answers')} kept, {size(facts.bytes)} of at most "
        f"{size(facts.most_bytes)}; sent {some(facts.hits, 'time', 'times')}, "
        f"compressed {some(facts.misses, 'time', 'times')}"
    )


def _lines(texts: Iterable[str]) -> str:
    return "<br>".join(map(escaped, texts))
