// Waiting with an end: every wait in these suites names what it waits for and gives up loudly.

export { freePort } from '../../reference/support/port.mjs'

/** `promise`, or an error naming `what` when it has not settled after `seconds`. */
export function within(seconds, what, promise) {
  let timer
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing after ${seconds} s`)), seconds * 1000)
  })
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer))
}

/** Items that arrive over time, for tests that wait for "the next one such that ...". */
export class Inbox {
  items = []
  #waiting = new Set()

  push(item) {
    this.items.push(item)
    for (const look of [...this.#waiting]) look()
  }

  /** The items so far, as soon as `enough(items)` holds. */
  until(enough, what, seconds = 15) {
    if (enough(this.items)) return Promise.resolve(this.items)
    let look
    const found = new Promise((resolve, reject) => {
      look = () => {
        try {
          if (enough(this.items)) resolve(this.items)
        } catch (error) {
          reject(error)
        }
      }
      this.#waiting.add(look)
    })
    return within(seconds, what, found).finally(() => this.#waiting.delete(look))
  }
}
