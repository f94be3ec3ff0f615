// A subscription to one server's firehose, from its start.

import { Frame } from '@atproto/xrpc-server'
import { WebSocket } from 'ws'
import { Inbox } from '../../peers/support/deadline.mjs'
import { describeEvent } from './car.mjs'

/** Subscribes and keeps everything: `{ frames: Inbox of { type, body }, close }`. */
export async function subscribe(side, query = '?cursor=0') {
  const socket = new WebSocket(`ws://127.0.0.1:${side.port}/xrpc/com.atproto.sync.subscribeRepos${query}`)
  const frames = new Inbox()
  socket.on('message', (data) => {
    const frame = Frame.fromBytes(data)
    frames.push({ type: frame.isError() ? 'error' : frame.type, body: frame.body })
  })
  const closed = new Promise((resolve) => {
    socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    socket.on('error', (error) => resolve({ error: error.message.replace(/\d{4,}/g, 'N') }))
  })
  return { frames, closed, close: () => socket.terminate() }
}

/** The frames of `side` by the step in whose time the server made them. */
export async function eventsByStep(frames, times, side) {
  const byStep = new Map()
  for (const { type, body } of frames) {
    const { time, ...said } = body
    const made = Date.parse(time)
    const step = times.find(({ start, end }) => made >= start && made <= end)
    const id = step?.id ?? 'between steps'
    byStep.set(id, [...(byStep.get(id) ?? []), await describeEvent(type, said, side)])
  }
  return byStep
}
