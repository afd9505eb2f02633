"""JupyterLab through the proxy, as a Python client uses it: log in, files, kernels, terminals."""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from http.cookies import SimpleCookie

import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import CloseCode

from .client import Client, read_to_end
from .jupyter import ON_PURPOSE, Classic, Lab
from .kernels import V1, channels, kernel_socket
from .processes import poll, reset

pytestmark = pytest.mark.integration

#: Origins that are not the proxy's own; ``{port}`` stands for its port.
FOREIGN_ORIGINS = [
    "https://evil.example",
    "https://localhost.evil.example:{port}",
    "http://localhost:{port}",
    "https://localhost",
    "https://localhost.:{port}",
    "null",
]

#: Cells that offer each framing, with and without compression.
OFFERS = pytest.mark.parametrize(
    ("subprotocols", "deflate"),
    [((), False), ((), True), ((V1,), False), ((V1,), True)],
    ids=["default", "default+deflate", "v1", "v1+deflate"],
)

#: Shows megabytes that do not compress well, one to a message.
MEGABYTES = """
from random import Random
for seed in range({count}):
    display({'text/plain': Random(seed).randbytes(500_000).hex()}, raw=True)
"""


class TestLoggingIn:
    def test_without_credentials_a_page_leads_to_the_login_form(self, guest: Client) -> None:
        answer = guest.request("GET", "lab", expect=302)
        assert answer.headers["location"].startswith(guest.path("login?next="))

    def test_a_token_in_the_header_is_enough(self, client: Client) -> None:
        assert client.request("GET", "api/status").json()["kernels"] >= 0

    def test_a_token_in_the_url_logs_in_for_good(self, guest: Client, lab: Lab) -> None:
        guest.request("GET", f"lab?token={lab.token}")
        assert guest.logged_in()

    def test_a_wrong_token_is_refused_by_jupyter(self, guest: Client) -> None:
        answer = guest.request("GET", f"api/status?token=wrong&{ON_PURPOSE}", expect=403)
        assert answer.json()["message"] == "Forbidden"

    def test_the_form_takes_a_token_for_a_password(self, guest: Client, lab: Lab) -> None:
        assert not guest.logged_in()
        answer = guest.log_in(lab.token, next_page=guest.path("lab?reset"))
        assert answer.status_code == 302, answer.text
        assert answer.headers["location"] == guest.path("lab?reset")
        assert guest.logged_in()

    def test_a_wrong_password_is_refused(self, guest: Client) -> None:
        assert guest.log_in("wrong").status_code == 401
        assert not guest.logged_in()

    def test_the_login_cookie_keeps_to_its_route(self, guest: Client, lab: Lab) -> None:
        answer = guest.log_in(lab.token)
        cookies = SimpleCookie(answer.headers["set-cookie"])
        cookie = cookies[f"username-127-0-0-1-{lab.port}"]
        assert cookie["path"] == lab.base_url
        assert cookie["secure"] is True
        assert cookie["httponly"] is True
        assert cookie["domain"] == ""


class TestFiles:
    def test_a_notebook_is_created_and_saved(self, member: Client) -> None:
        created = member.request("POST", "api/contents", json={"type": "notebook"}).json()
        content = created.get("content") or {"cells": [], "metadata": {}}
        model = {"type": "notebook", "content": {**content, "nbformat": 4, "nbformat_minor": 5}}
        path = f"api/contents/{created['path']}"
        assert member.request("PUT", path, json=model).json()["type"] == "notebook"
        assert member.request("GET", path).json()["content"]["cells"] == []
        member.request("DELETE", path, expect=204)

    @pytest.mark.parametrize(
        "name", ["two words.bin", "100%.bin", "50%25.bin", "#1.bin", "größer.bin", "a+b;c=d&e.bin"]
    )
    def test_odd_names_arrive_as_they_are(self, member: Client, lab: Lab, name: str) -> None:
        content = name.encode() * 100
        member.save(name, content)
        assert (lab.root / name).read_bytes() == content
        assert member.load(name) == content

    def test_20_megabytes_come_and_go_whole(self, client: Client, lab: Lab) -> None:
        content = random.Random(20).randbytes(20_000_000)
        client.save("big.bin", content)
        digest = hashlib.sha256(content).hexdigest()
        assert hashlib.sha256((lab.root / "big.bin").read_bytes()).hexdigest() == digest
        assert hashlib.sha256(client.load("big.bin")).hexdigest() == digest

    def test_a_body_of_unknown_length_arrives_whole(self, client: Client, lab: Lab) -> None:
        chunks = [b'{"type": "file", "format": "text", "content": "', b"x" * 100_000, b'"}']
        client.request("PUT", "api/contents/chunked.txt", content=iter(chunks))
        assert (lab.root / "chunked.txt").read_bytes() == b"x" * 100_000

    def test_a_part_of_a_file_can_be_had(self, client: Client) -> None:
        client.save("digits.txt", b"0123456789")
        answer = client.request("GET", "files/digits.txt", headers={"Range": "bytes=2-4"})
        assert (answer.status_code, answer.content) == (206, b"234")

    def test_what_the_browser_has_already_is_not_sent_again(self, guest: Client) -> None:
        first = guest.request("GET", "static/favicon.ico")
        headers = {"If-Modified-Since": first.headers["last-modified"]}
        again = guest.request("GET", "static/favicon.ico", headers=headers, expect=304)
        assert again.content == b""
        assert again.headers["last-modified"] == first.headers["last-modified"]


class TestKernels:
    @OFFERS
    def test_cells_run(
        self, client: Client, kernel: str, subprotocols: tuple[str, ...], deflate: bool
    ) -> None:
        with kernel_socket(client, kernel, subprotocols=subprotocols, deflate=deflate) as channel:
            outcome = channel.run("print(6 * 7); 'größer'")
            # The proxy promises exactly what Jupyter does; it declines compression by default.
            assert channel.connection.subprotocol == (subprotocols[0] if subprotocols else None)
            assert channel.connection.protocol.extensions == []
        assert (outcome.status, outcome.stdout) == ("ok", "42\n")
        assert outcome.displayed == [{"text/plain": "'größer'"}]

    @OFFERS
    def test_cells_run_on_a_server_that_compresses(
        self,
        galaxy_user: Client,
        classic: Classic,
        subprotocols: tuple[str, ...],
        deflate: bool,
    ) -> None:
        galaxy_user.log_in(classic.password)
        kernel_id = galaxy_user.start_kernel()
        with kernel_socket(
            galaxy_user,
            kernel_id,
            origin=galaxy_user.origin,
            subprotocols=subprotocols,
            deflate=deflate,
        ) as channel:
            outcome = channel.run("print('again ' * 100_000)")
            extensions = [used.name for used in channel.connection.protocol.extensions]
        assert extensions == (["permessage-deflate"] if deflate else [])
        assert outcome.stdout == "again " * 100_000 + "\n"
        galaxy_user.request("DELETE", f"api/kernels/{kernel_id}", expect=204)

    @pytest.mark.parametrize("megabytes", [10, pytest.param(100, marks=pytest.mark.soak)])
    @pytest.mark.parametrize("subprotocols", [(), (V1,)], ids=["default", "v1"])
    def test_megabytes_of_output_arrive_whole(
        self, client: Client, kernel: str, subprotocols: tuple[str, ...], megabytes: int
    ) -> None:
        with kernel_socket(client, kernel, subprotocols=subprotocols) as channel:
            outcome = channel.run(MEGABYTES.replace("{count}", str(megabytes)))
        assert outcome.status == "ok"
        written = [data["text/plain"] for data in outcome.displayed]
        assert written == [
            random.Random(seed).randbytes(500_000).hex() for seed in range(megabytes)
        ]

    def test_a_cell_of_4_megabytes_arrives_whole(self, client: Client, kernel: str) -> None:
        text = random.Random(4).randbytes(2_000_000).hex()
        code = f"import hashlib; print(hashlib.sha256({text!r}.encode()).hexdigest())"
        with kernel_socket(client, kernel, subprotocols=(V1,)) as channel:
            outcome = channel.run(code)
        assert outcome.stdout.strip() == hashlib.sha256(text.encode()).hexdigest()

    def test_a_running_cell_is_interrupted(self, member: Client, kernel: str) -> None:
        with kernel_socket(member, kernel, origin=member.origin) as channel:
            cell = channel.start("import sys, time\nsys.stdout.write('busy\\n')\ntime.sleep(600)")
            assert channel.wait_for_stdout(cell) == "busy\n"
            member.interrupt(kernel)
            outcome = channel.finish(cell)
        assert (outcome.status, outcome.error) == ("error", "KeyboardInterrupt")

    def test_a_restarted_kernel_has_forgotten_everything(self, member: Client, kernel: str) -> None:
        with kernel_socket(member, kernel, origin=member.origin) as channel:
            assert channel.run("before = 1").status == "ok"
            member.restart(kernel)
            assert channel.info()["content"]["status"] == "ok"
        with kernel_socket(member, kernel, origin=member.origin) as channel:
            assert channel.run("before").error == "NameError"


class TestLeaving:
    """Old images shut themselves down once nobody is connected, so Jupyter must notice."""

    def test_a_closed_channel_is_closed_to_jupyter(self, client: Client) -> None:
        kernel_id = client.start_kernel()
        with kernel_socket(client, kernel_id) as channel:
            channel.info()
            assert client.connections(kernel_id) == 1
        poll(lambda: client.connections(kernel_id) == 0 or None, seconds=10, waiting_for="a close")
        client.request("DELETE", f"api/kernels/{kernel_id}", expect=204)

    def test_a_lost_channel_is_closed_to_jupyter(self, client: Client) -> None:
        kernel_id = client.start_kernel()
        with kernel_socket(client, kernel_id) as channel:
            channel.info()
            assert client.connections(kernel_id) == 1
            reset(channel.connection.socket)
            poll(
                lambda: client.connections(kernel_id) == 0 or None,
                seconds=10,
                waiting_for="a close",
            )
        client.request("DELETE", f"api/kernels/{kernel_id}", expect=204)


class TestOtherWebSockets:
    def test_a_terminal_echoes(self, member: Client) -> None:
        name = member.request("POST", "api/terminals").json()["name"]
        path = f"terminals/websocket/{name}"
        with member.websocket(path, origin=member.origin) as terminal:
            terminal.send(json.dumps(["stdin", "echo $((6 * 7))-answered\r"]))
            shown = ""
            while "42-answered" not in shown:
                kind, *rest = json.loads(terminal.recv(timeout=30))
                shown += rest[0] if kind == "stdout" else ""
        member.request("DELETE", f"api/terminals/{name}", expect=204)

    def test_a_terminal_that_ends_closes_its_websocket(self, member: Client) -> None:
        name = member.request("POST", "api/terminals").json()["name"]
        path = f"terminals/websocket/{name}"
        with member.websocket(path, origin=member.origin) as terminal:
            terminal.send(json.dumps(["stdin", "exit\r"]))
            last, code = read_to_end(terminal)
        assert json.loads(last) == ["disconnect", 1]
        # Jupyter closes without a code, and so does the proxy.
        assert code == CloseCode.NO_STATUS_RCVD

    def test_events_are_told(self, member: Client) -> None:
        with member.websocket("api/events/subscribe", origin=member.origin) as events:
            member.save("told.txt", b"news")
            while True:
                event = json.loads(events.recv(timeout=30))
                if event.get("path") == "told.txt" and event["action"] == "save":
                    break


class TestOrigins:
    def test_a_page_of_the_proxys_own_origin_passes(self, member: Client, kernel: str) -> None:
        with kernel_socket(member, kernel, origin=member.origin) as channel:
            assert channel.run("1 + 1").displayed == [{"text/plain": "2"}]

    def test_a_program_without_an_origin_passes(self, member: Client, kernel: str) -> None:
        with kernel_socket(member, kernel) as channel:
            assert channel.run("1 + 1").displayed == [{"text/plain": "2"}]

    @pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
    def test_a_foreign_page_opens_no_websocket(
        self, member: Client, lab: Lab, kernel: str, origin: str
    ) -> None:
        origin = origin.format(port=member.http.base_url.port)
        visit = uuid.uuid4().hex
        with (
            pytest.raises(InvalidStatus) as refused,
            member.websocket(f"{channels(kernel)}&visit={visit}", origin=origin),
        ):
            pass
        assert refused.value.response.status_code == 403
        assert visit not in lab.settled_log(), "Jupyter has seen it"

    @pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
    def test_a_foreign_page_posts_nothing(
        self, member: Client, client: Client, lab: Lab, origin: str
    ) -> None:
        headers = {"Origin": origin.format(port=member.http.base_url.port)}
        for sender in (member, client):
            visit = uuid.uuid4().hex
            sender.request("POST", f"api/contents?visit={visit}", headers=headers, expect=403)
            assert visit not in lab.settled_log(), "Jupyter has seen it"

    def test_jupyter_names_the_public_origin_to_the_page(self, client: Client) -> None:
        """Jupyter answers a token with the Origin it has seen, which is not the browser's."""
        answer = client.request("GET", "api/contents", headers={"Origin": client.origin})
        assert answer.headers["access-control-allow-origin"] == client.origin

    def test_a_form_of_a_page_without_referrer_passes(self, member: Client) -> None:
        headers = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
        del member.http.headers["Referer"]
        member.request("POST", "api/contents", json={"type": "file"}, headers=headers)

    def test_a_file_shown_in_an_own_page_passes_by_its_referer(self, member: Client) -> None:
        member.save("picture.bin", b"pixels")
        del member.http.headers["X-XSRFToken"], member.http.headers["Origin"]
        assert member.load("picture.bin") == b"pixels"

    def test_a_file_shown_in_a_foreign_page_is_refused_by_jupyter(self, member: Client) -> None:
        name = f"{ON_PURPOSE}.bin"
        member.save(name, b"pixels")
        del member.http.headers["X-XSRFToken"], member.http.headers["Origin"]
        headers = {"Referer": f"https://evil.example/{ON_PURPOSE}"}
        member.request("GET", f"files/{name}", headers=headers, expect=403)


class TestRefusals:
    """What Jupyter refuses, it refuses itself, and its own words come through."""

    def test_a_websocket_of_an_unknown_kernel(self, member: Client) -> None:
        with (
            pytest.raises(InvalidStatus) as refused,
            member.websocket(channels(str(uuid.uuid4())), origin=member.origin),
        ):
            pass
        assert refused.value.response.status_code == 404

    def test_a_websocket_without_credentials(self, guest: Client, lab: Lab, kernel: str) -> None:
        path = f"{channels(kernel)}&{ON_PURPOSE}"
        with (
            pytest.raises(InvalidStatus) as refused,
            guest.websocket(path, origin=guest.origin),
        ):
            pass
        assert refused.value.response.status_code == 403
        assert f"403 GET {guest.path(path)}" in lab.settled_log()
