"""Keys, requests and signatures, as the RFCs have them."""

from __future__ import annotations

import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ipyproxy.acme.jose import AccountKey, base64url, from_base64url
from ipyproxy.acme.material import (
    certificate_id,
    key_pem,
    kind_of,
    new_key,
    server_name,
    signing_request,
)
from tests.certificates import Authority, ecdsa_key, rsa_key


def test_an_account_key_is_kept_and_found_again() -> None:
    key = AccountKey.make()
    again = AccountKey.load(key.pem())
    assert (again.jwk, again.thumbprint) == (key.jwk, key.thumbprint)
    assert len(from_base64url(key.thumbprint)) == 32
    for other in rsa_key(), ec.generate_private_key(ec.SECP384R1()):
        with pytest.raises(ValueError, match="P-256"):
            AccountKey.load(key_pem(other))


def test_a_thumbprint_is_of_the_three_members_that_count() -> None:
    """RFC 7638 section 3; the key is the one of RFC 7517 appendix A.1."""
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(from_base64url("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"), "big"),
        int.from_bytes(from_base64url("4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"), "big"),
        ec.SECP256R1(),
    )
    secret = int.from_bytes(from_base64url("870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"), "big")
    key = AccountKey(ec.EllipticCurvePrivateNumbers(secret, numbers).private_key())
    assert key.thumbprint == "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"


def test_a_certificate_is_known_as_rfc_9773_has_it() -> None:
    """Section 4.1 has this example."""
    authority = Authority()
    key = ecdsa_key()
    aki = x509.AuthorityKeyIdentifier(
        bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4"), None, None
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(0x87654321)
        .not_valid_before(authority.certificate.not_valid_before_utc)
        .not_valid_after(authority.certificate.not_valid_after_utc)
        .add_extension(aki, critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    assert certificate_id(made) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


def test_a_request_bears_one_name() -> None:
    for kind, name in ("ecdsa", "*.example.org"), ("rsa", "192.0.2.7"):
        key = new_key(kind)  # type: ignore[arg-type]
        assert kind_of(key) == kind
        request = x509.load_der_x509_csr(signing_request(key, name))
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [str(each.value) for each in names] == [name]
        assert list(request.subject) == []
        if isinstance(key, rsa.RSAPrivateKey):
            assert key.key_size == 2048


@pytest.mark.parametrize(
    ("name", "seen_as"),
    [
        ("hub.example.org", "hub.example.org"),
        ("192.0.2.7", "7.2.0.192.in-addr.arpa"),
        ("2001:db8::1", "1" + ".0" * 23 + ".8.b.d.0.1.0.0.2.ip6.arpa"),
    ],
)
def test_an_address_is_asked_for_by_its_name_in_the_reverse_tree(name: str, seen_as: str) -> None:
    assert server_name(name) == seen_as


def test_base64url_has_no_padding() -> None:
    for content in b"", b"\xff", b"\xfb\xff", b"abc":
        assert "=" not in base64url(content)
        assert from_base64url(base64url(content)) == content


def test_a_signature_tells_the_algorithm_and_what_it_is_for() -> None:
    message = json.loads(AccountKey.make().signed({"nonce": "n", "url": "u"}, b"{}"))
    assert json.loads(from_base64url(message["protected"])) == {
        "alg": "ES256",
        "nonce": "n",
        "url": "u",
    }
    assert len(from_base64url(message["signature"])) == 64
