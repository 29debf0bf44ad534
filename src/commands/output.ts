/** Writes everything and waits until it is handed over: a pipe is not cut short, and a closed one is no error. */
export async function printAll(text: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => (error.code === "EPIPE" ? resolve() : reject(error));
    process.stdout.once("error", onError);
    process.stdout.write(text, () => {
      process.stdout.off("error", onError);
      resolve();
    });
  });
}
