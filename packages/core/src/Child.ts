/**
 * An upstream that has one parent, and tells it without a listener: a closure for each of thousands of connections would hold
 * more memory than the rest of what they say.
 */
import type { Connectivity } from "./Connectivity.ts"
import { UpstreamBase } from "./Upstream.ts"

/** Whoever is told. */
export interface Parent<Self> {
  /** Something has changed. `different`: its state, or whether its peer wants any borrow. */
  childChanged(child: Self, different: boolean): void
}

/** An upstream with one parent. */
export abstract class Child<C, E> extends UpstreamBase<C, E> {
  parent: Parent<this> | undefined = undefined
  private toldState: Connectivity = "Connecting"
  private toldBarred = false

  /** Whether its peer wants no borrow at all. */
  protected abstract barred(): boolean

  override changed(): void {
    const state = this.connectivity()
    const barred = this.barred()
    const different = state !== this.toldState || barred !== this.toldBarred
    this.toldState = state
    this.toldBarred = barred
    this.parent?.childChanged(this, different)
    super.changed()
  }
}
