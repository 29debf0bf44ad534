import { notRead, notReadFromError, type Reading, wasRead } from "../../facts/reading.ts";
import type { SensorContext } from "../../sensors/context.ts";
import { TICKS_PER_SECOND } from "../../sensors/proc.ts";
import type { Glance } from "../../sensors/process-list.ts";
import type { DeviceModel, SocketFile } from "./facts.ts";

/** What a device model's command line has where the mediator looks for it: an argument of `-device`. */
const DEVICE = /^vgpu-cuda(?:,|$)/;
const VM_ID = /(?:^|,)vm_id=(\d{1,10})(?:,|$)/;
const DOM_ID = /^\d{1,10}$/;
const ROOT_OF_DOM = /\/root-(\d{1,10})$/;
/** Inside the device model's root directory. */
const SOCKET = "/tmp/vgpu-mediator.sock";
const MAX_MODELS = 1024;

/** The device models among all processes: one for each VM with the vGPU device. */
export async function readDeviceModels(
  context: SensorContext,
  glances: readonly Glance[],
  bootedAt: number | null,
): Promise<readonly DeviceModel[]> {
  const models: DeviceModel[] = [];
  for (const { pid, argv, startTicks, zombie } of glances) {
    if (models.length === MAX_MODELS || context.signal.aborted) break;
    const device = argv.find((word, index) => argv[index - 1] === "-device" && DEVICE.test(word));
    if (device === undefined || zombie) continue;
    const chroot = await chrootOf(context, pid, argv);
    const socketPath = chroot === null ? null : chroot === "/" ? SOCKET : `${chroot}${SOCKET}`;
    models.push({
      pid,
      vmId: Number(VM_ID.exec(device)?.[1] ?? 0),
      domId: domIdOf(argv, chroot),
      chroot,
      socketPath,
      socket:
        socketPath === null
          ? notRead("skipped", `the root directory of process ${pid} is not known`)
          : await readSocketFile(context, socketPath),
      startedAt: bootedAt === null || startTicks === null ? null : bootedAt + (startTicks * 1000) / TICKS_PER_SECOND,
    });
  }
  return models;
}

/** As the mediator finds it, from the link of the kernel; else what the process was told. */
async function chrootOf(context: SensorContext, pid: number, argv: readonly string[]): Promise<string | null> {
  const link = await context.fs.readlink(`/proc/${pid}/root`).catch(() => null);
  if (link?.startsWith("/") === true && context.fs.live) return link;
  const told = argv[argv.indexOf("-chroot") + 1];
  return argv.includes("-chroot") && told?.startsWith("/") === true ? told : null;
}

function domIdOf(argv: readonly string[], chroot: string | null): number | null {
  const told = argv[argv.indexOf("-xen-domid") + 1];
  if (argv.includes("-xen-domid") && told !== undefined && DOM_ID.test(told)) return Number(told);
  const digits = ROOT_OF_DOM.exec(chroot ?? "")?.[1];
  return digits === undefined ? null : Number(digits);
}

/** Looks at a socket's file, without touching the socket. */
export async function readSocketFile(context: SensorContext, path: string): Promise<Reading<SocketFile>> {
  try {
    const { isFile, isDirectory, isSymbolicLink, mode } = await context.fs.lstat(path);
    return wasRead({ path, isSpecial: !isFile && !isDirectory && !isSymbolicLink, mode: mode & 0o777 });
  } catch (error) {
    return notReadFromError(error, path);
  }
}
