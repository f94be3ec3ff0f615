// A child process of the suite that logs JSON, line by line: started, awaited, stopped and started again.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import readline from 'node:readline'
import { setTimeout as after } from 'node:timers/promises'
import { Inbox, within } from '../../peers/support/deadline.mjs'

/** Processes that are still there when the suite ends for any reason are taken along. */
const running = new Set()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** How long a probe waits before it looks again, in milliseconds. */
const lookEveryMs = 50

/** Asks `probe` until it gives something; an error naming `what` after `seconds`, with the last error of the probe. */
export async function eventually(seconds, what, probe) {
  const end = Date.now() + seconds * 1000
  let last
  for (;;) {
    try {
      const found = await probe()
      if (found) return found
      last = undefined
    } catch (error) {
      last = error
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s`, { cause: last })
    await after(lookEveryMs)
  }
}

export class Program {
  #binary
  #args
  #child
  #exit

  name
  /** What it has printed since the first start: `{ level, msg, ... }`, or `{ text }` for what is no JSON. */
  lines = new Inbox()

  constructor({ name, binary, args }) {
    this.name = name
    this.#binary = binary
    this.#args = args
  }

  /** Starts it, and waits until it prints the message `ready`. */
  async start(ready = 'startup complete') {
    const from = this.lines.items.length
    // It gets no settings from our environment, and asks no server but those on loopback: its way to others is closed.
    const closed = { HTTP_PROXY: 'http://127.0.0.1:1', HTTPS_PROXY: 'http://127.0.0.1:1' }
    const environment = { PATH: process.env.PATH, HOME: process.env.HOME, ...closed }
    const child = spawn(this.#binary, this.#args, { env: environment, stdio: ['ignore', 'pipe', 'pipe'] })
    running.add(child)
    child.once('exit', () => running.delete(child))
    for (const stream of [child.stdout, child.stderr]) {
      readline.createInterface({ input: stream }).on('line', (line) => this.lines.push(parsed(line)))
    }
    this.#child = child
    this.#exit = once(child, 'close')
    const died = this.#exit.then(([code, signal]) => {
      throw new Error(`${this.name} ended before it was ready (${code ?? signal}):\n${this.log(from)}`)
    })
    died.catch(() => {})
    const up = this.lines.until((lines) => lines.slice(from).some(({ msg }) => msg === ready), `${this.name} to be up`, 30)
    await Promise.race([up, died])
  }

  /** Ends it and waits until it is gone. */
  async stop(signal = 'SIGTERM') {
    if (this.#child?.exitCode === null && this.#child.signalCode === null) this.#child.kill(signal)
    await within(20, `${this.name} to end after ${signal}`, this.#exit)
  }

  /** The lines from number `from` on, as text. */
  log(from = 0) {
    return this.lines.items.slice(from).map((line) => JSON.stringify(line)).join('\n')
  }
}

function parsed(line) {
  try {
    return JSON.parse(line)
  } catch {
    return { text: line }
  }
}
