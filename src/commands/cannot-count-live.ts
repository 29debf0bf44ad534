/** The kernel offers no way to count, with what the reader can do. */
export class CannotCountLive extends Error {}
