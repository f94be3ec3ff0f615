// Seeded randomness, so that a failing run can be repeated: every failure message carries the seed.

export class Random {
  #state

  constructor(seed = Number(process.env.ROOKERY_SEED ?? Date.now() % 2 ** 31)) {
    this.seed = seed
    this.#state = seed >>> 0
  }

  /** An integer in `0..bound`, the bound excluded (mulberry32). */
  below(bound) {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound
  }

  pick(list) {
    return list[this.below(list.length)]
  }

  chance(percent) {
    return this.below(100) < percent
  }
}
