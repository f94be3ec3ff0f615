// Two observations, and where they differ.

/** `[{ facet, reference, rookery }]`: `facet` is the path of a difference, such as `status` or `body.records.0.uri`. */
export function differences(reference, rookery, facet = '') {
  if (Object.is(reference, rookery)) return []
  if (isTree(reference) && isTree(rookery) && Array.isArray(reference) === Array.isArray(rookery)) {
    const names = new Set([...Object.keys(reference), ...Object.keys(rookery)])
    return [...names].flatMap((name) =>
      differences(own(reference, name), own(rookery, name), facet ? `${facet}.${name}` : name),
    )
  }
  return [{ facet, reference, rookery }]
}

const isTree = (value) => value !== null && typeof value === 'object'
const own = (value, name) => (Object.hasOwn(value, name) ? value[name] : undefined)

/**
 * Names a difference of words about an input that does not fit its schema `schema-message`: each server has a validator
 * with words of its own, and what counts is that both refuse, under the same name, and that ours names the field too. When
 * it does not, the facet is `schema-field`.
 */
export function classify(difference, reference, rookery) {
  if (difference.facet !== 'body.message') return difference
  if (reference.status !== 400 || rookery.status !== 400 || reference.body.error !== rookery.body.error) return difference
  const place = reference.body.message.match(/ at \$(\S*)$|^Invalid \S+ params: /)
  if (!place) return difference
  const missing = reference.body.message.match(/Missing required key "([^"]+)"/)
  const field = missing?.[1] ?? (place[1] ?? '').replace(/\[\d+\]/g, '').split('.').pop()
  const isNamed = !field || String(rookery.body.message).includes(field)
  return { ...difference, facet: isNamed ? 'schema-message' : 'schema-field' }
}

/** One line for people. */
export function show({ id, facet, reference, rookery }) {
  const brief = (value) => {
    const text = value === undefined ? '(absent)' : JSON.stringify(value)
    return text.length > 400 ? `${text.slice(0, 400)}...` : text
  }
  return `${id} | ${facet}\n      reference ${brief(reference)}\n      rookery   ${brief(rookery)}`
}
