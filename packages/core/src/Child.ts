/**
 * An upstream that has one parent, and tells it without a listener: a closure for each of thousands of connections would hold
 * more memory than the rest of what they say.
 */
import type { Connectivity } from "./Connectivity.ts"
import { type Upstream, UpstreamBase } from "./Upstream.ts"

/** Whoever is told. */
export interface Parent {
  /** Something has changed. `different`: its state, which was `before`, or whether it is put aside. */
  childChanged(different: boolean, before: Connectivity, child?: Child<unknown, unknown>): void
  /** A permit of a child came back, and nothing else is different. */
  freed(): void
}

/** An upstream with one parent. */
export abstract class Child<C, E> extends UpstreamBase<C, E> {
  parent: Parent | undefined = undefined
  private toldState: Connectivity | undefined = undefined
  private toldAside = false

  /** Whether it is to be left alone, although it is Ready. */
  protected abstract aside(): boolean

  override changed(): void {
    const state = this.connectivity()
    const aside = this.aside()
    const before = this.toldState
    const different = state !== before || aside !== this.toldAside
    this.toldState = state
    this.toldAside = aside
    this.parent?.childChanged(different, before ?? "Idle", this)
    super.changed()
  }

  /** A permit came back: what it has told its parent still holds. */
  freed(): void {
    this.parent?.freed()
    super.changed()
  }
}

/** Tells `parent` of an upstream's changes, whoever wrote it. */
export const adopt = (upstream: Upstream<unknown, unknown>, parent: Parent): void => {
  if (upstream instanceof Child) {
    upstream.parent = parent
    return
  }
  let state = upstream.connectivity()
  let aside = upstream.penalised()
  upstream.subscribe(() => {
    const before = state
    const asideBefore = aside
    state = upstream.connectivity()
    aside = upstream.penalised()
    parent.childChanged(state !== before || aside !== asideBefore, before)
  })
}
