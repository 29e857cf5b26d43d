"""A real SMTP server (aiosmtpd) that requires TLS and a password, and prints each mail as a line of JSON.

Arguments: `starttls` or `tls`, the certificate file, the key file, the password. The local part of a recipient
determines what happens to a mail: `never-…` is always refused, `later-…` only the first time, `busy-…` each time as a
temporary failure, `spam-…` for its content; at `drop-…` the connection ends. The sender `patience@…` is refused three
times.
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

mode, certificate, key, password = sys.argv[1:]
seen = set()
senders = []


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("never-"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("later-") and address not in seen:
            seen.add(address)
            return "451 4.3.0 try again"
        if address.startswith("busy-"):
            return "450 4.2.0 mailbox busy"
        if address.startswith("drop-"):
            server.transport.abort()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_MAIL(self, server, session, envelope, address, options):
        senders.append(address)
        if address.startswith("patience@") and len(senders) <= 3:
            return "550 5.7.1 not yet"
        envelope.mail_from = address
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if envelope.rcpt_tos[0].startswith("spam-"):
            return "554 5.7.1 spam"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        mail = {
            "to": envelope.rcpt_tos,
            "from": envelope.mail_from,
            "tls": session.ssl is not None,
            "headers": {name.lower(): str(value) for name, value in message.items()},
            "text": message.get_body(("plain",)).get_content(),
            "html": message.get_body(("html",)).get_content(),
        }
        print(json.dumps(mail), flush=True)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    success = (data.login, data.password) == (b"mail user", password.encode())
    return AuthResult(success=success, handled=success)  # the library answers a failure


async def serve():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    def session():
        return SMTP(
            Handler(),
            authenticator=authenticate,
            auth_required=True,
            # With TLS from the first byte, the library does not know that there is TLS.
            auth_require_tls=mode == "starttls",
            tls_context=context if mode == "starttls" else None,
            require_starttls=mode == "starttls",
        )

    server = await asyncio.get_running_loop().create_server(
        session, "127.0.0.1", 0, ssl=context if mode == "tls" else None
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    # Standard input ends when the test ends.
    await asyncio.to_thread(sys.stdin.read)


asyncio.run(serve())
