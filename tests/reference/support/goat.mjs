// `goat`, the official command line, when there is one on the PATH. It is not installed by the suites: its module is not
// in every registry.

import { execFile, execFileSync, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** Why there is no goat, or false. */
export const noGoat = (() => {
  try {
    execFileSync('goat', ['--version'], { stdio: 'ignore' })
    return false
  } catch {
    return 'no goat on the PATH'
  }
})()

/** One person's goat: a session file of its own, and the directory of the test. */
export class Goat {
  #environment
  directory

  static async start(plcUrl) {
    const goat = new Goat()
    goat.directory = await mkdtemp(path.join(tmpdir(), 'rookery-goat-'))
    goat.#environment = { PATH: process.env.PATH, HOME: goat.directory, XDG_STATE_HOME: goat.directory, ATP_PLC_HOST: plcUrl }
    return goat
  }

  /** Runs one command to its end and gives what it prints; fails with what it complains about. */
  run(...args) {
    const options = { env: this.#environment, cwd: this.directory, timeout: 60_000, maxBuffer: 1 << 26 }
    return new Promise((resolve, reject) => {
      execFile('goat', args, options, (error, stdout, stderr) => {
        if (error) reject(new Error(`goat ${args.slice(0, 3).join(' ')}: ${error.code}\n${stdout}${stderr}`))
        else resolve(stdout)
      })
    })
  }

  /** As `run`, for the commands that print JSON. */
  async json(...args) {
    return JSON.parse(await this.run(...args))
  }

  /** Starts a command that does not end by itself. */
  watch(...args) {
    return spawn('goat', args, { env: this.#environment, cwd: this.directory, stdio: ['ignore', 'pipe', 'pipe'] })
  }

  close() {
    return rm(this.directory, { recursive: true, force: true })
  }
}
