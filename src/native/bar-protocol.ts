/** What bar-child and run-bar-child agree on, without the weight of either. */

/** Names the shape of the child's answer. */
export const ANSWER_SCHEMA = "vgpu-agent/bar-child/1";
/** The line that the child writes to stderr just before it touches the device: a delay from here on is the device's. */
export const OPENING = "opening";
/** The child's argument that leaves STATUS out: its read makes the device ask its mediator, and log it. */
export const WITHOUT_STATUS = "without-status";
