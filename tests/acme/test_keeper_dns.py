"""Names that are proved in the DNS: by a record that lasts, or by a program."""

from __future__ import annotations

from pathlib import Path

from ipyproxy.acme.proofs import Dns, LastingRecord, TlsAlpn
from tests.acme.office import HUB, Office, at_once, no_challenge


class TestARecordThatLasts:
    """dns-persist-01: a person puts it into the DNS, once."""

    STAR = "*.notebooks.example.org"

    def office(self, tmp_path: Path, *names: str) -> Office:
        made = Office(
            tmp_path,
            *names,
            proofs=lambda store: [TlsAlpn(store, at_once), LastingRecord()],
        )
        made.authority.offers.append("dns-persist-01")
        return made

    def test_is_told_and_then_a_wildcard_needs_no_program(self, tmp_path: Path) -> None:
        office = self.office(tmp_path, self.STAR).start()
        office.wait(10)
        why = office.store.attempts(self.STAR).why
        assert "No TXT records found; with tls.dns_persist the DNS has to have" in why
        name, _, value = why.rpartition(": ")[2].partition(". TXT ")
        assert name == "_validation-persist.notebooks.example.org"
        office.authority.dns[name] = value.strip('"')
        office.wait(300)
        (served,) = office.served
        assert served.names == (self.STAR,)
        # It is there for the next one too, and for another key of the account.
        office.store.ask_for_account_key()
        office.wait(10)
        office.store.ask(self.STAR)
        office.wait(10)
        assert len(office.served) == 2
        office.keeper.stop()

    def test_is_for_a_name_that_nobody_can_connect_to(self, tmp_path: Path) -> None:
        office = self.office(tmp_path, HUB)
        office.store.challenge = no_challenge  # type: ignore[method-assign]
        account = "https://acme.example/accounts/0"
        office.authority.dns[f"_validation-persist.{HUB}"] = (
            f"authority.example; accounturi={account}"
        )
        office.start().wait(100)
        assert office.authority.methods_tried == ["tls-alpn-01", "dns-persist-01"]
        assert len(office.served) == 1
        office.keeper.stop()

    def test_where_the_authority_does_not_offer_it_that_is_told(self, tmp_path: Path) -> None:
        office = self.office(tmp_path, self.STAR)
        office.authority.offers.remove("dns-persist-01")
        office.start().wait(10)
        why = office.store.attempts(self.STAR).why
        assert why == "the authority offers dns-01, and here is dns-persist-01"
        office.keeper.stop()


HOOK = """\
#!/bin/sh
echo "$@" >> "{log}"
"""


def test_a_wildcard_is_proved_in_the_dns_by_a_program(tmp_path: Path) -> None:
    log, hook = tmp_path / "log", tmp_path / "hook"
    hook.write_text(HOOK.format(log=log))
    hook.chmod(0o755)
    star = "*.notebooks.example.org"
    office = Office(tmp_path / "acme", star, proofs=lambda _: [Dns(hook, at_once)])

    def look_up(name: str) -> str | None:
        done = [line.split() for line in log.read_text().splitlines()]
        *_, last = [(verb, value) for verb, record, value in done if record == name]
        return last[1] if last[0] == "set" else None

    office.authority.look_up = look_up
    office.start().wait(10)
    assert office.served[0].names == (star,)
    said = [line.split()[:2] for line in log.read_text().splitlines()]
    assert said == [
        ["set", "_acme-challenge.notebooks.example.org"],
        ["clear", "_acme-challenge.notebooks.example.org"],
    ]
    office.keeper.stop()


def test_a_program_that_fails_is_told_of_and_a_wildcard_without_one(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\necho no such zone\nexit 3\n")
    hook.chmod(0o755)
    star = "*.example.org"
    office = Office(tmp_path / "a", star, proofs=lambda _: [Dns(hook, at_once)]).start()
    office.wait(10)
    assert "ended with status 3 (no such zone)" in office.store.attempts(star).why
    office.keeper.stop()
    without = Office(tmp_path / "b", star).start()
    without.wait(10)
    assert "tls.dns_hook" in without.store.attempts(star).why
    assert without.attempts() == 0
    without.keeper.stop()
