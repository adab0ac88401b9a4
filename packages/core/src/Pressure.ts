/**
 * When more connections are opened: one number for pools, and for endpoints whose connections are members.
 */

/** The share of its permits at which one more connection is opened (grpc-swift). */
export const pressure = 0.9
