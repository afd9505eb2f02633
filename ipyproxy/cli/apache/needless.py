"""Directives that need no translation, each with the reason."""

from __future__ import annotations

_TLS = "TLS 1.2 and 1.3 with Mozilla's intermediate suites; see tls.profile"
_ALWAYS = "this is always so"
_PROCESS = "the service is one process, which systemd starts as its own user"
_LOG = "the journal has it; see [log]"
_WORDS = "the proxy says nothing of itself"
_COMPILED_IN = "nothing has to be loaded"
_STAPLING = "certificate authorities have given stapling up"
_STANDARD = "the kernel and [timeouts] see to that"

NEEDLESS: dict[str, str] = {
    "allowencodedslashes": "paths go on byte for byte",
    "accessfilename": "no .htaccess is read",
    "acceptfilter": _STANDARD,
    "authname": "browsers are told the host's name",
    "customlog": _LOG,
    "defaultruntimedir": _PROCESS,
    "define": "its value was put in",
    "enablemmap": _STANDARD,
    "enablesendfile": _STANDARD,
    "errorlog": _LOG,
    "errorlogformat": _LOG,
    "expiresactive": "max_age of a route says it",
    "group": _PROCESS,
    "hostnamelookups": _LOG,
    "keepalive": _ALWAYS,
    "listenbacklog": "listen.backlog",
    "loadmodule": _COMPILED_IN,
    "logformat": "log.format is combined or json",
    "loglevel": _LOG,
    "maxkeepaliverequests": _STANDARD,
    "maxrequestworkers": "limits.connections",
    "maxconnectionsperchild": _PROCESS,
    "minsparethreads": _PROCESS,
    "maxsparethreads": _PROCESS,
    "mutex": _PROCESS,
    "pidfile": _PROCESS,
    "protocols": "browsers are offered what the proxy speaks",
    "proxypassreverse": "Location and the like are made public ones",
    "proxypassreversecookiedomain": "cookies stay at the host",
    "proxypassreversecookiepath": "cookies stay as they are, and a notebook's below its path",
    "proxyvia": "Via is always sent",
    "reqtimeout": "timeouts.head and limits.body_rate",
    "requestreadtimeout": "timeouts.head and limits.body_rate",
    "rewriteengine": "rules are taken one by one",
    "runtimedir": _PROCESS,
    "serveradmin": "no page names anybody",
    "serverlimit": _PROCESS,
    "serverroot": _PROCESS,
    "serversignature": _WORDS,
    "servertokens": _WORDS,
    "sslciphersuite": _TLS,
    "sslcompression": "there is none",
    "sslengine": "there is no other way than TLS",
    "sslhonorcipherorder": _TLS,
    "sslopensslconfcmd": _TLS,
    "sslprotocol": _TLS,
    "sslproxyengine": "an address in to that begins with https:// says so",
    "sslrandomseed": _TLS,
    "sslsessioncache": _TLS,
    "sslsessioncachetimeout": _TLS,
    "sslsessiontickets": _TLS,
    "sslstaplingcache": _STAPLING,
    "sslstaplingrespondertimeout": _STAPLING,
    "sslstaplingreturnrespondererrors": _STAPLING,
    "sslusestapling": _STAPLING,
    "sslverifydepth": "a chain is as long as it is",
    "startservers": _PROCESS,
    "threadlimit": _PROCESS,
    "threadsperchild": _PROCESS,
    "traceenable": "TRACE is always refused",
    "typesconfig": "the table of types is built in",
    "usecanonicalname": "the name that the browser asked for counts, after it was checked",
    "user": _PROCESS,
    "xsendfile": "sendfile of a route says from where",
}
"""The reason, by the directive's name in lower case."""
