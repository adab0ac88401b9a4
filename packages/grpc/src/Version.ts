/**
 * The version of this package, as servers see it in the user agent.
 */

/** As in package.json; a test compares them. */
export const version = "0.0.0"
