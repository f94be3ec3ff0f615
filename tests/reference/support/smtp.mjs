// A mail server on loopback that keeps what it is given.

import { once } from 'node:events'
import { simpleParser } from 'mailparser'
import { SMTPServer } from 'smtp-server'
import { Inbox } from '../../peers/support/deadline.mjs'

/**
 * Starts one: `{ url, mails, close }`. `mails.items` are `{ from, to, subject, text, html }` in order of arrival, and
 * `mails.until(enough, what)` waits.
 */
export async function startSmtpSink() {
  const mails = new Inbox()
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS', 'AUTH'],
    onData(stream, session, done) {
      simpleParser(stream)
        .then((mail) => {
          mails.push({
            from: mail.from?.value[0]?.address,
            to: session.envelope.rcptTo.map(({ address }) => address).join(','),
            subject: mail.subject,
            text: mail.text,
            html: mail.html || undefined,
          })
          done()
        })
        .catch(done)
    },
  })
  server.on('error', () => {})
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  const { port } = server.server.address()
  return { url: `smtp://127.0.0.1:${port}`, mails, close: () => new Promise((done) => server.close(done)) }
}
