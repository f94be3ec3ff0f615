// better.md: the differences that are meant.

import { readFile } from 'node:fs/promises'

/**
 * The rows of its table: `{ requests, facets, statuses, why, line, used }`. A request pattern may have `*`. A facet
 * covers what is below it: `body` covers `body.uri`. `status 500 → 400` also says from what to what.
 */
export async function readBetter(file) {
  const text = await readFile(file, 'utf8')
  const rows = []
  text.split('\n').forEach((line, index) => {
    const cells = line.match(/^\|(.*)\|\s*$/)?.[1].split(/(?<!\\)\|/).map((cell) => cell.trim())
    if (!cells || cells.length !== 3 || /^:?-+:?$/.test(cells[0]) || cells[0] === 'requests') return
    const [requests, differs, why] = cells
    if (!why) throw new Error(`${file}:${index + 1}: a difference needs its reason`)
    const facets = differs.split(',').map((facet) => {
      const [, name, from, to] = facet.trim().match(/^(\S+?)(?:\s+(\d+)\s*→\s*(\d+))?$/) ?? []
      if (!name) throw new Error(`${file}:${index + 1}: ${facet.trim()} names no facet`)
      return { name, from: from && Number(from), to: to && Number(to), used: false }
    })
    const patterns = [...requests.matchAll(/`([^`]+)`/g)].map(([, text]) => ({ text, used: false }))
    if (patterns.length === 0) throw new Error(`${file}:${index + 1}: write requests between backticks`)
    rows.push({ patterns, facets, why, line: index + 1 })
  })
  return rows
}

/** Whether a row covers the difference; marks what it used. */
export function isListed(rows, { id, facet, reference, rookery }) {
  let listed = false
  for (const row of rows) {
    const pattern = row.patterns.find(({ text }) => matches(text, id))
    if (!pattern) continue
    for (const each of row.facets) {
      if (facet !== each.name && !facet.startsWith(`${each.name}.`)) continue
      if (each.from !== undefined && (each.from !== reference || each.to !== rookery)) continue
      each.used = true
      pattern.used = true
      listed = true
    }
  }
  return listed
}

function matches(pattern, id) {
  const expression = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&')).join('.*')
  return new RegExp(`^${expression}$`).test(id)
}

/** What is listed and did not happen, one line each. */
export function unused(rows) {
  return rows.flatMap(({ line, patterns, facets }) => [
    ...patterns.filter(({ used }) => !used).map(({ text }) => `better.md:${line}: ${text} no longer differs`),
    ...facets.filter(({ used }) => !used).map(({ name }) => `better.md:${line}: ${name} no longer differs`),
  ])
}
