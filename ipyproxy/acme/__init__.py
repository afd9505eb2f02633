"""Certificates from an authority that speaks ACME (RFC 8555), got and renewed without anybody.

Loaded only where ``tls.acme`` is on. The modules, from below: :mod:`jose` signs, :mod:`material`
makes keys and requests, :mod:`documents` reads what the authority says, :mod:`renewal` decides when
to ask, :mod:`account` signs requests and :mod:`client` makes them, :mod:`web` carries them over
HTTPS, :mod:`store` keeps what was got and :mod:`standing` tells how it is with each name,
:mod:`proofs` proves whose a name is, :mod:`errands` does what else people ask for, and
:mod:`keeper` sees to it that each name has its certificate.
Knows nothing of the configuration, or of how a certificate is served.
"""
