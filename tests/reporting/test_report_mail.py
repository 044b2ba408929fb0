"""The mail: its parts, its bytes, and real SMTP servers on loopback."""

from __future__ import annotations

import dataclasses
import email
import io
import logging
import ssl
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from wealthos_pipeline.core.errors import MailError
from wealthos_pipeline.reporting import mail
from wealthos_pipeline.reporting.export import Rendered
from wealthos_pipeline.utils.config import MailSettings

DAY = date(2022, 12, 28)
SECRET = "hunter2-secret"


@pytest.fixture
def rendered() -> Rendered:
    return Rendered(
        html='<p>Drawdown −3 %</p><img src="cid:nav">',
        text="Drawdown −3 %\n" + "x" * 200 + "\n",
        images={"nav": b"\x89PNG-nav", "ic": b"\x89PNG-ic"},
        interactive_html="<p>full</p>",
        date=DAY,
        run_id="20221228T213000Z-b2",
        status="complete",
        subject="WealthOS 2022-12-28: complete",
    )


def settings(**more: Any) -> MailSettings:
    base: dict[str, Any] = {
        "sender": "WealthOS <robot@example.org>",
        "to": ("pm@example.org", "risk@example.org"),
        "security": "none",
        "timeout_seconds": 5.0,
    }
    return MailSettings(**{**base, **more})


class Inbox:
    """Keeps what arrives; refuses recipients that say so."""

    def __init__(self) -> None:
        self.got: list[tuple[list[str], bytes, bool]] = []

    async def handle_RCPT(  # noqa: N802  the server's name for it
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        assert isinstance(envelope.content, bytes)
        self.got.append((envelope.rcpt_tos, envelope.content, session.ssl is not None))
        return "250 kept"


Serve = Callable[..., tuple[Inbox, int]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[Controller] = []

    def start(**options: Any) -> tuple[Inbox, int]:
        inbox = Inbox()
        controller = Controller(inbox, hostname="127.0.0.1", port=0, **options)
        # port 0: the system chooses; the controller's own probe needs the number
        import socket

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            controller.port = free.getsockname()[1]
        controller.start()
        running.append(controller)
        return inbox, controller.port

    yield start
    for controller in running:
        controller.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(server's context, client's context that trusts it), for 127.0.0.1."""
    x509 = pytest.importorskip("cryptography.x509", reason="cryptography is not installed")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem = made.public_bytes(serialization.Encoding.PEM)
    (folder / "cert.pem").write_bytes(pem)
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


def test_parts_of_the_message(rendered: Rendered) -> None:
    message = mail.compose(rendered, settings(), DAY)
    again = email.message_from_bytes(message.as_bytes(), policy=default)
    assert isinstance(again, EmailMessage)
    assert again["Subject"] == "WealthOS 2022-12-28: complete"
    assert again["To"] == "pm@example.org, risk@example.org"
    assert again.get_content_type() == "multipart/mixed"
    body, attached = again.get_payload()  # type: ignore[misc]
    assert body.get_content_type() == "multipart/alternative"
    plain, related = body.get_payload()
    assert plain.get_content().replace("\r\n", "\n") == rendered.text
    assert related.get_content_type() == "multipart/related"
    html, *images = related.get_payload()
    assert html.get_content().strip() == rendered.html
    found = {p["Content-ID"]: p.get_content() for p in images}
    assert found == {"<nav>": b"\x89PNG-nav", "<ic>": b"\x89PNG-ic"}
    assert all(p.get_content_disposition() == "inline" for p in images)
    assert attached.get_filename() == "wealthos-2022-12-28.html"


def test_a_large_page_is_zipped_the_same_way_every_time(rendered: Rendered) -> None:
    large = dataclasses.replace(rendered, interactive_html="plot " * 300_000)
    first, second = (mail.compose(large, settings(), DAY).as_bytes() for _ in range(2))
    assert first == second
    *_, attached = email.message_from_bytes(first, policy=default).iter_attachments()  # type: ignore[attr-defined]
    assert attached.get_filename() == "wealthos-2022-12-28.zip"
    with zipfile.ZipFile(io.BytesIO(attached.get_content())) as archive:
        assert archive.namelist() == ["wealthos-2022-12-28.html"]
        assert archive.read("wealthos-2022-12-28.html").decode() == large.interactive_html


def test_identity_follows_content_and_run(rendered: Rendered) -> None:
    one = mail.compose(rendered, settings(), DAY)
    assert one.as_bytes() == mail.compose(rendered, settings(), DAY).as_bytes()
    assert str(one["Message-ID"]).endswith("@example.org>")
    for other in (
        dataclasses.replace(rendered, run_id="another"),
        dataclasses.replace(rendered, text="else\n"),
        dataclasses.replace(rendered, images={"nav": b"x"}),
    ):
        assert mail.compose(other, settings(), DAY)["Message-ID"] != one["Message-ID"]
    later = mail.compose(rendered, settings(), DAY, now=datetime(2023, 1, 2, 7, tzinfo=UTC))
    assert later["Date"] == "Mon, 02 Jan 2023 07:00:00 +0000"
    assert one["Date"] == "Wed, 28 Dec 2022 22:00:00 +0000"


def test_the_date_is_in_the_subject_whatever_it_says(rendered: Rendered) -> None:
    plain = dataclasses.replace(rendered, subject="Morning note")
    assert mail.compose(plain, settings(), DAY)["Subject"] == "Morning note (2022-12-28)"


def test_an_address_with_a_line_break_is_refused(rendered: Rendered) -> None:
    with pytest.raises(MailError, match=r"mail\.sender and mail\.to"):
        mail.compose(rendered, settings(to=("a@b.org\nBcc: c@d.org",)), DAY)


def test_the_file_opens_as_the_message(tmp_path: Path, rendered: Rendered) -> None:
    message = mail.compose(rendered, settings(), DAY)
    path = mail.write_eml(message, tmp_path / "2022-12-28" / "report.eml")
    assert path.read_bytes() == message.as_bytes()
    assert b"\r\n" in path.read_bytes()
    assert [p.name for p in path.parent.iterdir()] == ["report.eml"]


def test_a_server_receives_what_was_composed(serve: Serve, rendered: Rendered) -> None:
    inbox, port = serve()
    chosen = settings(host="127.0.0.1", port=port)
    message = mail.compose(rendered, chosen, DAY)
    assert mail.send(message, chosen) == ("pm@example.org", "risk@example.org")
    ((to, content, secure),) = inbox.got
    assert to == ["pm@example.org", "risk@example.org"]
    assert not secure
    again = email.message_from_bytes(content, policy=default)
    assert again["Message-ID"] == message["Message-ID"]
    assert "Drawdown −3 %" in again.get_body(("plain",)).get_content()  # type: ignore[attr-defined]


def test_a_refused_recipient_is_logged_and_the_others_are_served(
    serve: Serve, rendered: Rendered, caplog: pytest.LogCaptureFixture
) -> None:
    inbox, port = serve()
    chosen = settings(host="127.0.0.1", port=port, to=("pm@example.org", "nobody@example.org"))
    with caplog.at_level(logging.WARNING):
        assert mail.send(mail.compose(rendered, chosen, DAY), chosen) == ("pm@example.org",)
    assert len(inbox.got) == 1
    assert "nobody@example.org" in caplog.text
    alone = settings(host="127.0.0.1", port=port, to=("nobody@example.org",))
    with pytest.raises(MailError, match=r"refused every recipient: nobody@example\.org"):
        mail.send(mail.compose(rendered, alone, DAY), alone)


def authenticator(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
) -> AuthResult:
    good = (
        isinstance(data, LoginPassword)
        and data.login == b"robot"
        and data.password == SECRET.encode()
    )
    return AuthResult(success=good, handled=False)


def test_starttls_and_login(
    serve: Serve, rendered: Rendered, certificate: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server, client = certificate
    inbox, port = serve(
        tls_context=server, require_starttls=True, authenticator=authenticator, auth_required=True
    )
    chosen = settings(
        host="127.0.0.1", port=port, security="starttls", user="robot", password=SECRET
    )
    message = mail.compose(rendered, chosen, DAY)
    assert mail.send(message, chosen, context=client) == chosen.to
    assert inbox.got[0][2], "the message did not travel under TLS"


def test_a_wrong_password_is_told_without_the_password(
    serve: Serve,
    rendered: Rendered,
    certificate: tuple[ssl.SSLContext, ssl.SSLContext],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, client = certificate
    inbox, port = serve(tls_context=server, require_starttls=True, authenticator=authenticator)
    chosen = settings(
        host="127.0.0.1", port=port, security="starttls", user="robot", password="wrong-but-secret"
    )
    message = mail.compose(rendered, chosen, DAY)
    with caplog.at_level(logging.DEBUG), pytest.raises(MailError) as raised:
        mail.send(message, chosen, context=client)
    text = str(raised.value)
    assert f"127.0.0.1:{port} refused the login of user 'robot' (code 535)" in text
    assert "WEALTHOS_MAIL__PASSWORD" in text
    assert "wrong-but-secret" not in text + repr(raised.value) + repr(chosen) + caplog.text
    assert raised.value.__cause__ is None
    assert inbox.got == []


def test_a_password_that_smtp_cannot_carry_is_not_shown(
    serve: Serve, rendered: Rendered, certificate: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server, client = certificate
    _, port = serve(tls_context=server, require_starttls=True, authenticator=authenticator)
    chosen = settings(
        host="127.0.0.1", port=port, security="starttls", user="robot", password="très-secret"
    )
    with pytest.raises(MailError, match="ASCII") as raised:
        mail.send(mail.compose(rendered, chosen, DAY), chosen, context=client)
    assert "secret" not in str(raised.value)


def test_an_unknown_certificate_is_refused(
    serve: Serve, rendered: Rendered, certificate: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server, _ = certificate
    inbox, port = serve(tls_context=server, require_starttls=True)
    chosen = settings(host="127.0.0.1", port=port, security="starttls")
    message = mail.compose(rendered, chosen, DAY)
    with pytest.raises(MailError, match=r"start TLS with 127\.0\.0\.1.*certificate"):
        mail.send(message, chosen)
    assert inbox.got == []


def test_a_server_without_starttls_gets_no_mail(serve: Serve, rendered: Rendered) -> None:
    inbox, port = serve()
    chosen = settings(host="127.0.0.1", port=port, security="starttls")
    with pytest.raises(MailError, match=r"could not start TLS with .*mail\.security"):
        mail.send(mail.compose(rendered, chosen, DAY), chosen)
    assert inbox.got == []


def test_tls_from_the_first_byte(
    serve: Serve, rendered: Rendered, certificate: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server, client = certificate
    inbox, port = serve(ssl_context=server)
    chosen = settings(host="127.0.0.1", port=port, security="tls")
    message = mail.compose(rendered, chosen, DAY)
    assert mail.send(message, chosen, context=client) == chosen.to
    assert len(inbox.got) == 1


def test_no_server_there_names_host_and_next_step(serve: Serve, rendered: Rendered) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    chosen = settings(host="127.0.0.1", port=port)
    with pytest.raises(MailError, match=rf"could not connect to 127\.0\.0\.1:{port}: .*mail\.port"):
        mail.send(mail.compose(rendered, chosen, DAY), chosen)


def test_without_a_host_nothing_is_sent(rendered: Rendered) -> None:
    with pytest.raises(MailError, match="WEALTHOS_MAIL__HOST"):
        mail.send(mail.compose(rendered, settings(), DAY), settings())


def test_the_full_page_is_attached_unless_it_is_turned_off(rendered: Rendered) -> None:
    with_page = mail.compose(rendered, settings(), DAY)
    without = mail.compose(rendered, settings(attach_interactive=False), DAY)
    assert [p.get_filename() for p in with_page.iter_attachments()] == ["wealthos-2022-12-28.html"]
    assert list(without.iter_attachments()) == []
    for message in (with_page, without):
        assert message.get_body(("plain",)) is not None
        assert message.get_body(("html",)) is not None
