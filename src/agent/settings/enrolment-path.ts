/** Where `vgpu-agent enroll` keeps the enrolment unless told otherwise: the default of `host.enrolment` in agent.toml. */
export const ENROLMENT_FILE = "/etc/vgpu-agent/enrolment";
