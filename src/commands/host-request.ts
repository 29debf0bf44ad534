/** Which counterpart the doctor asks: the one that this VM is enrolled with. */
export interface HostRequest {
  /** What was asked for by name, which has to be the enrolled one; null: whichever it is, if any. */
  readonly url: string | null;
  /** The enrolment's file; null: where the settings say. */
  readonly enrolment: string | null;
  /** The file of the settings; null: the installed one. */
  readonly config: string | null;
}
