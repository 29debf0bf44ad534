/** Which counterpart the doctor asks: the one that this VM is enrolled with. */
export interface HostRequest {
  /** What was asked for by name, which has to be the enrolled one; null: whichever it is, if any. */
  readonly url: string | null;
  /** The enrolment's file; null: where it is installed. */
  readonly enrolment: string | null;
}
