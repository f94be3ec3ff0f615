// Random writes to a repo, with the map that the repo must then equal.

const collections = ['com.example.note', 'com.example.note-x.page', 'com.example.note.page', 'com.example.noted']
const prefix = 'com.atproto.repo.applyWrites'

/** Records that should be there: `path` to record. Grows by `batch`. */
export class Model {
  records = new Map()
  #random
  #next = 0

  constructor(random) {
    this.#random = random
  }

  /**
   * A list of 1 to `max` writes for applyWrites that is valid on the current state and touches each path once,
   * already taken over into `records`.
   */
  batch(max) {
    const touched = new Set()
    const writes = []
    const count = 1 + this.#random.below(max)
    for (let n = 0; n < count; n += 1) {
      const free = [...this.records.keys()].filter((path) => !touched.has(path))
      const action = free.length === 0 ? 'create' : this.#random.pick(['create', 'create', 'update', 'delete'])
      const path = action === 'create' ? this.#freshPath() : this.#random.pick(free)
      touched.add(path)
      const [collection, rkey] = path.split('/')
      if (action === 'delete') {
        this.records.delete(path)
        writes.push({ $type: `${prefix}#delete`, collection, rkey })
        continue
      }
      // A tenth of the created values are alike, so that several paths share one block. An update always changes.
      const alike = action === 'create' && this.#random.chance(10)
      const value = { $type: collection, n: alike ? 0 : (this.#next += 1) }
      this.records.set(path, value)
      writes.push({ $type: `${prefix}#${action}`, collection, rkey, value })
    }
    return writes
  }

  #freshPath() {
    this.#next += 1
    const rkey = `${this.#random.below(1_000_000).toString(36)}${this.#random.pick(['.', '-', '_', '~', ':', ''])}${this.#next}`
    return `${this.#random.pick(collections)}/${rkey}`
  }
}
