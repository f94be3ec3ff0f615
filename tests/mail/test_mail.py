"""Mail as a real SMTP server receives it, and codes as people type them from it.

A `rookery dev` serves as the did:plc directory; the server under test is a `rookery serve` with a configuration file, as
an operator writes it.
"""

import email
import email.policy
import json
import os
import queue
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

ROOKERY = os.environ["ROOKERY"]
PATIENCE_SECS = 60
CODE = re.compile(r"\b[A-Z2-7]{5}-[A-Z2-7]{5}\b")
# Every character that has a meaning in URLs.
USER, PASSWORD = "mailer@example.com", "p@ss:w/o?r#d% +&"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A rookery that runs until it is stopped."""

    def __init__(self, *arguments, env=None):
        self.process = subprocess.Popen(
            [ROOKERY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
        )
        self.welcome = []
        for line in self.process.stdout:
            self.welcome.append(line)
            if line.startswith("rookery is ready:"):
                return
        raise AssertionError(f"rookery {' '.join(arguments)} did not start: {self.process.stderr.read()}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=PATIENCE_SECS)
        return errors


class Inbox:
    """Handler of an SMTP server: keeps what comes, refuses what it is told to refuse."""

    def __init__(self):
        self.mails = queue.Queue()
        self.answers = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.answers:
            return self.answers.pop(0)
        self.mails.put((session, envelope))
        return "250 OK"

    def next(self):
        session, envelope = self.mails.get(timeout=PATIENCE_SECS)
        return session, envelope, email.message_from_bytes(envelope.content, policy=email.policy.default)


class MailServer:
    """A real SMTP server on loopback."""

    def __init__(self, implicit_tls=None, **options):
        self.inbox = Inbox()
        self.port = free_port()
        self.controller = Controller(
            self.inbox, hostname="127.0.0.1", port=self.port, ssl_context=implicit_tls, server_hostname="localhost", **options
        )
        self.controller.start()

    def stop(self):
        self.controller.stop()


def authenticator(server, session, envelope, mechanism, data):
    login, password = getattr(data, "login", b"").decode(), getattr(data, "password", b"").decode()
    return AuthResult(success=(login, password) == (USER, PASSWORD), handled=False)


class Certificates:
    """An authority of our own and a certificate of it for localhost; None where openssl is missing."""

    def __init__(self, folder):
        self.authority, self.key, self.certificate = folder / "ca.pem", folder / "key.pem", folder / "cert.pem"
        authority_key, request, extensions = folder / "ca-key.pem", folder / "request.pem", folder / "extensions"
        extensions.write_text("subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n")
        ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        for arguments in (
            ["req", "-x509", *ec, "-keyout", authority_key, "-out", self.authority, "-subj", "/CN=Test authority", "-days", "2"],
            ["req", *ec, "-keyout", self.key, "-out", request, "-subj", "/CN=localhost"],
            ["x509", "-req", "-in", request, "-CA", self.authority, "-CAkey", authority_key, "-CAcreateserial",
             "-out", self.certificate, "-days", "2", "-extfile", extensions],
        ):
            subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def encoded(text):
    return urllib.parse.quote(text, safe="")


class Server:
    """A `rookery serve` that sends its mail to `smtp_url`."""

    def __init__(self, plc_url, smtp_url, env=None):
        self.folder = tempfile.TemporaryDirectory()
        self.config = Path(self.folder.name) / "config.toml"
        port = free_port()
        self.url, self.env = f"http://127.0.0.1:{port}", env or {}
        mail = f'[mail]\nsmtp_url = "{smtp_url}"\nfrom = "Example PDS <noreply@example.com>"\n' if smtp_url else ""
        self.config.write_text(
            f'[server]\nhostname = "localhost"\nlisten = "127.0.0.1:{port}"\npublic_url = "{self.url}"\n'
            f'data_dir = "{self.folder.name}/data"\nadmin_password = "admin"\n'
            f'[identity]\nplc_url = "{plc_url}"\nhandle_domains = [".test"]\n'
            f"[accounts]\ninvite_required = false\n{mail}"
        )
        self.process = Process("serve", "--config", str(self.config), env=self.env)

    def stop(self):
        try:
            return self.process.stop()
        finally:
            self.folder.cleanup()

    def command(self, *arguments):
        return subprocess.run(
            [ROOKERY, *arguments, "--config", str(self.config)],
            capture_output=True, text=True, timeout=PATIENCE_SECS, env={**os.environ, **self.env},
        )

    def call(self, nsid, body=None, token=None, status=200):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        data = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            headers["content-type"] = "application/json"
        request = urllib.request.Request(f"{self.url}/xrpc/{nsid}", data=data, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECS) as answer:
                found, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            found, text = error.code, error.read()
        assert found == status, f"{nsid}: {found} {text}"
        return json.loads(text) if text else None

    def sign_up(self, name, address=None):
        account = {"handle": f"{name}.test", "email": address or f"{name}@example.com", "password": "first password"}
        return self.call("com.atproto.server.createAccount", account)

    def request_reset(self, name):
        self.call("com.atproto.server.requestPasswordReset", {"email": f"{name}@example.com"})


class MailTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = Process("dev", "--listen", f"127.0.0.1:{free_port()}", "--log", "warn")
        cls.plc_url = cls.directory_url()

    @classmethod
    def directory_url(cls):
        # On the port after the sandbox's, or on another one when that is taken. A DID that it does not know is a 404 of its own.
        url = next(line.split()[1] for line in cls.directory.welcome if line.startswith("  did:plc "))
        try:
            urllib.request.urlopen(f"{url}/did:plc:ewvi7nxzyoun6zhxrhs64oiz", timeout=PATIENCE_SECS)
        except urllib.error.HTTPError as error:
            assert error.code == 404, error
        return url

    @classmethod
    def tearDownClass(cls):
        cls.directory.stop()

    def mail_server(self, **options):
        server = MailServer(**options)
        self.addCleanup(server.stop)
        return server

    def server(self, smtp_url, env=None):
        server = Server(self.plc_url, smtp_url, env)
        self.addCleanup(server.stop)
        return server

    def certificates(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        try:
            return Certificates(Path(folder.name))
        except FileNotFoundError:
            self.skipTest("openssl is not installed")

    def name(self):
        return f"n{time.monotonic_ns() % 10**12}"

    def check_flow(self, server, mail_server):
        """Forgets a password, and sets a new one with the code from the mail."""
        name = self.name()
        server.sign_up(name)
        server.request_reset(name)
        session, envelope, message = mail_server.inbox.next()
        code = CODE.search(message.get_body(("plain",)).get_content()).group()
        server.call("com.atproto.server.resetPassword", {"token": code, "password": "second password"})
        sign_in = {"identifier": f"{name}.test", "password": "second password"}
        server.call("com.atproto.server.createSession", sign_in)
        return session, envelope, message, code

    def test_a_mail_is_what_a_mail_should_be(self):
        mail_server = self.mail_server()
        server = self.server(f"smtp://127.0.0.1:{mail_server.port}")
        _, envelope, message, code = self.check_flow(server, mail_server)
        self.assertEqual(envelope.mail_from, "noreply@example.com")
        self.assertEqual(envelope.rcpt_tos, [str(message["To"])])
        self.assertEqual(str(message["From"]), "Example PDS <noreply@example.com>")
        self.assertEqual(str(message["Subject"]), "Password Reset Requested")
        self.assertEqual(str(message["Auto-Submitted"]), "auto-generated")
        self.assertRegex(str(message["Message-ID"]), r"^<[0-9a-f]{32}@localhost>$")
        self.assertLess(abs(message["Date"].datetime.timestamp() - time.time()), PATIENCE_SECS)
        self.assertEqual(message.get_content_type(), "multipart/alternative")
        self.assertEqual(message.defects, [])
        text, html = message.get_body(("plain",)), message.get_body(("html",))
        for part in (text, html):
            content = part.get_content()
            self.assertEqual(part.get_content_charset(), "utf-8")
            for said in (code, "15 minutes", "localhost", "set a new password", ".test"):
                self.assertIn(said, content)
            self.assertNotIn("http", content.replace("http-equiv", ""), "no links to click on")
        self.assertTrue(max(map(len, envelope.content.split(b"\r\n"))) <= 998, "RFC 5322, 2.1.1")

    def test_every_code_arrives_and_works(self):
        mail_server = self.mail_server()
        server = self.server(f"smtp://127.0.0.1:{mail_server.port}")
        name = self.name()
        account = server.sign_up(name)
        token = account["accessJwt"]

        def mailed(subject, to):
            _, envelope, message = mail_server.inbox.next()
            self.assertEqual((str(message["Subject"]), envelope.rcpt_tos), (subject, [to]))
            return CODE.search(message.get_body(("plain",)).get_content()).group()

        old, new = f"{name}@example.com", f"{name}.new@example.com"
        server.call("com.atproto.server.requestEmailConfirmation", token=token)
        code = mailed("Email Confirmation", old)
        server.call("com.atproto.server.confirmEmail", {"email": old, "token": code}, token)
        answer = server.call("com.atproto.server.requestEmailUpdate", token=token)
        self.assertEqual(answer, {"tokenRequired": True})
        code = mailed("Email Update Requested", old)
        server.call("com.atproto.server.updateEmail", {"email": new, "token": code}, token)
        server.call("com.atproto.server.requestAccountDelete", token=token)
        code = mailed("Account Deletion Requested", new)
        body = {"did": account["did"], "password": "first password", "token": code}
        server.call("com.atproto.server.deleteAccount", body)
        server.call("com.atproto.server.createSession", {"identifier": new, "password": "first password"}, status=401)

    def test_starttls_with_a_certificate_of_a_trusted_authority(self):
        certificates = self.certificates()
        mail_server = self.mail_server(
            tls_context=certificates.context(), require_starttls=True, authenticator=authenticator, auth_required=True
        )
        url = f"smtp://{encoded(USER)}:{encoded(PASSWORD)}@localhost:{mail_server.port}?starttls=required"
        server = self.server(url, {"SSL_CERT_FILE": str(certificates.authority)})
        session, *_ = self.check_flow(server, mail_server)
        self.assertIsNotNone(session.ssl)
        self.assertTrue(session.authenticated)

    def test_tls_from_the_first_byte(self):
        certificates = self.certificates()
        mail_server = self.mail_server(
            implicit_tls=certificates.context(), authenticator=authenticator, auth_required=True, auth_require_tls=False
        )
        url = f"smtps://{encoded(USER)}:{encoded(PASSWORD)}@localhost:{mail_server.port}"
        server = self.server(url, {"SSL_CERT_FILE": str(certificates.authority)})
        session, *_ = self.check_flow(server, mail_server)
        self.assertTrue(session.authenticated)

    def test_a_password_with_every_special_character(self):
        mail_server = self.mail_server(authenticator=authenticator, auth_required=True, auth_require_tls=False)
        server = self.server(f"smtp://{encoded(USER)}:{encoded(PASSWORD)}@127.0.0.1:{mail_server.port}")
        session, *_ = self.check_flow(server, mail_server)
        self.assertTrue(session.authenticated)

    def test_a_server_that_asks_for_patience_gets_the_mail_a_little_later(self):
        mail_server = self.mail_server()
        mail_server.inbox.answers.append("451 4.7.1 greylisted, try again")
        server = self.server(f"smtp://127.0.0.1:{mail_server.port}")
        self.check_flow(server, mail_server)

    def test_what_is_refused_for_good_is_in_the_outbox_with_the_reason(self):
        mail_server = self.mail_server()
        server = self.server(f"smtp://127.0.0.1:{mail_server.port}")
        name = f"refused{self.name()}"
        # The answer is the same as ever.
        server.sign_up(name[:18], f"{name}@example.com")
        server.request_reset(name)
        deadline = time.monotonic() + PATIENCE_SECS
        while not (mails := self.outbox(server)):
            self.assertLess(time.monotonic(), deadline, "nothing in the outbox")
        [mail] = mails
        self.assertEqual(mail["to"], f"{name}@example.com")
        self.assertIn("no such mailbox", mail["problem"])
        code = CODE.search(mail["text"]).group()
        server.call("com.atproto.server.resetPassword", {"token": code, "password": "second password"})

    def outbox(self, server, *arguments):
        shown = server.command("mail", "outbox", "--json", *arguments)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        return [json.loads(line) for line in shown.stdout.splitlines()]

    def test_without_a_mail_server_the_operator_reads_the_codes(self):
        server = self.server(None)
        name = self.name()
        server.sign_up(name)
        server.request_reset(name)
        deadline = time.monotonic() + PATIENCE_SECS
        while not (mails := self.outbox(server)):
            self.assertLess(time.monotonic(), deadline, "nothing in the outbox")
        shown = server.command("mail", "outbox").stdout
        code = CODE.search(shown).group()
        self.assertIn(code, mails[0]["text"])
        self.assertIsNone(mails[0]["problem"])
        server.call("com.atproto.server.resetPassword", {"token": code, "password": "second password"})
        self.outbox(server, "--clear")
        self.assertEqual(self.outbox(server), [])
        test = server.command("mail", "test", "me@example.com")
        self.assertEqual(test.returncode, 1)
        self.assertIn("mail.smtp_url", test.stderr)
        errors = server.process.stop()
        server.process = Process("serve", "--config", str(server.config))
        self.assertNotIn(code, errors, "codes are not logged by a real server")

    def check_test(self, smtp_url, status, *said, env=None, address="me@example.com"):
        """Runs `rookery mail test` with that server, without a running rookery."""
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "config.toml"
            config.write_text(
                f'[server]\nhostname = "pds.example.com"\ndata_dir = "{folder}"\n'
                f'[mail]\nsmtp_url = "{smtp_url}"\nfrom = "noreply@example.com"\n'
            )
            ran = subprocess.run(
                [ROOKERY, "mail", "test", address, "--config", str(config)],
                capture_output=True, text=True, timeout=PATIENCE_SECS, env={**os.environ, **(env or {})},
            )
        shown = ran.stdout + ran.stderr
        self.assertEqual(ran.returncode, status, shown)
        for words in said:
            self.assertIn(words, shown)
        self.assertNotIn(PASSWORD, shown)
        return shown

    def test_the_test_command_says_what_is_wrong_and_what_to_change(self):
        plain, strict = self.mail_server(), self.mail_server(
            authenticator=authenticator, auth_required=True, auth_require_tls=False
        )
        self.check_test(f"smtp://127.0.0.1:{plain.port}", 0, "took the mail")
        _, envelope, message = plain.inbox.next()
        self.assertEqual(envelope.rcpt_tos, ["me@example.com"])
        self.assertIn("pds.example.com", str(message["Subject"]))
        port = plain.port
        self.check_test(f"smtp://127.0.0.1:{port}", 1, "no such mailbox", "mail.from", address="refused@example.com")
        self.check_test(f"smtp://127.0.0.1:{port}", 1, "cannot be written", address="nobody")
        self.check_test("smtp://mail.invalid", 1, "does not resolve", "check the server's name")
        self.check_test(f"smtp://127.0.0.1:{free_port()}", 1, "no connection to 127.0.0.1", "firewall")
        self.check_test(f"smtp://127.0.0.1:{port}?starttls=required", 1, "does not offer STARTTLS", "starttls=optional")
        self.check_test(f"smtps://localhost:{port}", 1, "TLS with localhost failed", "smtp://")
        self.check_test(f"smtp://{encoded(USER)}:wrong@127.0.0.1:{strict.port}", 1, "user name and password", "%40")
        self.check_test(f"smtp://127.0.0.1:{strict.port}", 1, "user name and password")
        self.check_test(f"smtp://{encoded(USER)}:{encoded(PASSWORD)}@127.0.0.1:{strict.port}", 0, "took the mail")
        self.check_test("smtp://user:pass/word@127.0.0.1", 1, "percent-encoded", "%2F")

    def test_the_test_command_tells_a_certificate_that_is_not_trusted(self):
        certificates = self.certificates()
        starttls = self.mail_server(tls_context=certificates.context())
        url = f"smtp://localhost:{starttls.port}?starttls=required"
        self.check_test(url, 1, "TLS with localhost failed", "SSL_CERT_FILE")
        trusting = {"SSL_CERT_FILE": str(certificates.authority)}
        self.check_test(url, 0, "took the mail", env=trusting)
        # The certificate is for localhost.
        other_name = f"smtp://127.0.0.1:{starttls.port}?starttls=required"
        self.check_test(other_name, 1, "TLS with 127.0.0.1 failed", env=trusting)


if __name__ == "__main__":
    unittest.main()
