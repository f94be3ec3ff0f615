// A PostgreSQL of our own on loopback: a fresh cluster in a temporary directory, gone when the suite ends.

import { execFile, spawn } from 'node:child_process'
import { chown, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import readline from 'node:readline'
import { promisify } from 'node:util'
import { Inbox, freePort, within } from '../../peers/support/deadline.mjs'

const run = promisify(execFile)

/** Directory of `initdb` and `postgres`: Debian keeps them off the PATH, one directory per major version. */
async function programs() {
  const root = '/usr/lib/postgresql'
  const versions = (await readdir(root).catch(() => [])).filter((name) => /^\d+$/.test(name))
  const newest = versions.map(Number).sort((a, b) => b - a)[0]
  if (!newest) throw new Error(`no PostgreSQL under ${root}: install the Debian package postgresql-15`)
  return path.join(root, String(newest), 'bin')
}

/** The command and arguments that run `program` as somebody whom PostgreSQL accepts: it refuses root. */
function asPostgres(program, args) {
  if (process.getuid() !== 0) return [program, args]
  return ['runuser', ['-u', 'postgres', '--', program, ...args]]
}

/** Starts one: `{ url, close }`. Nothing is flushed to disk, so it is quick and survives no crash. */
export async function startPostgres() {
  const bin = await programs()
  const directory = await mkdtemp(path.join(tmpdir(), 'rookery-postgres-'))
  let server
  const close = async () => {
    // A fast shutdown: sessions are cut. The postmaster is our child's child when we are root.
    if (server) await run(...asPostgres(path.join(bin, 'pg_ctl'), ['stop', '-m', 'fast', '-w', '-D', data])).catch(() => {})
    await rm(directory, { recursive: true, force: true })
  }
  const data = path.join(directory, 'data')
  try {
    if (process.getuid() === 0) {
      const ids = await Promise.all(['-u', '-g'].map((flag) => run('id', [flag, 'postgres'])))
      await chown(directory, ...ids.map(({ stdout }) => Number(stdout)))
    }
    const init = ['-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync', '--locale=C', '-E', 'UTF8']
    await run(...asPostgres(path.join(bin, 'initdb'), init), { cwd: directory, timeout: 60_000 })
    const port = await freePort()
    const settings = [
      'fsync=off',
      'full_page_writes=off',
      'listen_addresses=127.0.0.1',
      `unix_socket_directories=${directory}`,
      'max_connections=200',
    ]
    const args = ['-D', data, '-p', String(port), ...settings.flatMap((setting) => ['-c', setting])]
    server = spawn(...asPostgres(path.join(bin, 'postgres'), args), { cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] })
    const lines = new Inbox()
    readline.createInterface({ input: server.stderr }).on('line', (line) => lines.push(line))
    process.on('exit', () => server.kill('SIGQUIT'))
    const ended = new Promise((_, reject) => {
      server.once('exit', (code) => reject(new Error(`postgres ended with ${code}:\n${lines.items.join('\n')}`)))
    })
    ended.catch(() => {})
    const ready = lines.until((all) => all.some((line) => /ready to accept connections/.test(line)), 'postgres', 30)
    await within(30, 'postgres', Promise.race([ready, ended]))
    return { url: `postgresql://postgres@127.0.0.1:${port}/postgres`, close }
  } catch (error) {
    await close()
    throw error
  }
}
