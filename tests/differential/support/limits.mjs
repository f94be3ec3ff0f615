// Limits that both servers are started with.

/** Largest blob and largest import, in bytes: small, so that a script can go past it. */
export const UPLOAD_BYTES_MAX = 1 << 20
