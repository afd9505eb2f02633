"""Names the files that a page will load in the head of its answer: ``Link`` with ``preload``.

A browser learns of a page's scripts one after the other: JupyterLab's page names one script, which
loads two more, which load forty. Each step costs a round trip during which the line is idle. If the
page's head names all of them (RFC 8288, W3C Preload), the browser fetches them at once. 103 (RFC
8297) serves the same purpose, but browsers accept it over HTTP/2 and HTTP/3 only.

The largest file is named first, since it takes longest and its connection starts slowly. The others
follow in the order in which pages load them.

Knows which files the visitors of a page have asked for, whose requests count for that, and which
answers name the files. Knows nothing of connections, or of what is in the files.

Only clients that the notebook itself has let in can add a file or see one: a file counts only if a
client asks for it that has just got the page, and files are named only in an answer that is the
page. The browser still asks the notebook for each file.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Hashable, Iterable

from ipyproxy.gateway.labpage import files_of
from ipyproxy.http1.head import RequestHead
from ipyproxy.http1.lines import SpecialFields

LEARNING = 10.0
"""Seconds after a page within which files count as a part of it."""
LONGEST_HEAD = 8000
"""Most bytes of a page's field lines, this one included."""
LONGEST_HEAD_FOR_PROXIES = 4000
"""The same if another proxy stands between this one and the browser: by default, nginx refuses an
answer whose head has more than 4096 bytes."""
RENEWED_AFTER = 50
"""After so many visitors the list of files is learnt anew, since files go out of use."""
LONGEST_PAGE = 64 * 1024
"""Bytes of a page that are searched for the files that it names."""
_MOST_UPSTREAMS = 128
_MOST_PAGES = 4
_MOST_TEACHERS = 8
_MOST_FILES = 64
_LONGEST_FILE = 160

_DESTINATION = re.compile(
    rb"^sec-fetch-dest: (document|script|style)\r$", re.IGNORECASE | re.MULTILINE
)
# An answer of another type may be no file at all: perhaps a page that logs out its visitor.
_MEDIA = {
    b"script": rb"(?:text|application)/(?:x-)?(?:java|ecma)script",
    b"style": rb"text/css",
}
_IS_OF = {
    kind: re.compile(rb"^content-type:[ \t]*%b[ \t]*[;\r]" % media, re.IGNORECASE | re.MULTILINE)
    for kind, media in _MEDIA.items()
}
_NO_CORS = re.compile(rb"^sec-fetch-mode: no-cors\r$", re.IGNORECASE | re.MULTILINE)
# No query but the version of a file: other queries may hold a secret of the client that asked. Two
# slashes at the beginning would name another host.
_FILE = re.compile(rb"/(?!/)[A-Za-z0-9._~@%+/-]+(?:\?v=[0-9A-Za-z._-]{1,64})?")


class _Page:
    """What is known of one page.

    :ivar files: each file with the type that it was asked for as, in the order of the first
        requests.
    :ivar largest: the largest file, and its size in bytes.
    :ivar teachers: the clients that have got the page, and until when their requests count.
    :ivar told: how many visitors got a head that names the files.
    """

    __slots__ = ("_directory", "files", "largest", "teachers", "told")

    def __init__(self, path: bytes) -> None:
        self._directory = path[: path.rfind(b"/") + 1]
        self.files: dict[bytes, bytes] = {}
        self.largest = (b"", 0)
        self.teachers: dict[str, float] = {}
        self.told = 0

    def given_to(self, client: str, until: float) -> None:
        self.teachers.pop(client, None)
        if len(self.teachers) >= _MOST_TEACHERS:
            del self.teachers[next(iter(self.teachers))]
        self.teachers[client] = until

    def learn(self, target: bytes, kind: bytes, size: int) -> None:
        if len(self.files) < _MOST_FILES and len(target) <= _LONGEST_FILE:
            self.files.setdefault(target, kind)
            if size > self.largest[1]:
                self.largest = target, size

    def line(self, room: int) -> bytes:
        """The field line that names the first files, in ``room`` bytes; empty if none fits."""
        if self.told >= RENEWED_AFTER:
            self.files.clear()
            self.largest = (b"", 0)
            self.told = 0
        first = self.largest[0]
        files = sorted(self.files.items(), key=lambda file: file[0] != first)
        line = _line(((_reference(self._directory, target), kind) for target, kind in files), room)
        if line:
            self.told += 1
        return line


def _reference(directory: bytes, target: bytes) -> bytes:
    """The shortest reference from a page in ``directory`` to ``target``."""
    near = target.removeprefix(directory)
    return target if near.startswith(b"/") else near


def _line(files: Iterable[tuple[bytes, bytes]], room: int) -> bytes:
    """The field line that names as many of ``files`` as fit; empty if none does.

    :param files: the address of each, and the type that it is asked for as.
    """
    room -= len(b"Link: \r\n")
    links = []
    for address, kind in files:
        link = b"<%b>;rel=preload;as=%b" % (address, kind)
        room -= len(link) + len(b", ")
        if room < 0:
            break
        links.append(link)
    return b"Link: %b\r\n" % b", ".join(links) if links else b""


class Preloads:
    """The pages of all upstreams."""

    def __init__(self) -> None:
        self._upstreams: OrderedDict[Hashable, OrderedDict[bytes, _Page]] = OrderedDict()
        self.learning_until = 0.0
        """Until when small files are looked at too: they may be a part of a page."""

    def answered(
        self,
        owner: Hashable,
        asked: RequestHead,
        public: bytes,
        answer: SpecialFields,
        fields: bytes,
        client: str,
        now: float,
        size: int,
        longest: int,
    ) -> bytes | None:
        """Learn from an answer with status 200 to ``client``, and add the files if it is a page.

        :param owner: the upstream that answers.
        :param public: the origin that the request was addressed to.
        :param answer: the parsed fields of the answer.
        :param fields: all field lines of the answer.
        :param size: bytes of the answer's body before compression; 0 if not known.
        :param longest: most bytes of the field lines.
        :returns: ``fields``, with one more if files are known; None if it is a page of which
            nothing is known yet: then :meth:`named_by` finds the files that the page itself names.
        """
        if asked.method != b"GET":
            return fields
        kinds: list[bytes] = _DESTINATION.findall(asked.fields.plain)
        if len(kinds) != 1:
            return fields
        kind = kinds[0].lower()
        if kind == b"document":
            media = (answer.first(b"content-type") or b"").partition(b";")[0]
            if media.strip(b" \t").lower() == b"text/html":
                page = self._page(owner, public, asked.target.partition(b"?")[0])
                self.learning_until = now + LEARNING
                page.given_to(client, self.learning_until)
                return fields + page.line(longest - len(fields)) if page.files else None
        elif b"no-store" not in answer.tokens(b"cache-control") and _IS_OF[kind].search(fields):
            wanting = self._page_of(owner, asked)
            if wanting is not None and wanting.teachers.get(client, now) > now:
                wanting.learn(asked.target, kind, size)
        return fields

    def named_by(self, page: bytes, room: int) -> bytes:
        """The field line, of at most ``room`` bytes, for the files that a page itself names.

        :param page: the beginning of the page.
        """
        files = [file for file in files_of(page[:LONGEST_PAGE]) if self._may_be_named(file)]
        return _line(((file, b"script") for file in files), room)

    @staticmethod
    def _may_be_named(file: bytes) -> bool:
        return len(file) <= _LONGEST_FILE and _FILE.fullmatch(file) is not None

    def _page(self, owner: Hashable, public: bytes, path: bytes) -> _Page:
        pages = self._upstreams.setdefault(owner, OrderedDict())
        self._upstreams.move_to_end(owner)
        if len(self._upstreams) > _MOST_UPSTREAMS:
            self._upstreams.popitem(last=False)
        address = public + path
        page = pages.setdefault(address, _Page(path))
        pages.move_to_end(address)
        if len(pages) > _MOST_PAGES:
            pages.popitem(last=False)
        return page

    def _page_of(self, owner: Hashable, asked: RequestHead) -> _Page | None:
        """The page that the ``asked`` file is a part of; None if it is not to be named."""
        pages = self._upstreams.get(owner)
        fields = asked.fields
        if pages is None or len(fields.loose) != 1 or not _FILE.fullmatch(asked.target):
            return None
        if fields.special.values_of(b"sec-fetch-site") != [b"same-origin"]:
            return None
        if not _NO_CORS.search(fields.plain):
            return None
        return pages.get(fields.loose[0].partition(b"#")[0].partition(b"?")[0])

    def drop(self, owner: Hashable) -> None:
        """Forget the pages of ``owner``: another process has its port."""
        self._upstreams.pop(owner, None)
