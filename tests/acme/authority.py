"""An authority in memory that is as strict as RFC 8555 lets one be, and fails as it is told to.

It sees the proofs where a real one would be led to: in the listener's answer to a handshake, in the
directory that plain HTTP shows, and in a DNS that is a dictionary. Knows nothing of the client.

The file is long because one class answers all requests of RFC 8555, which share the same orders.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from twisted.internet.defer import Deferred, fail, succeed

from ipyproxy.acme.account import Answer
from ipyproxy.acme.documents import AcmeError
from ipyproxy.acme.material import server_name
from ipyproxy.acme.store import Store
from tests.certificates import Authority, pem

URL = "https://acme.example/dir"
ERROR = "urn:ietf:params:acme:error:"


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


class RefusedError(Exception):
    def __init__(self, kind: str, detail: str, status: int = 400, **fields: str) -> None:
        self.answer = Answer(
            status,
            {"content-type": "application/problem+json", **fields},
            json.dumps({"type": ERROR + kind, "detail": detail}).encode(),
        )


@dataclass
class OrderKept:
    name: str
    kind: str
    profile: str | None
    replaces: str | None
    status: str = "pending"
    authorized: str = "pending"
    why: str = ""
    token: str = ""
    account: str = ""
    looks: int = 0
    chain: bytes = b""


@dataclass
class Faults:
    """What goes wrong: how often a nonce is refused, whether anybody answers, and so on."""

    silent: bool = False
    bad_nonces: int = 0
    refuse_orders: RefusedError | None = None
    slow: int = 0
    """Looks at a challenge or an order before there is something new."""
    forbidden: set[str] = field(default_factory=set)
    wrong_key: bool = False
    refuse_revocations: bool = False
    lose_answers: bool = False
    """To a change of the account's key, which is made."""
    garbled: bool = False


class FakeAuthority:
    """See the module.

    :param now: the wall clock.
    :param store: where the listener and plain HTTP find what they show.
    """

    def __init__(
        self, now: Callable[[], float], store: Store, *, lifetime: float = 90 * 86400.0
    ) -> None:
        self.now = now
        self.store = store
        self.lifetime = lifetime
        self.authority = Authority()
        self.faults = Faults()
        self.dns: dict[str, str] = {}
        self.look_up: Callable[[str], str | None] = self.dns.get
        self.offers = ["tls-alpn-01", "http-01", "dns-01"]
        self.profiles: dict[str, str] = {}
        self.windows: Callable[[str], tuple[float, float]] | None = None
        self.window_again = 0
        self.binding: tuple[str, bytes] | None = None
        self.accounts: dict[str, dict[str, Any]] = {}
        self.contacts: list[Any] = []
        self.orders: list[OrderKept] = []
        self.issued: list[x509.Certificate] = []
        self.replaced: set[str] = set()
        self.revoked: dict[int, int] = {}
        self.requests: list[str] = []
        self.methods_tried: list[str] = []
        self._nonces: set[str] = set()
        self._count = 0

    # What a client sees.

    def send(self, method: str, url: str, body: bytes | None = None) -> Deferred[Answer]:
        self.requests.append(f"{method} {url}")
        if self.faults.silent:
            return fail(AcmeError("acme.example cannot be asked: connection refused"))
        if self.faults.garbled:
            return succeed(Answer(200, {}, b"<html>It works!</html>"))
        path = url.removeprefix("https://acme.example")
        assert path != url, url
        try:
            answer = self._get(method, path) if body is None else self._post(path, body, url)
        except RefusedError as refused:
            answer = refused.answer
        fresh = {"replay-nonce": self._nonce()}
        return succeed(Answer(answer.status, {**answer.fields, **fresh}, answer.body))

    def _nonce(self) -> str:
        self._count += 1
        nonce = encoded(b"nonce %d" % self._count)
        self._nonces.add(nonce)
        return nonce

    def _get(self, method: str, path: str) -> Answer:
        if path.partition("?")[0] == "/dir":
            return _json(self._directory())
        if path == "/nonce" and method == "HEAD":
            return Answer(200, {}, b"")
        if path.startswith("/ari/") and self.windows is not None:
            identifier = path.removeprefix("/ari/")
            begins, ends = (
                datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
                for at in self.windows(identifier)
            )
            again = {"retry-after": str(self.window_again)} if self.window_again else {}
            return _json({"suggestedWindow": {"start": begins, "end": ends}}, 200, **again)
        raise RefusedError("malformed", f"{method} {path}", 405)

    def _directory(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "newNonce": "https://acme.example/nonce",
            "newAccount": "https://acme.example/account",
            "newOrder": "https://acme.example/order",
            "revokeCert": "https://acme.example/revoke",
            "keyChange": "https://acme.example/key",
            "meta": {"profiles": self.profiles, "externalAccountRequired": bool(self.binding)},
        }
        if self.windows is not None:
            found["renewalInfo"] = "https://acme.example/ari"
        return found

    def _post(self, path: str, body: bytes, url: str) -> Answer:
        message = json.loads(body)
        protected = json.loads(decoded(message["protected"]))
        if protected["nonce"] not in self._nonces:
            raise RefusedError("badNonce", "never given or used already")
        self._nonces.discard(protected["nonce"])
        if self.faults.bad_nonces:
            self.faults.bad_nonces -= 1
            raise RefusedError("badNonce", "out of spite")
        assert protected["url"] == url
        assert protected["alg"] == "ES256"
        assert ("jwk" in protected) != ("kid" in protected)
        if "kid" in protected:
            jwk = self.accounts[protected["kid"]]
        else:
            jwk = protected["jwk"]
            assert path == "/account"
        _verify(jwk, message)
        payload = decoded(message["payload"])
        content = json.loads(payload) if payload else None
        if path == "/account":
            return self._account(jwk, content)
        if path == "/order":
            return self._order(content, protected["kid"])
        if path == "/revoke":
            return self._revoke(content)
        if path == "/key":
            return self._change_key(content, protected["kid"])
        _, kind, number = path.split("/")
        order = self.orders[int(number)]
        answers: dict[str, Callable[[OrderKept, Any], Answer]] = {
            "orders": self._look,
            "authz": self._authorization,
            "challenge-tls-alpn-01": lambda order, _: self._challenge(order, "tls-alpn-01"),
            "challenge-http-01": lambda order, _: self._challenge(order, "http-01"),
            "challenge-dns-01": lambda order, _: self._challenge(order, "dns-01"),
            "challenge-dns-persist-01": lambda order, _: self._challenge(order, "dns-persist-01"),
            "finalize": self._finalize,
            "certificate": lambda order, _: Answer(200, {}, order.chain),
        }
        return answers[kind](order, content)

    # Accounts.

    def _account(self, jwk: dict[str, Any], content: Any) -> Answer:
        for url, known in self.accounts.items():
            if known == jwk:
                return _json({"status": "valid"}, 200, location=url)
        if content.get("onlyReturnExisting"):
            raise RefusedError("accountDoesNotExist", "unknown key")
        assert content["termsOfServiceAgreed"] is True
        if self.binding is not None:
            self._check_binding(jwk, content["externalAccountBinding"])
        self.contacts.append(content.get("contact"))
        url = f"https://acme.example/accounts/{len(self.accounts)}"
        self.accounts[url] = jwk
        return _json({"status": "valid"}, 201, location=url)

    def _change_key(self, content: Any, account: str) -> Answer:
        protected = json.loads(decoded(content["protected"]))
        assert protected.keys() == {"alg", "jwk", "url"}
        assert protected["url"] == "https://acme.example/key"
        _verify(protected["jwk"], content)
        asked = json.loads(decoded(content["payload"]))
        assert asked == {"account": account, "oldKey": self.accounts[account]}
        assert protected["jwk"] not in self.accounts.values()
        self.accounts[account] = protected["jwk"]
        if self.faults.lose_answers:
            raise RefusedError("serverInternal", "", 500)
        return _json({"status": "valid"})

    def _check_binding(self, jwk: dict[str, Any], binding: dict[str, str]) -> None:
        assert self.binding is not None
        kid, secret = self.binding
        protected = json.loads(decoded(binding["protected"]))
        assert protected == {"alg": "HS256", "kid": kid, "url": "https://acme.example/account"}
        assert json.loads(decoded(binding["payload"])) == jwk
        signed = f"{binding['protected']}.{binding['payload']}".encode()
        if hmac.digest(secret, signed, "sha256") != decoded(binding["signature"]):
            raise RefusedError("unauthorized", "wrong MAC")

    # Orders.

    def _order(self, content: Any, account: str) -> Answer:
        if self.faults.refuse_orders is not None:
            raise self.faults.refuse_orders
        (identifier,) = content["identifiers"]
        replaces = content.get("replaces")
        if replaces is not None and replaces in self.replaced:
            raise RefusedError("alreadyReplaced", "by another order", 409)
        if profile := content.get("profile"):
            assert profile in self.profiles
        order = OrderKept(identifier["value"], identifier["type"], profile, replaces)
        order.account = account
        if order.name in self.faults.forbidden:
            order.why = "forbidden"
        order.token = encoded(hashlib.sha256(b"%d" % len(self.orders)).digest())
        self.orders.append(order)
        return self._look(order, None, 201)

    def _look(self, order: OrderKept, _: Any, status: int = 200) -> Answer:
        number = self.orders.index(order)
        if order.status == "processing":
            order.looks += 1
            if order.looks > self.faults.slow:
                order.status = "valid"
        told: dict[str, Any] = {
            "status": order.status,
            "identifiers": [{"type": order.kind, "value": order.name}],
            "authorizations": [f"https://acme.example/authz/{number}"],
            "finalize": f"https://acme.example/finalize/{number}",
        }
        if order.status == "valid":
            told["certificate"] = f"https://acme.example/certificate/{number}"
        return _json(told, status, location=f"https://acme.example/orders/{number}")

    def _authorization(self, order: OrderKept, _: Any) -> Answer:
        number = self.orders.index(order)
        if order.authorized == "processing":
            order.looks += 1
            if order.looks > self.faults.slow:
                order.looks = 0
                order.authorized = "invalid" if order.why else "valid"
                order.status = "invalid" if order.why else "ready"
        status = "pending" if order.authorized == "processing" else order.authorized
        problem = {"type": ERROR + "unauthorized", "detail": order.why}
        told = {
            "status": status,
            "identifier": {"type": order.kind, "value": order.name},
            "challenges": [
                {
                    "type": kind,
                    "status": status,
                    "url": f"https://acme.example/challenge-{kind}/{number}",
                    **_particulars(kind, order),
                    **({"error": problem} if order.why and status == "invalid" else {}),
                }
                for kind in self._offered(order)
            ],
        }
        return _json(told, 200, **{"retry-after": "2"})

    def _offered(self, order: OrderKept) -> list[str]:
        in_the_dns = [kind for kind in self.offers if kind.startswith("dns-")]
        if order.name.startswith("*."):
            return in_the_dns
        return [kind for kind in self.offers if order.kind == "dns" or kind not in in_the_dns]

    def _challenge(self, order: OrderKept, kind: str) -> Answer:
        assert kind in self._offered(order)
        (jwk,) = list(self.accounts.values())[-1:]
        canonical = json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()
        expected = f"{order.token}.{encoded(hashlib.sha256(canonical).digest())}"
        self.methods_tried.append(kind)
        order.why = order.why or self._see(order, kind, expected)
        order.authorized = "processing"
        return _json({"type": kind, "status": "processing", "url": "", "token": order.token})

    def _see(self, order: OrderKept, kind: str, expected: str) -> str:
        """Look for the proof; what is wrong with it."""
        digest = hashlib.sha256(expected.encode()).digest()
        if kind == "tls-alpn-01":
            shown = self.store.challenge(server_name(order.name))
            if shown is None:
                return "no certificate for acme-tls/1"
            oid = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
            extension = shown.chain[0].extensions.get_extension_for_oid(oid)
            assert extension.critical
            value: Any = extension.value
            return "" if value.value == b"\x04\x20" + digest else "wrong digest"
        if kind == "http-01":
            path = self.store.http / ".well-known" / "acme-challenge" / order.token
            said = path.read_text() if path.exists() else "nothing"
            return "" if said == expected else f"the host says {said}"
        domain = order.name.removeprefix("*.")
        if kind == "dns-persist-01":
            record = f"_validation-persist.{domain}"
            star = "; policy=wildcard" if domain != order.name else ""
            wanted = f"authority.example; accounturi={order.account}{star}"
            return "" if self.look_up(record) == wanted else "No TXT records found"
        record = f"_acme-challenge.{domain}"
        return "" if self.look_up(record) == encoded(digest) else f"no TXT at {record}"

    def _revoke(self, content: Any) -> Answer:
        if self.faults.refuse_revocations:
            raise RefusedError("serverInternal", "come back later", 503)
        certificate = x509.load_der_x509_certificate(decoded(content["certificate"]))
        assert certificate in self.issued
        if certificate.serial_number in self.revoked:
            raise RefusedError("alreadyRevoked", "", 400)
        self.revoked[certificate.serial_number] = content["reason"]
        return Answer(200, {}, b"")

    def _finalize(self, order: OrderKept, content: dict[str, str]) -> Answer:
        assert order.status == "ready"
        request = x509.load_der_x509_csr(decoded(content["csr"]))
        assert request.is_signature_valid
        asked = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [str(name.value) for name in asked] == [order.name]
        begins = datetime.fromtimestamp(self.now(), UTC) - timedelta(hours=1)
        issued = self.authority.issue(
            order.name,
            key=_Public(request, wrong=self.faults.wrong_key),
            not_before=begins,
            not_after=begins + timedelta(seconds=self.lifetime),
        )
        order.chain = pem(issued.certificate)
        self.issued.append(issued.certificate)
        if order.replaces:
            self.replaced.add(order.replaces)
        order.status, order.looks = "processing", 0
        return self._look(order, None)


class _Public:
    """The key of a request, where a private key is expected that has it."""

    def __init__(self, request: x509.CertificateSigningRequest, *, wrong: bool) -> None:
        self._request = request
        self._wrong = wrong

    def public_key(self) -> Any:
        if self._wrong:
            return ec.generate_private_key(ec.SECP256R1()).public_key()
        return self._request.public_key()


def _particulars(kind: str, order: OrderKept) -> dict[str, Any]:
    if kind == "dns-persist-01":
        return {"issuer-domain-names": ["authority.example"], "accounturi": order.account}
    return {"token": order.token}


def _json(content: Any, status: int = 200, **fields: str) -> Answer:
    return Answer(status, fields, json.dumps(content).encode())


def _verify(jwk: dict[str, str], message: dict[str, str]) -> None:
    x, y = (int.from_bytes(decoded(jwk[axis]), "big") for axis in "xy")
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    both = decoded(message["signature"])
    signature = encode_dss_signature(
        int.from_bytes(both[:32], "big"), int.from_bytes(both[32:], "big")
    )
    signed = f"{message['protected']}.{message['payload']}".encode()
    key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))


def later(seconds: float, now: float) -> str:
    """``Retry-After`` as a date."""
    return formatdate(now + seconds, usegmt=True)
