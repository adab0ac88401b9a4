/** Whether two types are the same, `any` and optionality included. */
export type Equals<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** Compiles only for `true`. */
export const check = <T extends true>(): T => true as T
