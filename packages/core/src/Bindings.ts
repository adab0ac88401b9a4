/**
 * Which key is bound to what: a bounded table that forgets whom nobody asked for the longest time.
 */

/** So many keys at most. */
export const maxBindings = 10_000

/**
 * A table of bindings.
 *
 * ```ts import.meta.vitest
 * import { Bindings } from "@hawser/core"
 *
 * const bindings = new Bindings.Bindings<number>()
 * for (let i = 0; i <= Bindings.maxBindings; i++) bindings.set(`session-${i}`, i)
 * bindings.get("session-0") // => undefined
 * bindings.get("session-1") // => 1
 * bindings.delete("session-1") // => true
 * ```
 */
export class Bindings<A> {
  private readonly byKey = new Map<string, A>()

  /** What it is bound to. Asking keeps a binding alive. */
  get(key: string): A | undefined {
    const bound = this.byKey.get(key)
    if (bound === undefined) return undefined
    this.byKey.delete(key)
    this.byKey.set(key, bound)
    return bound
  }

  set(key: string, to: A): void {
    this.byKey.delete(key)
    this.byKey.set(key, to)
    if (this.byKey.size <= maxBindings) return
    for (const oldest of this.byKey.keys()) {
      this.byKey.delete(oldest)
      return
    }
  }

  /** Whether there was one. */
  delete(key: string): boolean {
    return this.byKey.delete(key)
  }
}
