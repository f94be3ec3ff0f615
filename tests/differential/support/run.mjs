// Runs the script on a pair of servers and collects what differs.

import { setTimeout } from 'node:timers/promises'
import { classify, differences } from './compare.mjs'
import { eventsByStep, subscribe } from './firehose.mjs'
import { nextMail, observe } from './observe.mjs'

/** Pause before each step, in milliseconds. */
const STEP_GAP_MS = 2

/** Steps that take longer are named at the end. */
const SLOW_SECS = 2

/**
 * Runs `steps` on `sides`, each step on both at the same time. Gives
 * `{ requests, found: [{ id, facet, reference, rookery }], broken: [text], statuses, slow }`: `broken` are steps at which the
 * script itself does not hold, such as one that should succeed and is refused by the reference.
 */
export async function runScript(steps, sides) {
  const found = []
  const broken = []
  const statuses = new Map()
  const slow = []
  const ids = new Set()
  let requests = 0
  const firehoses = await Promise.all(sides.map((side) => subscribe(side)))
  for (const step of steps) {
    if (ids.has(step.id)) broken.push(`${step.id}: the name is used twice`)
    ids.add(step.id)
    // Events are told apart by the millisecond, so two steps do not share one.
    await setTimeout(STEP_GAP_MS)
    const start = Date.now()
    const results = await Promise.allSettled(sides.map((side) => play(step, side)))
    const seconds = (Date.now() - start) / 1000
    if (seconds > SLOW_SECS) slow.push(`${step.id}: ${seconds.toFixed(1)} s`)
    const failed = results.filter(({ status }) => status === 'rejected')
    if (failed.length > 0) {
      results.forEach(({ reason }, index) => reason && broken.push(`${step.id} (${sides[index].name}): ${reason.message}`))
      continue
    }
    const [reference, rookery] = results.map(({ value }) => value)
    if (step.method) requests += 1
    if (step.expected === 'good' && !(reference.status < 400)) {
      broken.push(`${step.id}: the reference refuses it: ${JSON.stringify(reference).slice(0, 600)}`)
    }
    if (step.expected === 'bad' && !(reference.status >= 400)) {
      broken.push(`${step.id}: the reference takes it: ${JSON.stringify(reference).slice(0, 600)}`)
    }
    if (step.method) statuses.set(reference.status, (statuses.get(reference.status) ?? 0) + 1)
    for (const difference of differences(reference, rookery)) {
      found.push({ id: step.id, ...classify(difference, reference, rookery) })
    }
  }
  const drawn = new Set(steps.filter((step) => step.drawn).map(({ id }) => id))
  found.push(...(await compareEvents(firehoses, sides, drawn)))
  return { requests, found, broken, statuses, slow }
}

async function play(step, side) {
  if (step.local) return (await step.local(side)) ?? {}
  if (step.mail) return nextMail(step, side)
  return observe(step, side)
}

/** The events that each step made, in order. At `drawn` steps the servers chose keys, so their trees differ. */
async function compareEvents(firehoses, sides, drawn) {
  // The reference looks for new events at most a second after they were made.
  await quiet(firehoses)
  const [reference, rookery] = await Promise.all(
    firehoses.map(({ frames }, index) => eventsByStep(frames.items, sides[index].times, sides[index])),
  )
  firehoses.forEach(({ close }) => close())
  const ids = new Set([...reference.keys(), ...rookery.keys()])
  return [...ids].flatMap((id) => {
    const [theirs, ours] = [reference, rookery].map((byStep, index) => {
      const events = byStep.get(id) ?? []
      if (drawn.has(id)) for (const event of events) for (const name of ['blocks', 'prevData']) delete event[name]
      return sides[index].normaliser().value(events)
    })
    return differences({ events: theirs }, { events: ours }).map((difference) => ({ id, ...difference }))
  })
}

/** Waits until nothing has come for a while. */
async function quiet(firehoses) {
  let before = -1
  for (;;) {
    const count = firehoses.reduce((sum, { frames }) => sum + frames.items.length, 0)
    if (count === before) return
    before = count
    await setTimeout(1500)
  }
}
