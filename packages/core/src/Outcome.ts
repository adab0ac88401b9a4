/**
 * What a finished borrow says about the *endpoint*, not about the call.
 *
 * The protocol classifies (`NotFound` is a `Success`: the endpoint did its work); core learns from it.
 */

/**
 * - `Success`: the endpoint answered.
 * - `Failure`: it did not, or not in time. Counts as a slow call, and towards a penalty.
 * - `Overloaded`: it said that it has too much to do. Counts as a slow call only: load, not death.
 * - `Neutral`: we cancelled, or the fault was ours. Teaches nothing, unless it had run for longer than the estimate.
 * - `Broken`: the connection must not be lent again; otherwise as `Failure`.
 */
export type Outcome = "Success" | "Failure" | "Overloaded" | "Neutral" | "Broken"
