/**
 * The one place that says who may be ejected, and when ejection has gone too far.
 *
 * Whoever ejects (silence, outlier rules) asks here first and says so here, so that all of them share one cap. An
 * endpoint may be ejected iff (ejected + 1) / n is at most the cap, n being the endpoints of its priority; the only one
 * never. And when fewer than half of the Ready members are sound, panic holds: all Ready ones are used, and the penalties
 * are kept.
 */

/** Who ejects. */
export type Ejector = "silence" | "outlier"

const bits: Readonly<Record<Ejector, number>> = { silence: 1, outlier: 2 }

/** At most this share of the endpoints, unless an outlier policy says otherwise. */
export const defaultCap = 0.5

/** The share of Ready members that must be sound. */
const panicBelow = 0.5

/** Counts the ejected of one cluster. Keys are upstreams. */
export class Ejection {
  readonly cap: number
  private readonly peers: (key: object) => ReadonlyArray<object>
  private readonly by = new Map<object, number>()

  /** `peers`: the endpoints of the same priority, itself and those that are not Ready included. */
  constructor(cap: number, peers: (key: object) => ReadonlyArray<object>) {
    this.cap = cap
    this.peers = peers
  }

  /** How many are ejected, by whomever. */
  get count(): number {
    return this.by.size
  }

  /** Whether it is ejected, by whomever. */
  has(key: object): boolean {
    return this.by.has(key)
  }

  /** Of the endpoints of its priority, the share that is ejected, and whether it is the only one. */
  share(key: object): { readonly share: number; readonly only: boolean } {
    const peers = this.peers(key)
    let out = 0
    for (const peer of peers) if (this.by.has(peer)) out++
    return { share: out / peers.length, only: peers.length <= 1 }
  }

  /** Whether it may be ejected. */
  may(key: object): boolean {
    const peers = this.peers(key)
    if (peers.length <= 1) return false
    if (this.by.has(key)) return true
    let out = 1
    for (const peer of peers) if (this.by.has(peer)) out++
    return out / peers.length <= this.cap
  }

  /** Whether more are ejected than may be, because there are fewer than there were. */
  excess(key: object): boolean {
    const { only, share } = this.share(key)
    return only || share > this.cap
  }

  /** It is ejected from now on. */
  add(key: object, ejector: Ejector): void {
    this.by.set(key, (this.by.get(key) ?? 0) | bits[ejector])
  }

  /** It is no longer ejected by this one. */
  remove(key: object, ejector: Ejector): void {
    const left = (this.by.get(key) ?? 0) & ~bits[ejector]
    if (left === 0) this.by.delete(key)
    else this.by.set(key, left)
  }

  /** It is gone. */
  forget(key: object): void {
    this.by.delete(key)
  }
}

/** Whether too few of the Ready members are sound. */
export const panics = (sound: number, ready: number): boolean => sound < ready * panicBelow
