"""However an address is spelled: where it leads is guarded by the rule for that place."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipyproxy.access.rules import Rule, Rules, parse_requirement
from ipyproxy.auth import Gate as AuthGate
from ipyproxy.auth import InMemory
from tests.web.gate import Gate, ask

PIECES = st.sampled_from(
    [b"/", b"//", b"ipython", b"IPython", b"%69python", b"10000", b"10001", b"010000", b"%31",
     b".", b"..", b"%2e", b"%2f", b"%2F", b"%5c", b"\\", b";", b"?", b"x", b"@", b":", b"&",
     b"=", b"%", b"%25", b"\xc0\xaf", b"https://hub.example", b"/ipython/10000", b"/ipython/10001"]
)  # fmt: skip


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PIECES, min_size=1, max_size=8).map(b"".join), st.sampled_from([b"GET", b"POST"]))
def test_no_spelling_leads_past_a_rule(target: bytes, method: bytes) -> None:
    users = InMemory({})
    rules = Rules(
        [
            Rule(b"/ipython/10000", parse_requirement("htpasswd")),
            Rule(b"/ipython", parse_requirement("none")),
        ]
    )
    gate = Gate(auth=AuthGate(rules, {"htpasswd": users}, prefix="/ipython"))
    ask(gate.connect(), b"%b %b HTTP/1.1" % (method, target))
    assert [attempt.address[1] for attempt in gate.dialler.attempts] in ([], [10001])
    gate.dialler.attempts.clear()
