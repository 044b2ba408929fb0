"""The morning e-mail: composed, kept as ``.eml``, handed to a mail server."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import smtplib
import ssl
import zipfile
from datetime import UTC, date, datetime, time
from datetime import date as date_
from email.message import EmailMessage, Message
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from pathlib import Path

from wealthos_pipeline.core.errors import MailError, StorageError
from wealthos_pipeline.reporting.export import Rendered
from wealthos_pipeline.utils.config import MailSettings

LOG = logging.getLogger(__name__)

LARGE = 1_000_000
"""Bytes from which the interactive page is attached as a zip file."""


def compose(
    rendered: Rendered,
    settings: MailSettings,
    date: date,
    *,
    now: datetime | None = None,
    attached: date_ | None = None,
) -> EmailMessage:
    """The message: plain text, or HTML with its charts, and the interactive page attached if
    ``settings.attach_interactive``.

    date: of the subject. attached: of the interactive page where that is another. now: for the Date header (UTC); None: 22:00 UTC of ``date``. The same
    arguments give the same bytes: Message-ID and boundaries come from the content and the run id.
    MailError for addresses that cannot stand in a header.
    """
    digest = _digest(rendered)
    message = EmailMessage(policy=SMTP)
    try:
        message["Subject"] = (
            rendered.subject
            if date.isoformat() in rendered.subject
            else f"{rendered.subject} ({date.isoformat()})"
        )
        message["From"] = settings.sender
        message["To"] = ", ".join(settings.to)
    except (ValueError, IndexError) as error:
        raise MailError(
            f"the mail's addresses cannot be used: {error}. Check mail.sender and mail.to."
        ) from error
    message["Date"] = format_datetime(now or datetime.combine(date, time(22), tzinfo=UTC))
    domain = parseaddr(settings.sender)[1].rpartition("@")[2] or "localhost"
    message["Message-ID"] = f"<{digest[:32]}@{domain}>"
    message["X-WealthOS-Run"] = rendered.run_id
    message.set_content(rendered.text)
    message.add_alternative(rendered.html, subtype="html")
    html = message.get_payload()[1]  # type: ignore[index]
    assert isinstance(html, EmailMessage)
    for name, png in rendered.images.items():
        html.add_related(
            png, "image", "png", cid=f"<{name}>", filename=f"{name}.png", disposition="inline"
        )
    if settings.attach_interactive and rendered.interactive_html:
        name, kind, content = _attachment(rendered, attached or date)
        main = "application" if kind == "zip" else "text"
        message.add_attachment(content, main, kind, filename=name)
    for i, part in enumerate(p for p in message.walk() if p.is_multipart()):
        part.set_boundary(f"=_{digest[:24]}_{i}")
    return message


def _digest(rendered: Rendered) -> str:
    body = hashlib.blake2b(digest_size=16)
    parts = (rendered.run_id.encode(), rendered.html.encode(), rendered.text.encode())
    for part in (*parts, *rendered.images.values(), rendered.interactive_html.encode()):
        body.update(len(part).to_bytes(8, "little"))
        body.update(part)
    return body.hexdigest()


def _attachment(rendered: Rendered, day: date) -> tuple[str, str, bytes]:
    page = rendered.interactive_html.encode()
    stem = f"wealthos-{day.isoformat()}"
    if len(page) < LARGE:
        return f"{stem}.html", "html", page
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        member = zipfile.ZipInfo(f"{stem}.html", date_time=(1980, 1, 1, 0, 0, 0))
        member.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(member, page)
    return f"{stem}.zip", "zip", out.getvalue()


def write_eml(message: Message, path: Path | str) -> Path:
    """Keep the message as a file that mail programs open. StorageError if it cannot be written."""
    at = Path(path)
    aside = at.with_name(f".{at.name}.tmp")
    try:
        at.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(message.as_bytes())
        os.replace(aside, at)  # noqa: PTH105  one rename
    except OSError as error:
        raise StorageError(
            f"the mail cannot be written to {at}: {error.strerror or error}"
        ) from error
    return at


def deliver(message: EmailMessage, settings: MailSettings, path: Path) -> tuple[Path, str]:
    """Keep the message at ``path``, and send it when a server is set: the file, and one sentence
    about the delivery."""
    write_eml(message, path)
    if settings.host is None:
        return path, "not sent: WEALTHOS_MAIL__HOST is not set"
    return path, f"sent to {', '.join(send(message, settings))}"


def send(
    message: EmailMessage, settings: MailSettings, *, context: ssl.SSLContext | None = None
) -> tuple[str, ...]:
    """Hand the message to the server of ``settings``; the addresses that it accepted.

    context: for TLS; None: the system's certificates and host name checks. MailError names server,
    step and what to do, never a password. Addresses that the server refuses while it accepts
    others are logged.
    """
    if settings.host is None:
        raise MailError(
            "no mail server is set, so the message was not sent. Set WEALTHOS_MAIL__HOST (and _PORT, "
            "_USER, _PASSWORD, _SECURITY); the message lies beside the report as report.eml."
        )
    where = f"{settings.host}:{settings.port}"
    step = "connect to"
    try:
        with _connect(settings, context) as server:
            if settings.security == "starttls":
                step = "start TLS with"
                server.starttls(context=context or ssl.create_default_context())
            if settings.user is not None:
                step = "log in to"
                secret = settings.password.get_secret_value() if settings.password else ""
                server.login(settings.user, secret)
            step = "send through"
            refused = server.send_message(message, settings.sender, list(settings.to))
    except smtplib.SMTPAuthenticationError as error:
        raise MailError(
            f"{where} refused the login of user {settings.user!r} (code {error.smtp_code}). Check "
            "WEALTHOS_MAIL__USER and WEALTHOS_MAIL__PASSWORD; some providers want an app password."
        ) from None
    except smtplib.SMTPRecipientsRefused as error:
        raise MailError(
            f"{where} refused every recipient: {', '.join(sorted(error.recipients))}. Check mail.to."
        ) from None
    except UnicodeError:
        raise MailError(
            f"could not {step} {where}: the user or the password holds a character that SMTP cannot "
            "carry. Choose a password of ASCII characters (an app password, say)."
        ) from None
    except ssl.SSLError as error:
        raise MailError(
            f"could not {step} {where}: {error.reason or error}. Check mail.security ({settings.security}) "
            "against the port, and the server's certificate."
        ) from None
    except (smtplib.SMTPException, OSError) as error:
        raise MailError(
            f"could not {step} {where}: {_without_secret(_words(error), settings)}. Check mail.host, "
            f"mail.port and mail.security ({settings.security})."
        ) from None
    if refused:
        LOG.warning("%s refused: %s", where, ", ".join(sorted(refused)))
    return tuple(a for a in settings.to if a not in refused)


def _connect(settings: MailSettings, context: ssl.SSLContext | None) -> smtplib.SMTP:
    assert settings.host is not None
    if settings.security == "tls":
        return smtplib.SMTP_SSL(
            settings.host,
            settings.port,
            timeout=settings.timeout_seconds,
            context=context or ssl.create_default_context(),
        )
    return smtplib.SMTP(settings.host, settings.port, timeout=settings.timeout_seconds)


def _words(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        said = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        return f"{error.smtp_code} {said}"
    return str(error) or type(error).__name__


def _without_secret(text: str, settings: MailSettings) -> str:
    secret = settings.password.get_secret_value() if settings.password else ""
    return text.replace(secret, "********") if secret else text
