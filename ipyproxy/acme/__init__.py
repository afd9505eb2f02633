"""Gets certificates from an authority by ACME (RFC 8555), and renews them automatically.

Loaded only if ``tls.acme`` is on. The modules, from the bottom up: :mod:`jose` signs,
:mod:`material` makes keys and certificate requests, :mod:`documents` parses the authority's
answers, :mod:`renewal` decides when to ask, :mod:`account` signs requests and :mod:`client` makes
them, :mod:`web` sends them over HTTPS, :mod:`store` has the files, :mod:`standing` the state of
each name, :mod:`proofs` answers challenges, :mod:`errands` does other things that people ask for,
and :mod:`keeper` makes sure that each name has its certificate. Knows nothing of the configuration,
or of how a certificate is served.
"""
