// A `rookery` process of our own: started, awaited, stopped, killed and started again on the same data.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import readline from 'node:readline'
import { promisify } from 'node:util'
import { Inbox, freePort, within } from './deadline.mjs'

export const adminPassword = 'loopback-admin'

/** Path of the program under test; run.sh sets it. */
export function rookeryBinary() {
  const binary = process.env.ROOKERY
  assert.ok(binary, 'ROOKERY names no binary: start the suites with tests/peers/run.sh')
  return binary
}

/** Our own environment without the ROOKERY_ variables: those steer the suites, and rookery takes them for settings. */
function plainEnvironment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ROOKERY')))
}

/** Processes that are still there when a suite ends for any reason are taken along. */
const running = new Set()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** A fresh temporary directory, and the function that removes it. */
export async function temporaryDirectory() {
  const directory = await mkdtemp(path.join(tmpdir(), 'rookery-peers-'))
  return { directory, remove: () => rm(directory, { recursive: true, force: true }) }
}

/** Runs one `rookery` command to its end: `{ status, stdout, stderr }`. */
export async function runRookery(args, { env = {}, seconds = 60 } = {}) {
  try {
    const output = await promisify(execFile)(rookeryBinary(), args, {
      env: { ...plainEnvironment(), ...env },
      timeout: seconds * 1000,
      maxBuffer: 64 * 1024 * 1024,
    })
    return { status: 0, ...output }
  } catch (error) {
    if (typeof error.code !== 'number') throw error
    return { status: error.code, stdout: error.stdout, stderr: error.stderr }
  }
}

export class Rookery {
  #args
  #env
  #child
  #lines
  #exit
  #removeData

  /** `http://host:port`, as the ready line gives it. */
  url
  port
  dataDir
  /** Path of the configuration file, for a server started with `serve`. */
  config

  /**
   * Starts `rookery dev` and resolves when its ready line is out.
   *
   * `dataDir`: where it keeps its data; absent, a temporary one that `close` removes.
   * `plcUrl`: a directory of the test's own; absent, the one inside the process.
   * `port`: when others have to know it beforehand; absent, a free one.
   */
  static async dev({ dataDir, plcUrl, port, args = [], env = {} } = {}) {
    const rookery = new Rookery()
    if (!dataDir) {
      const { directory, remove } = await temporaryDirectory()
      dataDir = directory
      rookery.#removeData = remove
    }
    rookery.dataDir = dataDir
    rookery.port = port ?? (await freePort())
    rookery.#env = env
    rookery.#args = (port) => [
      'dev',
      ...['--listen', `127.0.0.1:${port}`],
      ...['--data-dir', dataDir],
      ...['--admin-password', adminPassword],
      ...(plcUrl ? ['--plc-url', plcUrl] : []),
      ...args,
    ]
    rookery.plcUrlGiven = plcUrl
    await rookery.start()
    return rookery
  }

  /** Starts `rookery serve --config FILE` on the port that the file names. */
  static async serve({ config, port, dataDir, env = {} }) {
    const rookery = new Rookery()
    rookery.port = port
    rookery.config = config
    rookery.dataDir = dataDir
    rookery.#env = env
    rookery.#args = () => ['serve', '--config', config]
    await rookery.start()
    return rookery
  }

  async start() {
    const child = spawn(rookeryBinary(), this.#args(this.port), {
      env: { ...plainEnvironment(), ...this.#env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    running.add(child)
    child.once('exit', () => running.delete(child))
    const lines = new Inbox()
    for (const stream of [child.stdout, child.stderr]) {
      readline.createInterface({ input: stream }).on('line', (line) => lines.push(line))
    }
    this.#child = child
    this.#lines = lines
    this.#exit = once(child, 'close').then(([code, signal]) => ({ code, signal }))
    const ready = lines.until((all) => all.some(isReadyLine), 'the ready line of rookery', 20)
    const died = this.#exit.then(({ code, signal }) => {
      throw new Error(`rookery ended before it was ready (code ${code}, signal ${signal}):\n${this.log}`)
    })
    died.catch(() => {})
    const url = (await Promise.race([ready, died])).find(isReadyLine).match(/https?:\/\/[^\s/"'<>]+/)[0]
    this.url = url
    this.port = Number(new URL(url).port)
  }

  /** What the process has printed since its last start. */
  get log() {
    return this.#lines.items.join('\n')
  }

  get pid() {
    return this.#child.pid
  }

  /** False once the process has ended, for whatever reason. */
  get alive() {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  get websocketUrl() {
    return this.url.replace(/^http/, 'ws')
  }

  /** The did:plc directory that this server registers at. */
  async plcUrl() {
    if (this.plcUrlGiven) return this.plcUrlGiven
    const lines = await this.#lines.until((all) => all.some(isPlcLine), 'a line that names the PLC directory')
    return lines.find(isPlcLine).match(/https?:\/\/[^\s"'<>),]+/)[0].replace(/\/$/, '')
  }

  /** Ends the process with `signal`; resolves to `{ code, signal }` when it is gone. */
  async stop(signal = 'SIGTERM') {
    if (this.alive) this.#child.kill(signal)
    return within(20, `rookery to end after ${signal}`, this.#exit)
  }

  /** Ends the process with `signal` and starts it again on the same port and data. */
  async restart(signal) {
    const ended = await this.stop(signal)
    await this.start()
    return ended
  }

  /** For `after` hooks: ends the process, and removes the data when it was temporary. */
  async close() {
    await this.stop('SIGTERM').catch(() => this.stop('SIGKILL'))
    await this.#removeData?.()
  }

  /** Resident memory in MiB, from the kernel (Linux only): `{ now, peak }`. */
  async residentMib() {
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8')
    const mib = (field) => Number(status.match(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm'))[1]) / 1024
    return { now: mib('VmRSS'), peak: mib('VmHWM') }
  }
}

function isReadyLine(line) {
  return /\bready\b/i.test(line) && /https?:\/\//.test(line)
}

function isPlcLine(line) {
  return /\bplc\b/i.test(line) && /https?:\/\//.test(line)
}
