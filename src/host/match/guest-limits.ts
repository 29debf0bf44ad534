/** Bounds of one piece of evidence; what is more than this was left out by the sender, who says so (`cut`). */
export const LIMITS = {
  processes: 64,
  callIds: 128,
  allocations: 1024,
  copies: 1024,
  sequence: 4096,
  failures: 256,
  payloads: 256,
  requests: 64,
  open: 64,
} as const;
